"""Metadata of a training method, without its trainer: one frozen description per method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from core.dataset import Shape
from core.learning_rate import ModelFacts, Rates
from core.metric import Metric
from core.metrics import METRICS
from core.plan import Plan, Situation
from core.preferences import Concern, Preferences
from core.section import Section

if TYPE_CHECKING:
    # The configuration is made of the methods' sections, so it is imported for its type alone.
    from core.config import RunConfig
    from core.model import Device


class Note(NamedTuple):
    """A remark on one field. A ``problem`` prevents the start; a ``note`` is only shown."""

    field: str
    level: Literal["problem", "note"]
    message: str


class JobType(StrEnum):
    """What kind of teaching a method is, for filters."""

    SL = "SL"
    """Supervised learning: from examples."""
    RL = "RL"
    """Reinforcement learning: from a reward for the model's own answers."""
    RLHF = "RLHF"
    """Towards reinforcement learning from human feedback: reward models, and training against them."""
    DPO = "DPO"
    """Direct preference optimization and its relatives: from preferences, without a reward model."""


class Need(StrEnum):
    """What a method needs besides a model and rows."""

    REWARD = "reward"
    """A reward that scores answers."""
    ROLLOUTS = "rollouts"
    """Answers that the model generates during training."""
    REFERENCE_MODEL = "reference_model"
    """The model as it was before training."""
    REWARD_MODEL = "reward_model"
    """A trained model that scores answers."""
    VALUE_MODEL = "value_model"
    """A model that estimates what an unfinished answer will earn."""


FOR_REWARDS = frozenset({"dataset.columns", "dataset.drop_unparseable"})
"""Settings of the common sections that a method uses if it needs a reward, or names them in ``also``."""
NAMED = frozenset({"dataset.text_field", "training.train_on"})
"""Settings of the common sections that a method uses only if it names them in ``also``."""
ONE_ANSWER = frozenset({Shape.EXAMPLES, Shape.RATINGS})
FOR_SHAPES = {
    "dataset.chosen_field": frozenset({Shape.PAIRS}),
    "dataset.rejected_field": frozenset({Shape.PAIRS}),
    "dataset.winner_field": frozenset({Shape.PAIRS}),
    "dataset.label_field": frozenset({Shape.RATINGS}),
    "dataset.response_field": ONE_ANSWER,
    "dataset.extraction": ONE_ANSWER,
    "dataset.extraction_pattern": ONE_ANSWER,
}
"""Settings of the dataset section for rows of some shapes; the method must name one of them in its ``shapes``."""


