"""What is wrong with a training run, from its metric rows, and the settings that would fix it. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pydantic import BaseModel

from core.config import EvaluationSection, PreTrainingSection, TrainingSection
from core.job_rows import MetricRow, measure
from core.metric import Level
from core.metrics import metric

EARLY = 5
"""With fewer steps than this, there is no trend."""
LEAST = 2
"""Steps that are enough to diagnose a run that is over, since no more will come."""
WINDOW = 10
"""Number of latest steps that count."""
FULL = 0.9
"""Share of fully right answers above which little is left to learn."""
NOTHING = 0.02
"""Share of the highest possible reward below which hardly anything was earned."""
_SECTIONS: dict[str, type[BaseModel]] = {
    "training": TrainingSection,
    "pre_training": PreTrainingSection,
    "evaluation": EvaluationSection,
}


@dataclass(frozen=True)
class Change:
    """A change to a setting: its path, the new value, and the old one."""

    path: str
    value: Any
    was: Any


@dataclass(frozen=True)
class Remedy:
    """What a new run should change, in words that complete 'New run with …'.

    ``changes`` is empty if only the user can choose the value, on the wizard's ``step``.
    """

    words: str
    changes: tuple[Change, ...] = ()
    step: str = "train"


@dataclass(frozen=True)
class Finding:
    """One finding about a training run. ``level`` is ``good``, ``watch`` or ``problem``."""

    level: str
    sentence: str
    advice: tuple[str, ...]
    remedy: Remedy


@dataclass(frozen=True)
class Seen:
    """The data that the rules look at.

    Attributes:
        training: Training rows with a reward, ordered by step, at least one.
        config: The run's stored configuration; missing settings have their default.
        best: The highest possible reward of an answer, if known.
        over: Whether the run is over, so that no more rows will come.
    """

    training: Sequence[MetricRow]
    config: Mapping[str, Any]
    best: float | None = None
    over: bool = False

    @property
    def lately(self) -> Sequence[MetricRow]:
        return self.training[-WINDOW:]

    def enough(self) -> bool:
        """Whether there are enough steps for a diagnosis."""
        return len(self.training) >= (LEAST if self.over else EARLY)

    def mean(self, name: str) -> float | None:
        """The mean of a metric over the latest steps that have it."""
        values = [value for row in self.lately if (value := measure(row, name)) is not None]
        return fmean(values) if values else None

    def setting(self, path: str) -> Any:
        """A setting of the run, or its default."""
        section, _, name = path.partition(".")
        values = self.config.get(section) or {}
        return values[name] if name in values else _SECTIONS[section].model_fields[name].default

    def change(self, path: str, value: Any) -> Change:
        return Change(path, value, self.setting(path))


def changed(config: Mapping[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    """A copy of a configuration with the changes applied."""
    new = {key: dict(value) if isinstance(value, dict) else value for key, value in config.items()}
    for change in changes:
        section, _, name = change.path.partition(".")
        new.setdefault(section, {})[name] = change.value
    return new


def diagnose(seen: Seen) -> Finding | None:
    """The first finding that applies; None if the rows show no problem."""
    if not seen.enough():
        return None
    return next((found for rule in _RULES if (found := rule(seen))), None)


def otherwise(seen: Seen) -> Remedy:
    """What to try if a run did not learn and no rule explains why: the first option not tried yet."""
    if not seen.setting("pre_training.enabled") and (seen.mean("solved") or 0) < 0.05:
        return _warm_up(seen)
    steps = seen.setting("training.max_steps")
    if steps and steps < 100:
        return Remedy("more steps", (seen.change("training.max_steps", steps * 3),))
    return Remedy("easier questions", step="dataset")


def more_questions(seen: Seen, asked: int) -> Remedy:
    """More held-out questions than the ``asked`` ones: a higher limit, or a larger share of the rows."""
    most, share = seen.setting("evaluation.max_prompts"), seen.setting("evaluation.holdout_fraction")
    if asked >= most:
        change = seen.change("evaluation.max_prompts", most * 4)
    else:
        change = seen.change("evaluation.holdout_fraction", min(0.5, round(share * 3, 2)))
    return Remedy("more held-out questions", (change,))


def slower(seen: Seen) -> Remedy:
    """A third of the learning rate."""
    rate = float(f"{seen.setting('training.learning_rate') / 3:.1g}")
    return Remedy("a lower learning rate", (seen.change("training.learning_rate", rate),))


def _truncated(seen: Seen) -> Finding | None:
    share = seen.mean("cut_off") or 0
    if share <= metric("cut_off").above(Level.BAD):
        return None
    return Finding(
        "problem",
        f"{share:.0%} of the answers are cut off at the length limit, so the reward never sees their solutions.",
        (
            "Start a new run with a higher limit for the length of an answer.",
            "Or ask for shorter answers in the system prompt.",
        ),
        _longer(seen, share),
    )


def _longer(seen: Seen, share: float) -> Remedy:
    """Twice the answer length, or four times if hardly any answer ends; the space for the question stays the same."""
    limit, whole = seen.setting("training.max_new_tokens"), seen.setting("training.max_sequence_length")
    wanted = min(limit * (4 if share > 0.8 else 2), 131_072)
    changes = [seen.change("training.max_new_tokens", wanted)]
    if whole < 2 * wanted:
        changes.append(seen.change("training.max_sequence_length", min(whole + wanted - limit, 1_048_576)))
    return Remedy("longer answers", tuple(changes))


def _nothing_earned(seen: Seen) -> Finding | None:
    highest = max(row["reward"] for row in seen.lately)
    if highest > max(0.01, NOTHING * (seen.best or 0)):
        return None
    return Finding(
        "problem",
        f"{'No' if highest <= 0 else 'Hardly any'} answer scored anything in the last "
        f"{_steps(len(seen.lately))}, so there is nothing to learn from.",
        (
            "Turn on the warm-up, or make it longer: it teaches the answer format first.",
            "Try easier questions, or a reward that gives partial credit.",
        ),
        _warm_up(seen),
    )


def _warm_up(seen: Seen) -> Remedy:
    if not seen.setting("pre_training.enabled"):
        return Remedy("a warm-up", (seen.change("pre_training.enabled", True),))
    rows, passes = seen.setting("pre_training.max_samples"), seen.setting("pre_training.epochs")
    longer = ("pre_training.max_samples", rows * 4) if rows else ("pre_training.epochs", min(passes * 2, 100))
    return Remedy("a longer warm-up", (seen.change(*longer),))


def _zero_variance(seen: Seen) -> Finding | None:
    if (seen.mean("groups_without_spread") or 0) < metric("groups_without_spread").above(Level.BAD):
        return None
    if (seen.mean("solved") or 0) > FULL:
        return Finding(
            "good",
            "Nearly every answer is fully right, so there is little left to learn.",
            ("Export it, or train on harder questions.",),
            Remedy("harder questions", step="dataset"),
        )
    return Finding(
        "problem",
        "Answers to the same question nearly always score the same, so nothing is being learned.",
        (
            "Raise the temperature or the number of answers per question.",
            "Use a reward that tells good answers from better ones.",
        ),
        _livelier(seen),
    )


def _livelier(seen: Seen) -> Remedy:
    if seen.setting("training.temperature") < 1:
        return Remedy("a higher temperature", (seen.change("training.temperature", 1.0),))
    group, batches = seen.setting("training.num_generations"), seen.setting("training.gradient_accumulation_steps")
    if group < 16:
        changes = (
            seen.change("training.num_generations", group * 2),
            seen.change("training.gradient_accumulation_steps", batches * 2),
        )
        return Remedy("more answers per question", changes)
    return Remedy("a different reward", step="reward")


def _sampler_mismatch(seen: Seen) -> Finding | None:
    kl = seen.mean("kl") or 0
    if kl <= metric("kl").above(Level.BAD):
        return None
    return Finding(
        "problem",
        f"The model has drifted very far from the base model (KL divergence {kl:.1f}).",
        ("Read the latest answers. If they are poor, start again with a lower learning rate or a higher KL penalty.",),
        slower(seen),
    )


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


_RULES: tuple[Callable[[Seen], Finding | None], ...] = (_truncated, _nothing_earned, _zero_variance, _sampler_mismatch)
