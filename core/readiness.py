"""Whether a run is ready to start: one list of problems, most severe first.

Pure: it takes a configuration, the device and the gathered facts, and returns a :class:`Readiness`. Pages, the API and
the terminal all show this list (:mod:`services.runs.preflight` gathers the facts).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from core.adapter_checks import adapter_remarks
from core.config import (
    DEFAULT_SYSTEM_PROMPT,
    DatasetSection,
    EvaluationSection,
    RunConfig,
    SourceFields,
    adapter_fields,
)
from core.dataset import Shape
from core.device_checks import device_checks
from core.errors import InvalidInput
from core.learning_rate import ModelFacts
from core.methods import Method, Need, method
from core.model import Device
from core.pace import Tokens, rows_a_step
from core.preferences import Preferences, concerns_of
from core.section import range_words, usual_range
from core.statistics import fewest_changes, smallest_share

FEW = 0.05
"""Share of rows that may be truncated or left out without a remark: every dataset has some long ones."""
SHOWN_SHARE = 0.5
"""There are enough held-out rows if a change in half of them could be shown."""
USUAL_PASSES, MANY_PASSES = 3, 10
"""How often a packed run should go over its rows, as the balanced plan does, and from when on that is a warning."""
FEW_LOSSES = 8
"""Held-out rows below which their mean loss shows nothing: one odd row moves it by more than a training does."""

CHOOSE_ANSWERS = (
    "Choose the answer column: the reward compares with it. Or choose a reward that needs no correct answers."
)


class Severity(StrEnum):
    """``blocks`` prevents the start, ``warns`` does not, ``note`` is informational."""

    BLOCKS = "blocks"
    WARNS = "warns"
    NOTE = "note"


class State(StrEnum):
    """``ready`` only if nothing blocks and nothing warns."""

    READY = "ready"
    READY_BUT = "ready_but"
    NOT_READY = "not_ready"


@dataclass(frozen=True)
class Fix:
    """A change that one button makes: values by field path, or a whole section by its name."""

    label: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """One entry of the list.

    Attributes:
        field: Path of the field to change, such as ``training.max_new_tokens``, or the section's name.
        message: What is wrong and what to do, in whole sentences.
        confirm: Whether a start needs a confirmation because of it.
    """

    severity: Severity
    field: str
    message: str
    fix: Fix | None = None
    confirm: bool = False

    def json(self) -> dict[str, Any]:
        """JSON data; ``fix`` is None or has ``label`` and ``values``."""
        fix = {"label": self.fix.label, "values": dict(self.fix.values)} if self.fix else None
        return {
            "severity": str(self.severity),
            "field": self.field,
            "message": self.message,
            "fix": fix,
            "confirm": self.confirm,
        }


@dataclass(frozen=True)
class Readiness:
    """The whole list. Create it with :func:`ordered`."""

    problems: tuple[Problem, ...] = ()

    @property
    def state(self) -> State:
        severities = {problem.severity for problem in self.problems}
        if Severity.BLOCKS in severities:
            return State.NOT_READY
        return State.READY_BUT if Severity.WARNS in severities else State.READY

    def of(self, severity: Severity) -> tuple[Problem, ...]:
        """Those of one severity, in order."""
        return tuple(problem for problem in self.problems if problem.severity is severity)

    def fix(self, path: str) -> Fix | None:
        """The fix that is offered for a field."""
        return next((problem.fix for problem in self.problems if problem.fix and problem.field == path), None)

    def json(self) -> dict[str, Any]:
        """JSON data: ``state`` and ``problems``."""
        return {"state": str(self.state), "problems": [problem.json() for problem in self.problems]}


def ordered(problems: Iterable[Problem]) -> Readiness:
    """The list with what blocks first, then what warns; within these as given."""
    rank = list(Severity)
    return Readiness(tuple(sorted(problems, key=lambda problem: rank.index(problem.severity))))


@dataclass(frozen=True)
class RowFacts:
    """What is known about the rows without a probe.

    Attributes:
        seen: Examined rows, at least one.
        whole: Whether these are all rows.
        measured: Of them, rows whose tokens were counted; 0 if the tokenizer is not here.
        long_references: Rows whose reference in the required format has more tokens than the longest answer.
        longest_reference: Tokens of the longest one.
        long_prompts: Rows whose question does not fit beside the longest answer or, where rows bring their answers,
            leaves no room for any.
        long_examples: Rows whose question and reference together have more tokens than the longest text.
        longest_example: Tokens of the longest one.
        long_example: The question of the first one.
        proposed: (max_sequence_length, max_new_tokens) that leave nearly all rows whole.
        usual: Their usual lengths.
        judged: Rows whose reference was given to the reward as an answer.
        unreadable: How many of these did not get the full score for correctness.
        example: One such reference.
        suggestion: A reward section that suits the rows and its title; None if the chosen one does.
        missing: Columns that the reward needs and no row has.
        rows: All rows, if known.
        held_out: Rows that would be scored and not trained on, if known.
        preferences: Counts over pairs and ratings, if the dataset has any.
    """

    seen: int
    whole: bool = True
    measured: int = 0
    long_references: int = 0
    longest_reference: int = 0
    long_prompts: int = 0
    long_examples: int = 0
    longest_example: int = 0
    long_example: str = ""
    proposed: tuple[int, int] | None = None
    usual: Tokens | None = None
    judged: int = 0
    unreadable: int = 0
    example: str = ""
    suggestion: tuple[Mapping[str, Any], str] | None = None
    missing: tuple[str, ...] = ()
    rows: int | None = None
    held_out: int | None = None
    preferences: Preferences | None = None


@dataclass(frozen=True)
class Download:
    """Something on Hugging Face that is not on this machine.

    Attributes:
        size: In words, such as 'about 1.2 GB'; empty if it is not known.
        reachable: Whether Hugging Face answers; None if that is not known yet.
    """

    size: str = ""
    reachable: bool | None = None


@dataclass(frozen=True)
class Facts:
    """Facts about a configuration; every field may be unknown.

    Attributes:
        compares: Whether the reward compares with the reference.
        rows: None if they are not on this machine.
        unusable: Field path and message if no row can be used.
        model, dataset: Required downloads.
        memory: Required and available bytes, if the first is larger.
        fits_in_4bit: Whether loading in 4 bit would help.
        shape: What a learning rate depends on, of the model on this machine.
        layers: Field path and message if the model has none of the layers that the adapter should be on.
        instead: Bytes of memory if every weight is trained in other ways: with ``adafactor``, or ``lora`` in its place.
        disk: Bytes that checkpoints and a base model of the run's own take, and those that are free.
        start: Field path and message if the run cannot go on from the earlier one.
        loopholes: Adversarial answers that score as high as the reference, as sentences.
        unchecked: Why the reward was not tested; empty if it was.
        asked: Whether a start needs a confirmation because it could not be tested.
        model_type: The model's architecture, as transformers calls it; empty if it is not known.
    """

    compares: bool = False
    rows: RowFacts | None = None
    unusable: tuple[str, str] | None = None
    model: Download | None = None
    dataset: Download | None = None
    memory: tuple[int, int] | None = None
    fits_in_4bit: bool = False
    shape: ModelFacts = field(default_factory=ModelFacts)
    layers: tuple[str, str] | None = None
    instead: Mapping[str, int] = field(default_factory=dict)
    disk: tuple[int, int] | None = None
    start: tuple[str, str] | None = None
    loopholes: tuple[str, ...] = ()
    unchecked: str = ""
    asked: bool = False
    model_type: str = ""


@dataclass
class _Found:
    config: RunConfig
    device: Device
    facts: Facts
    problems: list[Problem] = field(default_factory=list)

    @property
    def method(self) -> Method:
        return method(self.config.method)

    @property
    def blocked(self) -> bool:
        """Whether a cause was found whose consequences need no mention."""
        return any(problem.severity is Severity.BLOCKS for problem in self.problems)

    def add(
        self, severity: Severity, path: str, message: str, fix: Fix | None = None, *, confirm: bool = False
    ) -> None:
        self.problems.append(Problem(severity, path, message, fix, confirm))


def check(config: RunConfig, device: Device, facts: Facts) -> Readiness:
    """Everything known that prevents or argues against starting a valid configuration."""
    found = _Found(config, device, facts)
    for rule, wanted in _RULES:
        if wanted is None or not {*found.method.needs, *found.method.shapes}.isdisjoint(wanted):
            rule(found)
    said = {problem.field for problem in found.problems}
    for remark in device_checks(config, device):
        if remark.level == "note" and remark.field in said:
            continue
        severity = Severity.BLOCKS if remark.level == "problem" else Severity.NOTE
        found.add(severity, remark.field, remark.message)
    return ordered(found.problems)


def require_answers(dataset: DatasetSection, reward_needs: Collection[str]) -> None:
    """Reject rewards that compare with answers if a mapping has no answer column.

    Raises:
        InvalidInput: With the path of the first such mapping's field.
    """
    if "response" in reward_needs and (lacking := _without_answers(dataset)):
        raise InvalidInput(CHOOSE_ANSWERS, field=lacking[0])


def _without_answers(dataset: DatasetSection) -> list[str]:
    """The paths of the fields that should name an answer column and are empty."""
    parts: dict[str, SourceFields] = {f"dataset.mix.{place}": part for place, part in enumerate(dataset.mix)}
    sources = parts or {"dataset": dataset}
    return [
        f"{path}.response_field"
        for path, source in sources.items()
        if not source.response_field
        and not source.text_field
        and source.shape is not Shape.PAIRS
        and not source.source.startswith("generated:")
    ]


def _answer_column(found: _Found) -> None:
    for path in _without_answers(found.config.dataset):
        if found.facts.compares:
            found.add(Severity.BLOCKS, path, CHOOSE_ANSWERS)
        elif found.config.trains_conversations:
            continue  # the conversations have answers of their own
        elif "response" in found.method.columns:
            words = f"Choose the answer column: {found.method.term} learns from it."
            found.add(Severity.BLOCKS, path, words)
        elif found.config.pre_training.enabled and found.method.uses("pre_training"):
            found.add(
                Severity.WARNS, path,
                "There is no answer column, so the warm-up would teach empty answers. Choose the column, or turn the "
                "warm-up off.",
                Fix("Turn off warm-up", {"pre_training.enabled": False}),
            )  # fmt: skip


def _plain_text(found: _Found) -> None:
    dataset = found.config.dataset
    parts: dict[str, SourceFields] = {f"dataset.mix.{place}": part for place, part in enumerate(dataset.mix)}
    for path, source in (parts or {"dataset": dataset}).items():
        if source.text_field and not found.method.uses("dataset.text_field"):
            found.add(
                Severity.BLOCKS, f"{path}.text_field",
                f"{found.method.term} needs questions, and plain text has none. Clear the text column.",
                None if parts else Fix("Clear the text column", {"dataset.text_field": None}),
            )  # fmt: skip


def _tags_without_use(found: _Found) -> None:
    """Conversations are trained as they are, so a system prompt must not ask for answer tags."""
    dataset = found.config.dataset
    told = DEFAULT_SYSTEM_PROMPT if dataset.system_prompt is None else dataset.system_prompt
    asked = [
        tag
        for name in ("solution_start", "reasoning_start")
        if (tag := getattr(dataset, name)) and (tag in told or f"{{{name}}}" in told)
    ]
    if asked and found.config.trains_conversations and not dataset.text_field:
        found.add(
            Severity.WARNS, "dataset.system_prompt",
            f"The system prompt asks for {asked[0]}, and the model would learn to ignore that: unless only the last "
            "assistant message is trained, conversations are trained as they are, without answer tags.",
            Fix("Remove the system prompt", {"dataset.system_prompt": ""}),
        )  # fmt: skip


def _usable(found: _Found) -> None:
    if found.facts.unusable:
        found.add(Severity.BLOCKS, *found.facts.unusable)


def _columns(found: _Found) -> None:
    rows = found.facts.rows
    if rows and rows.missing:
        names = ", ".join(f"'{name}'" for name in rows.missing)
        found.add(
            Severity.BLOCKS, "dataset.columns",
            f"The reward needs the column {names}, and no row has it. Map that column, or choose another reward.",
        )  # fmt: skip


def _readable(found: _Found) -> None:
    rows = found.facts.rows
    if found.blocked or not rows or not rows.unreadable:
        return
    which = "any" if rows.unreadable == rows.judged else f"{rows.unreadable:,}"
    shown = f", such as '{rows.example}'" if rows.example else ""
    fix = Fix(f"Use {rows.suggestion[1]}", {"reward": rows.suggestion[0]}) if rows.suggestion else None
    found.add(
        Severity.BLOCKS if rows.unreadable == rows.judged else Severity.WARNS,
        "reward",
        f"The reward cannot read {which} of {_rows(rows, rows.judged, 'correct answers')}{shown}. The model cannot "
        "learn from these rows: even a perfect answer would not get full points.",
        fix,
    )


def _rows(rows: RowFacts, count: int, noun: str) -> str:
    return f"the {count:,} {noun}" if rows.whole else f"the first {count:,} {noun}"


def _loopholes(found: _Found) -> None:
    for words in () if found.blocked else found.facts.loopholes:
        found.add(Severity.WARNS, "reward", f"This reward has loopholes. {words}", confirm=True)


def _references(found: _Found) -> None:
    rows, limit = found.facts.rows, found.config.training.max_new_tokens
    if not rows or not rows.measured or rows.long_references <= FEW * rows.measured:
        return
    found.add(
        Severity.WARNS, "training.max_new_tokens",
        f"{rows.long_references:,} of {_rows(rows, rows.measured, 'correct answers')} are longer than {limit} tokens; "
        f"the longest has {rows.longest_reference:,}. Answers this long are cut off and score nothing.",
        _limits(rows),
    )  # fmt: skip


def _limits(rows: RowFacts) -> Fix | None:
    if rows.proposed is None:
        return None
    sequence, answer = rows.proposed
    return Fix(f"Set to {answer:,}", {"training.max_new_tokens": answer, "training.max_sequence_length": sequence})


def _prompts(found: _Found) -> None:
    rows, training = found.facts.rows, found.config.training
    if not rows or not rows.measured or rows.long_prompts <= FEW * rows.measured:
        return
    longest = training.max_sequence_length - training.max_new_tokens
    every = rows.long_prompts == rows.measured
    fix = None
    if rows.proposed and rows.proposed[0] > training.max_sequence_length:
        # Space for the questions beside the current or proposed answers.
        wanted = rows.proposed[0] - rows.proposed[1] + max(rows.proposed[1], training.max_new_tokens)
        fix = Fix(f"Set to {wanted:,}", {"training.max_sequence_length": wanted})
    found.add(
        Severity.BLOCKS if every and rows.whole else Severity.WARNS,
        "training.max_sequence_length",
        f"{'All' if every else f'{rows.long_prompts:,}'} of {_rows(rows, rows.measured, 'questions')} are longer than "
        f"the {longest} tokens left after the maximum answer length. They are skipped.",
        fix,
    )


def _examples(found: _Found) -> None:
    rows, longest = found.facts.rows, found.config.training.max_sequence_length
    if not found.method.learns_answers or not rows or not rows.measured or rows.long_examples <= FEW * rows.measured:
        return
    every = rows.long_prompts == rows.measured
    fix = None
    if rows.proposed and rows.proposed[0] > longest:
        fix = Fix(f"Set to {rows.proposed[0]:,}", {"training.max_sequence_length": rows.proposed[0]})
    found.add(
        Severity.BLOCKS if every and rows.whole else Severity.WARNS,
        "training.max_sequence_length",
        f"{rows.long_examples:,} of {_rows(rows, rows.measured, 'rows')} are longer than {longest} tokens, question "
        f"and answer together; the longest has {rows.longest_example:,}. "
        + (f"The first one is '{rows.long_example}'. " if rows.long_example else "")
        + (
            "No question leaves room for an answer."
            if every
            else "The end of these answers is cut off, so the model would not learn how answers end."
        ),
        fix,
    )


def _adapter(found: _Found) -> None:
    if found.facts.layers:
        found.add(Severity.BLOCKS, *found.facts.layers, Fix("Use all layers", {"model.lora_preset": "all"}))
    for remark in adapter_remarks(found.config, found.device, found.facts.shape):
        severity = Severity.WARNS if remark.level == "warns" else Severity.NOTE
        found.add(severity, remark.field, remark.message, Fix(*remark.fix) if remark.fix else None)


def _held_out(found: _Found) -> None:
    evaluation, rows = found.config.evaluation, found.facts.rows
    if evaluation.holdout_fraction == 0 and not evaluation.split:
        return  # _nothing_held_out says so
    held = rows.held_out if rows and rows.held_out is not None else evaluation.max_rows
    pairs = min(held, evaluation.max_prompts, evaluation.max_rows)
    compared = Need.REWARD in found.method.needs
    needed = rows_needed() if compared else FEW_LOSSES
    if pairs >= needed:
        return
    total = rows.rows if rows else None
    can = (
        "are too few to tell whether the model improved"
        if not compared
        else "are too few to show any difference"
        if pairs < fewest_changes()
        else f"only show a difference if {smallest_share(pairs):.0%} of the answers change from wrong to right"
    )
    fix = _more_held_out(evaluation, held, needed, total)
    found.add(
        Severity.WARNS,
        next(iter(fix.values)) if fix else "evaluation.holdout_fraction",
        f"{pairs} held-out question{'' if pairs == 1 else 's'} {can}. Hold out at least {needed}"
        + ("." if fix else f"; this dataset has only {total:,} rows. Add more rows." if total else "."),
        fix,
    )


def _more_held_out(evaluation: EvaluationSection, held: int, needed: int, total: int | None) -> Fix | None:
    values: dict[str, Any] = {}
    if held < needed and evaluation.max_rows >= needed:
        # A row's split depends on its content, so the share is slightly larger than necessary.
        share = min(0.5, -(-1.25 * needed // (0.05 * total)) * 0.05) if total else 0.0
        if not total or share * total < needed or evaluation.split or share <= evaluation.holdout_fraction:
            return None
        values["evaluation.holdout_fraction"] = round(share, 2)
    if evaluation.max_prompts < needed:
        values["evaluation.max_prompts"] = needed
    if evaluation.max_rows < needed:
        values["evaluation.max_rows"] = needed
    return Fix(f"Hold out {needed} questions", values) if values else None


@lru_cache(maxsize=1)
def rows_needed() -> int:
    """The fewest held-out rows with which a change in half of them would be shown in four of five cases."""
    return next(count for count in range(fewest_changes(), 1000) if smallest_share(count) <= SHOWN_SHARE)


def _memory(found: _Found) -> None:
    if not found.facts.memory:
        return
    if found.config.model.adapter == "none":
        _memory_for_every_weight(found, *found.facts.memory)
        return
    needed, there = (f"{count / 1e9:.1f} GB" for count in found.facts.memory)
    fix = Fix("Use 4-bit quantization", {"model.load_in_4bit": True}) if found.facts.fits_in_4bit else None
    found.add(
        Severity.WARNS, "model.name",
        f"Training needs about {needed} of memory (give or take a third), and this machine has {there}. "
        "Choose a smaller model.",
        fix,
    )  # fmt: skip


def _memory_for_every_weight(found: _Found, needed: int, there: int) -> None:
    """Refused, because weights, gradients and optimizer take known numbers of bytes: such a run would be killed."""
    instead, optim = found.facts.instead, found.config.training.optim
    ways = {"a LoRA adapter": instead.get("lora"), "Adafactor": instead.get("adafactor")}
    if optim == "adafactor":
        del ways["Adafactor"]
    fitting = [f"{name} ({_gb(count)})" for name, count in ways.items() if count is not None and count <= there]
    fixes = {
        "lora": Fix("Train a LoRA adapter instead", {"model.adapter": "lora"}),
        "adafactor": Fix("Use Adafactor", {"training.optim": "adafactor"}),
    }
    fits = (fix for name, fix in fixes.items() if instead.get(name, needed) <= there)
    help_ = f"Use {' or '.join(fitting)}, or choose a smaller model." if fitting else "Choose a smaller model."
    found.add(
        Severity.BLOCKS, "model.adapter",
        f"Training every weight of this model needs about {_gb(needed)} of memory for weights, gradients, the "
        f"optimizer's values and one batch. This machine has {_gb(there)}. {help_}",
        next(fits, None),
    )  # fmt: skip


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _disk(found: _Found) -> None:
    """Checkpoints of a whole model, with the optimizer's values."""
    if not found.facts.disk or found.facts.disk[0] <= found.facts.disk[1]:
        return
    needed, free = found.facts.disk
    keep = found.config.training.keep_checkpoints
    fewer = Fix("Keep only the latest checkpoint", {"training.keep_checkpoints": 1}) if keep > 1 else None
    found.add(
        Severity.BLOCKS, "training.keep_checkpoints",
        f"This run would write {_gb(needed)} to disk: the model and the optimizer's values for each of {keep} "
        f"checkpoint{'' if keep == 1 else 's'} and the next one. {_gb(free)} are free. Free up space, keep fewer "
        "checkpoints, or train a LoRA adapter.",
        fewer,
    )  # fmt: skip


