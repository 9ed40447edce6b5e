"""The wizard's draft: what a person has chosen so far, kept on the server.

Each step saves only its own sections, so that two tabs on different steps never overwrite each
other. The draft holds what was typed, right or wrong; :meth:`Wizard.review` says what is wrong.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import core.rewards
from core.config import SECTIONS, RunConfig, parse
from core.errors import InvalidConfig
from core.methods import METHODS, Need, method_of
from core.model import DEMO_MODEL
from core.readiness import Problem, Readiness, Severity, ordered
from core.settings import Home
from services.forms.fields import FieldGroup, Remarks, form_field, read_section, section_model, whole_number
from services.forms.labels import in_words, plain_name
from services.forms.merge import Merged, merge, read_was
from services.forms.reward_form import once_more, read_reward
from services.jobs.database import Catalogue

SUMS_PROMPT = "Give the result between {solution_start} and {solution_end}."
"""System prompt of the arithmetic task: working-out would only cost tokens."""
CONFIGURATION = ("training", *(one.section_name for one in METHODS), "pre_training", "evaluation")


@dataclass(frozen=True)
class StepInfo:
    """One of the seven steps. ``sections`` are the parts of the draft that it alone saves."""

    key: str
    title: str
    intro: str
    sections: tuple[str, ...]


STEPS = (
    StepInfo(
        "model",
        "Model",
        "Choose the model that will learn. Training adds a small adapter to it; the model itself stays as it is.",
        ("model",),
    ),
    StepInfo(
        "dataset",
        "Dataset",
        "Choose the questions it will practise on, each with the right answer to compare against.",
        ("dataset",),
    ),
    StepInfo(
        "configuration",
        "Configuration",
        "How long and how strongly it learns. The values shown suit your model and this machine; most can stay.",
        CONFIGURATION,
    ),
    StepInfo(
        "reward",
        "Reward",
        "Say what a good answer is. The model learns whatever earns the most, so try the reward before training.",
        ("reward",),
    ),
    StepInfo("train", "Train", "Check the choices, start, and watch it learn.", ("name",)),
    StepInfo(
        "export",
        "Export",
        "Take the trained model away: as an adapter, as a whole model, or as one file for Ollama and llama.cpp.",
        (),
    ),
    StepInfo("test", "Test", "Ask the original and the trained model the same question, side by side.", ()),
)
STEP: dict[str, StepInfo] = {step.key: step for step in STEPS}

OWN = "method"
"""The group of what the draft's method alone has; the method brings its title and its fields."""
GROUPS: tuple[tuple[str, str, str, bool, tuple[str, ...]], ...] = (
    (
        "batch",
        "How long and how much at once",
        "One step answers some questions several times, compares, and changes the model once.",
        True,
        (
            "training.max_steps",
            "training.num_epochs",
            "training.num_generations",
            "training.batch_size",
            "training.gradient_accumulation_steps",
        ),
    ),
    (
        "generation",
        "The answers",
        "What the model may write while it practises.",
        True,
        (
            "training.max_new_tokens",
            "training.max_sequence_length",
            "training.temperature",
            "training.top_p",
            "training.top_k",
            "training.min_p",
            "training.repetition_penalty",
        ),
    ),
    (
        "warm-up",
        "Warm-up before it starts",
        "A small model often needs to be shown the form of an answer before it can be rewarded for it.",
        True,
        ("pre_training.*",),
    ),
    (
        "learning",
        "Learning rate and optimizer",
        "",
        False,
        (
            "training.learning_rate",
            "training.lr_scheduler_type",
            "training.warmup_steps",
            "training.optim",
            "training.weight_decay",
            "training.max_grad_norm",
            "training.adam_beta1",
            "training.adam_beta2",
        ),
    ),
    (OWN, "", "", False, ()),
    (
        "evaluation",
        "Held-out questions (evaluation)",
        "Rows that are set aside and only ever scored.",
        False,
        ("evaluation.*",),
    ),
    ("checkpoints", "Checkpoints, memory and seed", "", False, ("training.*",)),
)
"""Group id, title, text, open at first, fields. ``section.*`` takes every field not named elsewhere."""


