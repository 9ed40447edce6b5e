"""An immutable state of the wizard's draft.

A draft contains what was entered, valid or not: a field may be missing, a number may be text. So sections keep
their values unchanged, and values that the code uses are properties with a definite type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict, cast

from core.config import SECTIONS, RunConfig, parse
from core.errors import InvalidConfig
from core.learning_rate import EXAMPLES, ModelFacts
from core.methods import Method, method_of
from core.model import DEMO_MODEL
from core.plan import BALANCED, Plan, Situation
from core.rewards.suggest import PROMPT
from core.settings import Home
from services.forms.fields import Values, section_model, whole_number
from services.forms.labels import plain_name
from services.wizard.steps import STEPS

SINGLE = ("name", "method")
"""Parts of a draft that are single values."""


class TaskEntry(TypedDict, total=False):
    """A chosen exercise. A weight or difficulty that is not a number is kept as typed."""

    name: str
    weight: float | str
    difficulty: int | str | None


class MixEntry(TypedDict, total=False):
    """One source of a mixture; it may have other dataset fields."""

    source: str
    weight: float | str
    tasks: list[TaskEntry]


class Suggested(TypedDict, total=False):
    """The suggestion for the dataset, as in :class:`core.rewards.suggest.Suggestion`; ``of`` identifies its rows."""

    of: str
    reward: Mapping[str, Any]
    prompt: Mapping[str, Any]
    reason: str


class PageMemory(TypedDict, total=False):
    """State of a step's page that is not part of the configuration.

    ``visited`` is set by the first form that is saved; ``sent`` is '<page> <number>' of the newest form, and ``by``
    the page that each field's value came from (see :mod:`services.wizard.merge`). The others belong to one step each;
    the configuration step has the chosen plan and what its values depend on.
    """

    visited: bool
    sent: str
    by: Mapping[str, str]
    suggested: Suggested
    setup: str
    kind: str
    row: int
    completion: str
    components: str
    probe_id: str | None
    plan: str
    rows: int | None
    lengths: Sequence[int] | None
    answers_only: bool
    adapter: str
    width: int | None
    model_type: str


@dataclass(frozen=True)
class Section:
    """One section. Empty means that nothing has been chosen."""

    values: Values = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A field as text, '' if not set."""
        return str(self.values.get(name) or "")

    def whole(self, name: str, default: int) -> int:
        """A field as a whole number. Raises TypeError or ValueError if it is not one."""
        return int(cast("int", self.values.get(name, default)))

    def number(self, name: str, default: float) -> float:
        """A field as a number. Raises TypeError or ValueError if it is not one."""
        return float(cast("float", self.values.get(name, default)))

    def json(self) -> dict[str, Any]:
        """A copy for calls that take a section of a configuration."""
        return dict(self.values)

    def filled(self) -> dict[str, Any]:
        """A copy without empty fields."""
        return {name: value for name, value in self.values.items() if value != ""}


@dataclass(frozen=True)
class ModelDraft(Section):
    """The model and its adapter."""

    @property
    def name(self) -> str:
        return self.text("name")


@dataclass(frozen=True)
class DatasetDraft(Section):
    """The dataset, its mapping, and the prompt settings."""

    @property
    def source(self) -> str:
        return self.text("source")

    def filled(self) -> dict[str, Any]:
        """A copy without empty fields; an empty prompt or marker is kept and means none."""
        return {name: value for name, value in self.values.items() if value != "" or name in PROMPT}

    @property
    def kind(self) -> str:
        """The kind of its source on the Dataset step."""
        return kind_of(self.source)

    @property
    def mix(self) -> tuple[MixEntry, ...]:
        return tuple(cast("list[MixEntry]", self._objects("mix")))

    @property
    def tasks(self) -> tuple[TaskEntry, ...]:
        return tuple(cast("list[TaskEntry]", self._objects("tasks")))

    def _objects(self, name: str) -> list[object]:
        """The objects of a list; other values are reported next to the field."""
        listed = self.values.get(name)
        return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list | tuple) else []

    @property
    def remote(self) -> bool:
        """Whether any of its rows come over the network."""
        return self.kind == "hub" or any(kind_of(str(part.get("source") or "")) == "hub" for part in self.mix)