@dataclass(frozen=True)
class Phase:
    """A part of a run with its own rows.

    Attributes:
        key: The rows' ``phase`` in ``metrics.jsonl``.
        title: What pages call it.
        when: Path of the setting that enables it; empty if every run has it.
    """

    key: str
    title: str
    when: str = ""

    def planned(self, config: Mapping[str, Any]) -> bool:
        """Whether a run with a configuration, given as JSON data with every field, has this phase."""
        section, _, name = self.when.partition(".")
        return not self.when or bool((config.get(section) or {}).get(name))


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to train. Its trainer is ``core/training/methods/<key>.py``.

    Attributes:
        key: Its name in configurations.
        title: Plain words.
        term: The usual term.
        sentence: What it does, for newcomers.
        section: Its own settings.
        section_name: Their name in the configuration.
        section_title: What the form calls them.
        shows: Settings of the common sections that have an effect, by path; ``training.*`` stands for a whole section.
        also: Settings of the common sections beyond what ``shows`` allows: those of :data:`FOR_REWARDS` and :data:`NAMED`.
        columns: Mapped columns that every row must have.
        shapes: What rows it can learn from, the usual one first. Every row has an answer, so a method for examples
            also takes the others.
        job_type: Its kind, for filters.
        needs: Its requirements.
        may_need: Requirements of some of its settings.
        refers: Whether these settings keep the model as it was before training beside the trained one in every step,
            for a method that does not always need it.
        phases: In order.
        metrics: Keys of the numbers in its rows, over all phases.
        rows_a_step: Different rows that one optimizer step takes; with fewer in all, a run cannot start.
        packs: Whether several rows share one sequence, so that a step takes more rows than that.
        cross_checks: Combinations of settings that cannot work on any device, as (field path, what would be right).
        remarks: Remarks on the settings for a device.
        row_concerns: What speaks against learning with these settings from pairs or ratings with such counts.
        rates: Its usual learning rates.
        suggest: Sections that suit a dataset's source and this machine: ``suggest(source, on_gpu)``. A learning rate
            only if another one than that of ``rates`` was measured to suit LoRA there.
        suits: Remarks on the settings for a model, given its ``model_type`` in transformers.
        plans: Plans on top of these, shortest first. Without facts about the data, the balanced one
            changes nothing.
        variant: The usual term for the method with these settings, given as JSON data.
        facts: Settings for the model card, as (name, value).
        tags: For the model card.
        choices: Labels of a choice's values on the form, by the field's name.
        given: The answer to 'What do you have?' that leads to it; methods with the same answer are shown together.
        when: When to choose it among those, in one sentence.
        variants: The usual terms of its variants, such as GSPO.
        head: What the model gives back: text (``language``), or one number for a question with its answer (``score``).
        model_seed: Seed of new weights and of the order of the rows.
        reads: Its overrides of metrics: fields of :class:`core.metric.Metric` by the metric's key.
    """

    key: str
    title: str
    term: str
    sentence: str
    section: type[Section]
    section_name: str
    section_title: str
    shows: tuple[str, ...]
    also: tuple[str, ...] = ()
    columns: tuple[str, ...]
    shapes: tuple[Shape, ...] = (Shape.EXAMPLES,)
    job_type: JobType
    needs: tuple[Need, ...]
    may_need: tuple[Need, ...] = ()
    refers: Callable[[RunConfig], bool] = lambda config: False
    phases: tuple[Phase, ...]
    metrics: tuple[str, ...]
    rows_a_step: Callable[[RunConfig], int]
    packs: Callable[[RunConfig], bool] = lambda config: False
    cross_checks: Callable[[RunConfig], list[tuple[str, str]]] = lambda config: []
    remarks: Callable[[RunConfig, Device], list[Note]] = lambda config, device: []
    rates: Rates
    suits: Callable[[RunConfig, str], list[Note]] = lambda config, model_type: []
    row_concerns: Callable[[RunConfig, Preferences], Sequence[Concern]] = lambda config, facts: ()
    suggest: Callable[[str, bool], dict[str, dict[str, Any]]]
    plans: Callable[[Situation], tuple[Plan, ...]] = lambda situation: ()
    variant: Callable[[Mapping[str, Any]], str]
    facts: Callable[[RunConfig], Sequence[tuple[str, Any]]]
    tags: tuple[str, ...]
    choices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    given: str = ""
    when: str = ""
    variants: tuple[str, ...] = ()
    head: Literal["language", "score"] = "language"
    model_seed: Callable[[RunConfig], int] = lambda config: config.training.seed
    reads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def uses(self, path: str) -> bool:
        """Whether a setting has an effect with this method.

        Args:
            path: Of a field, such as ``training.batch_size``, or the name of a section.
        """
        section, _, name = path.partition(".")
        if section == self.section_name:
            return True
        if path in self.also or path in NAMED:
            return path in self.also
        if section == "reward" or path in FOR_REWARDS:
            return Need.REWARD in self.needs
        if path in FOR_SHAPES:
            return not FOR_SHAPES[path].isdisjoint(self.shapes)
        if not name:
            return any(shown.startswith(f"{section}.") for shown in self.shows)
        return path in self.shows or f"{section}.*" in self.shows

    def keeps_reference(self, config: RunConfig) -> bool:
        """Whether the model as it was before training is in memory all the time, a copy if every weight is trained."""
        return Need.REFERENCE_MODEL in self.needs or self.refers(config)

    @property
    def described(self) -> tuple[Metric, ...]:
        """Its metrics as it reads them, the one that sums up its training first, the others as declared."""
        found = [replace(one, **self.reads.get(one.key, {})) for one in METRICS if one.key in self.metrics]
        headline = next((one for one in found if "training" in one.headlines), None)
        return tuple(sorted(found, key=lambda one: one is not headline))

    def learning_rate(self, model: ModelFacts, source: str, on_gpu: bool) -> float:
        """The suggested learning rate for a model, a dataset's source and this machine."""
        usual = self.rates.of(model.adapter).usual
        measured = self.suggest(source, on_gpu)["training"].get("learning_rate")
        return model.scaled(usual if measured is None or model.adapter == "none" else measured)

    @property
    def learns_answers(self) -> bool:
        """Whether it learns from the rows' answers, and generates none during training."""
        return not {"response", "chosen"}.isdisjoint(self.columns) and Need.ROLLOUTS not in self.needs

    @property
    def prefers(self) -> bool:
        """Whether it learns only from pairs or ratings."""
        return Shape.EXAMPLES not in self.shapes

    def json(self) -> dict[str, Any]:
        """JSON for the API."""
        return {
            "key": self.key,
            "title": self.title,
            "term": self.term,
            "description": self.sentence,
            "given": self.given,
            "when": self.when,
            "variants": list(self.variants),
            "section": self.section_name,
            "needs": [str(need) for need in self.needs],
            "may_need": [str(need) for need in self.may_need],
            "columns": list(self.columns),
            "shapes": [str(shape) for shape in self.shapes],
            "job_type": str(self.job_type),
            "shows": [*self.shows, *self.also, f"{self.section_name}.*"],
            "head": self.head,
            "phases": [{"key": phase.key, "title": phase.title} for phase in self.phases],
            "metrics": list(self.metrics),
        }