@dataclass(frozen=True)
class Review:
    """What is known of a draft's readiness.

    Attributes:
        config: The whole configuration where every choice was made and can be read, else None.
        standing: The same with stand-ins for what was not chosen; None where it cannot be read.
        unset: Steps whose choice was not made yet.
        unseen: Of these, the ones that were not looked at either: nothing is wrong there yet.
        readiness: Everything that speaks against a start, the worst first.
    """

    config: RunConfig | None
    standing: RunConfig | None
    unset: frozenset[str]
    unseen: frozenset[str]
    readiness: Readiness

    @property
    def missing(self) -> frozenset[str]:
        """Steps that keep the run from starting, by key."""
        return frozenset(step_of(problem.field).key for problem in self.readiness.of(Severity.BLOCKS))

    @property
    def remarks(self) -> dict[str, tuple[str, str]]:
        """By field path: level and words, for the message beside the field. The worst of several is shown."""
        found: dict[str, tuple[str, str]] = {}
        for problem in self.readiness.problems:
            if step_of(problem.field).key not in self.unseen:
                found.setdefault(problem.field, (LEVELS[problem.severity], in_words(problem.message)))
        return found

    def of(self, step: StepInfo) -> list[Problem]:
        """The problems of a step, notes left out."""
        return [p for p in self.readiness.problems if p.severity is not Severity.NOTE and step_of(p.field) is step]


LEVELS = {Severity.BLOCKS: "problem", Severity.WARNS: "watch", Severity.NOTE: "note-text"}
"""How a severity looks beside a field."""
NOT_CHOSEN = {
    "model": Problem(Severity.BLOCKS, "model.name", "Choose a model."),
    "dataset": Problem(Severity.BLOCKS, "dataset.source", "Choose a dataset."),
    "reward": Problem(Severity.BLOCKS, "reward", "Choose a reward."),
}
"""By step, what is said where its choice was not made."""


def step_of(path: str) -> StepInfo:
    """The step on which a field is."""
    section = path.partition(".")[0]
    return next((step for step in STEPS if section in step.sections), STEP["train"])


Read = Callable[[str, Mapping[str, str], Mapping[str, Any]], dict[str, Any]]
"""(step, form, sections so far) to the sections that the form asks for."""