@dataclass(frozen=True)
class RewardDraft(Section):
    """A built-in reward or a custom one."""

    @property
    def type(self) -> str:
        return str(self.values.get("type", "preset"))

    @property
    def preset_name(self) -> str:
        return self.text("preset_name")


@dataclass(frozen=True)
class Draft:
    """All choices so far, with suggestions for the others.

    Attributes:
        name: The run's name; '' for :func:`suggest_name`.
        method: Key of the training method; '' for the default.
        sections: The configuration's sections by name, all of :data:`core.config.SECTIONS`.
        pages: State of each step's page, by step.
        session_id: The run that was started from this draft.
    """

    name: str
    method: str
    sections: Mapping[str, Values]
    pages: Mapping[str, PageMemory]
    session_id: str | None = None

    @property
    def model(self) -> ModelDraft:
        return ModelDraft(self.sections["model"])

    @property
    def dataset(self) -> DatasetDraft:
        return DatasetDraft(self.sections["dataset"])

    @property
    def training(self) -> Section:
        return Section(self.sections["training"])

    @property
    def reward(self) -> RewardDraft:
        return RewardDraft(self.sections["reward"])

    @property
    def chosen_method(self) -> Method:
        """The training method. Raises InvalidInput if there is none with that key."""
        return method_of({"method": self.method})

    def page(self, step: str) -> PageMemory:
        """State of a step's page; empty before its first form."""
        return self.pages.get(step, {})

    @property
    def row(self) -> int:
        """The row used on the reward step; the first if the form sent no number."""
        return whole_number(str(self.page("reward").get("row", 0))) or 0

    @property
    def suggested(self) -> Suggested:
        """The latest suggestion for the dataset; empty before the first."""
        return self.page("dataset").get("suggested") or {}

    def value(self, path: str) -> object:
        """A field by its path; None if not set."""
        section, _, name = path.partition(".")
        return self.sections[section].get(name)

    def section(self, name: str) -> Section:
        """A section without its own type."""
        return Section(self.sections[name])

    def part(self, name: str) -> object:
        """A part from :attr:`StepInfo.sections`: a section, the run's name or the method."""
        return {"name": self.name, "method": self.method}[name] if name in SINGLE else self.sections[name]

    def remembering(self, step: str, values: Mapping[str, object]) -> Draft:
        """A copy with more state for a step's page."""
        page = cast("PageMemory", {**self.page(step), **values})
        return replace(self, pages={**self.pages, step: page})


def read_draft(saved: Mapping[str, Any], *, on_gpu: bool, base_model: str = DEMO_MODEL) -> Draft:
    """The draft from its database form: sections by name, ``ui_<step>``, ``name`` and ``session_id``.

    A section that was never saved, or was reset with None, comes from :func:`suggest`; the model is ``base_model``.
    """
    chosen = {name: saved[name] for name in SECTIONS if saved.get(name) is not None}
    # A loaded file may have anything as a section.
    kept: dict[str, Values] = {name: one if isinstance(one, Mapping) else {} for name, one in chosen.items()}
    dataset = DatasetDraft(kept.get("dataset", {}))
    memory = cast("PageMemory", saved.get("ui_configuration") or {})
    suggested = {**suggest(dataset, method_of(saved), memory, on_gpu=on_gpu), "model": {"name": base_model}}
    return Draft(
        name=str(saved.get("name") or ""),
        method=str(saved.get("method") or ""),
        sections={name: {} for name in SECTIONS} | suggested | kept,
        pages={step.key: cast("PageMemory", saved.get(f"ui_{step.key}") or {}) for step in STEPS},
        session_id=str(saved["session_id"]) if saved.get("session_id") else None,
    )