def _start(found: _Found) -> None:
    if found.facts.start:
        found.add(Severity.BLOCKS, *found.facts.start)


def _rollouts_of_every_weight(found: _Found) -> None:
    if found.config.model.adapter == "none":
        found.add(
            Severity.NOTE, "model.adapter",
            "Answers are generated by transformers, several times slower than by llama.cpp, which would need the whole "
            "model converted again after each step. With a LoRA adapter it is used.",
        )  # fmt: skip


def _downloads(found: _Found) -> None:
    for path, one in (("model.name", found.facts.model), ("dataset.source", found.facts.dataset)):
        if one is None:
            continue
        size = f" ({one.size})" if one.size else ""
        if one.reachable is False:
            found.add(
                Severity.WARNS, path,
                f"Not on this machine. It must be downloaded{size}, but Hugging Face cannot be reached right now, so "
                "the run would fail. Check the name and your connection.",
            )  # fmt: skip
        else:
            found.add(Severity.NOTE, path, f"Not on this machine yet. It will be downloaded{size}.")


def _model_type(found: _Found) -> None:
    for remark in found.method.suits(found.config, found.facts.model_type):
        severity = Severity.BLOCKS if remark.level == "problem" else Severity.NOTE
        found.add(severity, remark.field, remark.message)


def _early_stop(found: _Found) -> None:
    """Early stopping needs evaluations during training, one more than it waits for."""
    evaluation, steps = found.config.evaluation, found.config.training.max_steps
    wanted, nothing = evaluation.early_stop, evaluation.holdout_fraction == 0 and not evaluation.split
    if nothing:
        for name in ("early_stop", "keep_best"):
            if getattr(evaluation, name):
                found.add(Severity.WARNS, f"evaluation.{name}", "Has no effect, because no rows are held out.")
        return
    if not wanted or not steps:
        return
    during = (steps - 1) // (evaluation.every_steps or max(1, steps // 2))
    if during > wanted:
        return
    every = max(1, steps // (wanted + 4))
    enough = (steps - 1) // every > wanted
    times = "one evaluation" if during == 1 else f"{during} evaluations"
    found.add(
        Severity.WARNS, "evaluation.early_stop",
        f"Has no effect: there {'is' if during == 1 else 'are'} only {times} during these {steps} steps, and it takes "
        f"{wanted + 1}. Evaluate more often{'' if enough else ', or train for more steps'}.",
        Fix(f"Evaluate every {every} steps", {"evaluation.every_steps": every}) if enough else None,
    )  # fmt: skip


def _passes(found: _Found) -> None:
    """With packing, a step takes more rows than its batch size says."""
    config, rows = found.config, found.facts.rows
    if not found.method.packs(config) or not rows or not rows.usual or not rows.rows or not config.training.max_steps:
        return
    trained = rows.rows * (1 - config.evaluation.holdout_fraction - config.evaluation.test_fraction)
    each = min(trained, rows_a_step(config, rows.usual) or 1)
    times = each * config.training.max_steps / trained
    fewer = max(1, round(config.training.max_steps * USUAL_PASSES / times))
    found.add(
        Severity.WARNS if times > MANY_PASSES else Severity.NOTE, "training.max_steps",
        f"With packing, a step learns from about {each:,.0f} rows, so {config.training.max_steps:,} steps go over "
        f"the {trained:,.0f} training rows about {times:,.1f} times.",
        Fix(f"Set to {fewer}", {"training.max_steps": fewer}) if times > MANY_PASSES else None,
    )  # fmt: skip


def _unchecked(found: _Found) -> None:
    facts = found.facts
    if facts.unchecked:
        then = "" if facts.asked else " It is checked when you start the run."
        found.add(
            Severity.WARNS if facts.asked else Severity.NOTE, "reward",
            f"The reward was not checked for loopholes, because {facts.unchecked}.{then}", confirm=facts.asked,
        )  # fmt: skip


def _unusual(found: _Found) -> None:
    """Numbers outside the usual range, if there is no other remark on them."""
    said = {problem.field for problem in found.problems}
    whole = found.config.model.adapter == "none"
    # Those of an adapter have no effect then, and the learning rate's range is another one.
    others = {*(f"model.{name}" for name in adapter_fields()), "training.learning_rate"} if whole else set[str]()
    for section in ("model", "training", found.method.section_name, "pre_training", "evaluation"):
        values = getattr(found.config, section)
        if section == "pre_training" and not values.enabled:
            continue
        for name, info in type(values).model_fields.items():
            path, value, usual = f"{section}.{name}", getattr(values, name), usual_range(info)
            if path in others:
                continue
            if usual and value is not None and path not in said and found.method.uses(path):
                side = "Below" if value < usual[0] else "Above" if value > usual[1] else ""
                if side:
                    found.add(Severity.NOTE, path, f"{side} the usual range of {range_words(usual)}.")


def _nothing_held_out(found: _Found) -> None:
    if found.config.evaluation.holdout_fraction == 0 and not found.config.evaluation.split:
        found.add(
            Severity.WARNS, "evaluation.holdout_fraction",
            "No rows are held out, so you cannot tell whether the model improves on questions it has not seen.",
            Fix("Hold out 10%", {"evaluation.holdout_fraction": 0.1}),
        )  # fmt: skip


def _preferences(found: _Found) -> None:
    facts = found.facts.rows.preferences if found.facts.rows else None
    if facts is None or found.blocked:
        return
    for one in (*concerns_of(facts), *found.method.row_concerns(found.config, facts)):
        found.add(Severity(one.level), one.field, one.message, Fix(*one.fix) if one.fix else None)


_RULES: tuple[tuple[Callable[[_Found], None], tuple[Need | Shape, ...] | None], ...] = (
    (_answer_column, None),
    (_plain_text, None),
    (_tags_without_use, None),
    (_usable, None),
    (_columns, (Need.REWARD,)),
    (_readable, (Need.REWARD,)),
    (_loopholes, (Need.REWARD,)),
    (_references, (Need.ROLLOUTS,)),
    (_prompts, (Need.ROLLOUTS,)),
    (_examples, None),
    (_preferences, (Shape.PAIRS, Shape.RATINGS)),
    (_adapter, None),
    (_model_type, None),
    (_passes, None),
    (_early_stop, None),
    (_start, None),
    (_downloads, None),
    (_memory, None),
    (_disk, None),
    (_rollouts_of_every_weight, (Need.ROLLOUTS,)),
    (_held_out, None),
    (_nothing_held_out, None),
    (_unchecked, (Need.REWARD,)),
    (_unusual, None),
)
"""In order of severity; a rule with needs or shapes is for methods that have one of them."""