class Wizard:
    """The draft and what follows from it.

    Args:
        catalogue: Keeps the draft.
        on_gpu: Whether runs here use a GPU; asked when defaults are wanted.
        home: Where uploads lie, for their names.
    """

    def __init__(self, catalogue: Catalogue, on_gpu: Callable[[], bool], home: Home) -> None:
        self._catalogue = catalogue
        self._home = home
        self._on_gpu = on_gpu
        self._starting = threading.Lock()
        self._saving = threading.Lock()

    def draft(self) -> dict[str, Any]:
        """Every section as it stands, ``ui`` and ``name`` included; suggestions where none was saved."""
        saved = {key: value for key, value in self._catalogue.get_draft().items() if value is not None}
        draft: dict[str, Any] = {"ui": {}, "name": ""} | saved
        for section, values in suggest(draft, on_gpu=self._on_gpu()).items():
            draft.setdefault(section, values)
        return draft

    def page_state(self, step: str) -> str:
        """What a page of a step was made from, for its form to bring back; see :mod:`services.forms.merge`."""
        draft, ui = self.draft(), self.ui(step)
        source = str((draft.get("dataset") or {}).get("source") or "")
        shown = {
            "model": {"setup": ui.get("setup", "recommended")},
            "dataset": {"kind": ui.get("kind") or kind_of(source), "hub": source if kind_of(source) == "hub" else ""},
        }
        sections = {name: draft.get(name) for name in STEP[step].sections}
        state = {"sections": sections, "ui": shown.get(step, {}), "others": self.others(step)}
        return json.dumps(state, sort_keys=True, default=str)

    def others(self, step: str) -> str:
        """A short hash of what the other steps hold: another one means that they were changed."""
        draft = self.draft()
        rest = {name: draft.get(name) for name in SECTIONS if name not in STEP[step].sections}
        return hashlib.sha256(json.dumps(rest, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def save(self, step: str, form: Mapping[str, str], read: Read | None = None) -> Merged:
        """Keep what the step's form changed of the step's own sections, unless the same page has sent a newer one.

        Args:
            form: What was sent; ``was`` is :meth:`page_state` of the page that it stands on.
            read: Makes the step's sections of the form and of what its page was made from.

        Returns:
            What was kept, what was changed in another tab, and what was refused because both changed it.
        """
        with self._saving:
            if _overtaken(form.get("ui.sent", ""), str(self.ui(step).get("sent", ""))):
                return Merged({})
            return self._save(step, form, read or read_step)

    def _save(self, step: str, form: Mapping[str, str], read: Read) -> Merged:
        draft, state = self.draft(), read_was(form.get("was", ""))
        now = {name: draft.get(name) for name in STEP[step].sections}
        ui, page = self.ui(step), form.get("ui.sent", "").rpartition(" ")[0]
        by = dict(ui.get("by") or {})
        base = {name: _as_it_was(state, name, value) for name, value in now.items()}
        merged = merge(base, read(step, form, base), now, lambda path: bool(page) and by.get(path) == page)
        by |= dict.fromkeys(merged.mine, page)
        # A choice that was refused must not look as if it had been made.
        shown = {"sent": form.get("ui.sent", "")} if merged.refused else _ui(form, state)
        self._catalogue.save_draft(merged.sections | {f"ui_{step}": ui | shown | {"by": by, "visited": True}})
        return merged

    def ui(self, step: str) -> dict[str, Any]:
        """What the page of a step remembers, for example which row the reward is tried on."""
        return dict(self._catalogue.get_draft().get(f"ui_{step}") or {})

    def session_id(self) -> str | None:
        """The run that was started from this draft, if any."""
        found = self._catalogue.get_draft().get("session_id")
        return str(found) if found else None

    def remember(self, step: str, **values: Any) -> None:
        """Let the page of a step remember something that is no part of the configuration."""
        self._catalogue.save_draft({f"ui_{step}": self.ui(step) | values})

    def start(self, start: Callable[[dict[str, Any]], str], over: Callable[[str], bool] = lambda _: False) -> str:
        """Start the draft's run once: a second call, from a double click or another tab, gets the same id.

        Args:
            start: Takes the configuration and returns the new run's id.
            over: Whether the run of an id gives way to another: it has ended, and the draft has changed since.
        """
        with self._starting:
            session_id = self.session_id()
            if session_id is None or over(session_id):
                session_id = start(self.config())
            self.put(session_id=session_id)
        return session_id

    def starts(self, config: Mapping[str, Any]) -> bool:
        """Whether the draft would start a run of this configuration; the name does not count."""
        try:
            ours, theirs = (parse({**one, "name": "same"}) for one in (self.config(), config))
        except InvalidConfig:
            return False
        return ours == theirs

    def put(self, **sections: Any) -> None:
        """Replace whole sections of the draft; None takes a section back to what is suggested."""
        self._catalogue.save_draft(sections)

    def change(self, values: Mapping[str, Any]) -> None:
        """Set single fields of the draft, by path; a path without a dot replaces a whole section."""
        draft = self.draft()
        changed: dict[str, Any] = {}
        for path, value in values.items():
            section, _, name = path.partition(".")
            changed[section] = {**(changed.get(section, draft.get(section)) or {}), name: value} if name else value
        self.put(**changed)

    def load(self, config: Mapping[str, Any]) -> None:
        """Make a saved configuration the draft, as it was given."""
        source = str((config.get("dataset") or {}).get("source", ""))
        sections = {section: config.get(section) or {} for section in SECTIONS}
        sections |= {"name": config.get("name", ""), "method": config.get("method")}
        given = set(config.get("model") or {}) - {"name"}
        self._catalogue.clear_draft()
        self.put(
            **sections,
            ui_model={"setup": "advanced" if given else "recommended", "visited": True},
            ui_dataset={"kind": kind_of(source), "visited": True},
            ui_configuration={"visited": True},
            ui_reward={"visited": True},
        )

    def use_again(self, reward: str) -> None:
        """Put one more part of a reward into the draft's combination, under a label of its own."""
        self.put(reward=once_more(self.draft().get("reward") or {}, reward))

    def reset(self) -> None:
        self._catalogue.clear_draft()

    def config(self) -> dict[str, Any]:
        """The draft as a configuration to be validated; sections never chosen are left out."""
        draft = self.draft()
        chosen = method_of(draft)
        config = {section: draft[section] for section in SECTIONS if draft.get(section) and chosen.uses(section)}
        named = {"method": draft["method"]} if draft.get("method") else {}
        return {"name": draft["name"] or suggest_name(draft, self._home)} | named | config

    def review(self) -> Review:
        """What the draft alone tells: choices not made, and what cannot be read."""
        data = self.config()
        unset = {
            step
            for step, section, name in (("model", "model", "name"), ("dataset", "dataset", "source"))
            if not (data.get(section) or {}).get(name)
        }
        if Need.REWARD in method_of(data).needs and not data.get("reward"):
            unset.add("reward")
        stand_in: dict[str, dict[str, Any]] = {
            "model": {"name": DEMO_MODEL},
            "dataset": {"source": "generated:arithmetic"},
            "reward": {"type": "preset", "preset_name": "math"},
        }
        for step in unset:
            data[step] = {**stand_in[step], **({} if step == "reward" else data.get(step) or {})}
        unseen = frozenset(step for step in unset if not self.ui(step).get("visited"))
        problems = [NOT_CHOSEN[step] for step in STEP if step in unset]
        try:
            config = parse(data)
            core.rewards.resolve(config.reward)
        except InvalidConfig as error:
            problems += [Problem(Severity.BLOCKS, path, _sentence(words)) for path, words in error.problems]
            return Review(None, None, frozenset(unset), unseen, ordered(problems))
        return Review(None if unset else config, config, frozenset(unset), unseen, ordered(problems))

    def groups(self, remarks: Remarks) -> tuple[FieldGroup, ...]:
        """The configuration step's fields, grouped, with values and remarks."""
        draft = self.draft()
        chosen = method_of(draft)
        taken = {path for *_, paths in GROUPS for path in paths}
        groups = []
        for key, title, text, opened, paths in GROUPS:
            if key == OWN:
                title, paths = chosen.section_title, (f"{chosen.section_name}.*",)  # noqa: PLW2901  # its own row
            names = [name for path in paths for name in _expand(path, taken) if chosen.uses(".".join(name))]
            fields = tuple(form_field(section, name, draft.get(section) or {}, remarks) for section, name in names)
            opened_now = opened or any(item.level == "problem" for item in fields)
            groups += [FieldGroup(key, title, text, opened_now, fields)] if fields else []
        return tuple(groups)


def _expand(path: str, taken: set[str]) -> list[tuple[str, str]]:
    section, _, name = path.partition(".")
    if name != "*":
        return [(section, name)]
    return [(section, field) for field in section_model(section).model_fields if f"{section}.{field}" not in taken]


def suggest(draft: Mapping[str, Any], *, on_gpu: bool) -> dict[str, Any]:
    """The built-in model, and what the draft's method suggests for its dataset and this machine."""
    source = str((draft.get("dataset") or {}).get("source") or "")
    return {"model": {"name": DEMO_MODEL}, **method_of(draft).suggest(source, on_gpu)}


def suggest_name(draft: Mapping[str, Any], home: Home) -> str:
    """A name from the choices so far: 'smollm2-135m-instruct on shop.csv'."""
    model = str((draft.get("model") or {}).get("name") or "model").rstrip("/").split("/")[-1].removeprefix("builtin:")
    source = str((draft.get("dataset") or {}).get("source") or "data")
    data = plain_name(source, home) if source.startswith("upload:") else source.rsplit(":", maxsplit=1)[-1]
    return f"{model} on {data.rstrip('/').split('/')[-1]}"[:100]


def kind_of(source: str) -> str:
    """Which of the dataset step's three ways a source belongs to."""
    if source in {"generated:reasoning-gym", "mix"}:
        return "mix" if source == "mix" else "tasks"
    head = source.partition(":")[0]
    return head if head in {"upload", "generated"} else "hub" if source else "upload"


def read_step(step: str, form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """A step's sections after a form was sent, where each field stands for itself."""
    changed: dict[str, Any] = {}
    for section in STEP[step].sections:
        if section == "name":
            changed["name"] = form.get("name", str(before.get("name") or "")).strip()[:100]
        elif section == "reward":
            changed["reward"] = read_reward(form, before.get("reward") or {})
        else:
            changed[section] = read_section(section, form, before.get(section) or {})
    return changed


def _as_it_was(state: Mapping[str, Any], name: str, now: Any) -> Any:
    """A section as a page had it; as it is now where the form does not say, or says what is no section."""
    sections = state.get("sections")
    if not isinstance(sections, dict) or name not in sections:
        return now
    was = sections[name]
    return was if isinstance(was, str if name == "name" else dict) or was is None else now


def _ui(form: Mapping[str, str], state: Mapping[str, Any]) -> dict[str, Any]:
    """What the page remembers that is no part of the configuration; what the form did not change stays."""
    before = state.get("ui") if isinstance(state.get("ui"), dict) else None
    given = {key.removeprefix("ui."): value for key, value in form.items() if key.startswith("ui.")}
    return {key: value for key, value in given.items() if (before or {}).get(key, _NEVER) != value}


_NEVER = object()


def _overtaken(given: str, kept: str) -> bool:
    """Whether both are ``<page> <number>`` of the same page, and ``kept`` was sent later."""
    page, _, number = given.rpartition(" ")
    same, _, last = kept.rpartition(" ")
    sent, before = whole_number(number), whole_number(last)
    return bool(page) and page == same and sent is not None and before is not None and sent < before


def _sentence(words: str) -> str:
    name = "_" in words.split(" ", 1)[0]  # a field's own name stays as it is written
    return (words if name else words[:1].upper() + words[1:]) + ("" if words.endswith((".", "?")) else ".")