def config_of(draft: Draft, home: Home) -> dict[str, Any]:
    """The draft as an unvalidated configuration, without sections that were never chosen."""
    uses = draft.chosen_method.uses
    sections = {name: _used(name, values, uses) for name, values in draft.sections.items() if values and uses(name)}
    named = {"method": draft.method} if draft.method else {}
    return {"name": draft.name or suggest_name(draft, home)} | named | sections


def _used(section: str, values: Values, uses: Callable[[str], bool]) -> dict[str, Any]:
    """A section without the fields of other methods; unknown keys stay, to be rejected."""
    fields = section_model(section).model_fields
    return {name: value for name, value in values.items() if name not in fields or uses(f"{section}.{name}")}


def same_choices(config: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations describe the same run, ignoring the name and what their method does not use.

    False if one cannot be read.
    """
    try:
        first, second = (parse(one) for one in (config, other))
    except InvalidConfig:
        return False
    return _effective(first) == _effective(second)


def _effective(config: RunConfig) -> dict[str, Any]:
    """The parts of a configuration that its run depends on."""
    uses, sections = method_of({"method": config.method}).uses, config.model_dump(include=set(SECTIONS))
    used = {name: _used(name, values, uses) for name, values in sections.items() if uses(name)}
    return {"method": config.method, **used}


def suggest(dataset: DatasetDraft, chosen: Method, memory: PageMemory, *, on_gpu: bool) -> dict[str, Values]:
    """The built-in model, and a method's suggestions for a dataset and this machine, by the chosen plan.

    Args:
        memory: State of the configuration step's page.
    """
    sections: dict[str, Any] = {"model": {"name": DEMO_MODEL}, **chosen.suggest(dataset.source, on_gpu)}
    wanted = memory.get("plan", BALANCED)
    plan = next((one for one in plans(dataset, chosen, memory, on_gpu=on_gpu) if one.key == wanted), None)
    for path, value in plan.values.items() if plan else ():
        section, _, name = path.partition(".")
        sections[section] = {**sections.get(section, {}), name: value}
    model = model_facts(memory)
    sections["training"] = {
        **sections["training"],
        "learning_rate": chosen.learning_rate(model, dataset.source, on_gpu),
    }
    if model.adapter == "none" and chosen.uses("pre_training"):
        sections["pre_training"] = {
            **sections.get("pre_training", {}),
            "learning_rate": model.scaled(EXAMPLES.full.usual),
        }
    return sections


def model_facts(memory: PageMemory) -> ModelFacts:
    """What the suggested learning rate depends on, as of the last time the Model step was saved."""
    return ModelFacts(memory.get("adapter", "lora"), memory.get("width"), memory.get("model_type", ""))


def plans(dataset: DatasetDraft, chosen: Method, memory: PageMemory, *, on_gpu: bool) -> tuple[Plan, ...]:
    """A method's plans for a dataset as far as it is known."""
    lengths = memory.get("lengths")
    pair = (lengths[0], lengths[1]) if lengths else None
    return chosen.plans(Situation(dataset.source, on_gpu, memory.get("rows"), pair, memory.get("answers_only", False)))


def suggest_name(draft: Draft, home: Home) -> str:
    """A name from the choices so far: 'SmolLM2 135M Instruct on shop.csv'."""
    name = draft.model.name or "model"
    model = plain_name(name, home) if name.startswith("builtin:") else name.rstrip("/").split("/")[-1]
    source = draft.dataset.source
    if not source:
        return model[:100]
    data = plain_name(source, home) if source.startswith("upload:") else source.rsplit(":", maxsplit=1)[-1]
    return f"{model} on {data.rstrip('/').split('/')[-1]}"[:100]


def kind_of(source: str) -> str:
    """The kind of a source on the Dataset step."""
    own = {"generated:reasoning-gym": "tasks", "generated:preferences": "preferences", "mix": "mix"}
    if source in own:
        return own[source]
    head = source.partition(":")[0]
    return head if head in {"upload", "generated"} else "hub" if source else "upload"
