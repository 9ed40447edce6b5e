"""The verdict of a check before training: will a run learn?

Pure: it takes measurements and returns a verdict with its reason and the setting to change. The measuring is in
:mod:`core.training.probe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from core.config import RunConfig
from core.metric import Level
from core.metrics import metric

FEW, MOST = 0.1, 0.9
SPREAD_NEEDED = 0.2
"""Share of groups with different rewards below which nearly every step would give no learning signal."""
TRUNCATED = metric("cut_off").above(Level.BAD)
"""Share of cut-off answers above which the limit is too short, in a probe as in a run."""


class Outcome(StrEnum):
    """The verdicts."""

    WILL_LEARN = "will_learn"
    WARM_UP_FIRST = "warm_up_first"
    TOO_HARD = "too_hard"
    TOO_EASY = "too_easy"
    REWARD_CANNOT_TELL = "reward_cannot_tell"
    CUT_OFF = "cut_off"
    DOES_NOT_FIT = "does_not_fit"


WORDS = {
    Outcome.WILL_LEARN: "Ready to learn",
    Outcome.WARM_UP_FIRST: "Warm up first",
    Outcome.TOO_HARD: "Too hard",
    Outcome.TOO_EASY: "Too easy",
    Outcome.REWARD_CANNOT_TELL: "The reward cannot tell right from wrong",
    Outcome.CUT_OFF: "Answers are cut off",
    Outcome.DOES_NOT_FIT: "Not enough memory",
}


@dataclass(frozen=True)
class Component:
    """One part of the reward over every sampled answer: mean, and standard deviation between answers."""

    mean: float
    spread: float


@dataclass(frozen=True)
class Figures:
    """All that was measured. Shares are from 0 to 1.

    Attributes:
        prompts, samples: Prompts asked, and answers sampled to each.
        never, sometimes, always: Share of prompts solved by none, some, all of their answers.
        solved: Share of answers that are right: every part that checks correctness gives 1; without such a
            part, the largest total.
        with_spread: Share of groups whose totals differ; only those give a learning signal.
        reward, reward_spread: Mean and standard deviation of the total over all answers.
        reference: Mean total of the reference answers in the required format.
        wrong: Mean total of a wrong answer in the same form.
        components: By name.
        cut_off: Share of answers truncated at the length limit.
        reference_cut_off: Share of reference answers that would not fit within it.
        unparsed: Share of answers in which no answer was found.
        entropy: Mean, in nats per token; 0 if it was not measured.
        tokens_per_second: While sampling.
        seconds_per_step, steps, hours: For the configured run, extrapolated.
        memory_needed, memory_free: Bytes; 0 where not measured.
        warmed_up: Whether the configured warm-up was done before sampling.
        judge_requests, judge_tokens, judge_cost: For the sampled answers; the cost by the given
            price.
        run_judge_cost: The cost for the configured run, extrapolated.
    """

    prompts: int
    samples: int
    never: float
    sometimes: float
    always: float
    solved: float
    with_spread: float
    reward: float
    reward_spread: float
    reference: float
    wrong: float
    components: dict[str, Component] = field(default_factory=dict)
    cut_off: float = 0.0
    reference_cut_off: float = 0.0
    unparsed: float = 0.0
    entropy: float = 0.0
    tokens_per_second: float = 0.0
    seconds_per_step: float = 0.0
    steps: int = 0
    hours: float = 0.0
    memory_needed: int = 0
    memory_free: int = 0
    warmed_up: bool = False
    judge_requests: int = 0
    judge_tokens: int = 0
    judge_cost: float = 0.0
    run_judge_cost: float = 0.0

    @property
    def cancel(self) -> bool:
        """Whether parts differ between answers and their sum does not."""
        return self.reward_spread < 1e-6 < max((part.spread for part in self.components.values()), default=0.0)

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "cancel": self.cancel}


@dataclass(frozen=True)
class ProbeVerdict:
    """The interpretation of the figures.

    Attributes:
        outcome: One of seven.
        title: Its words.
        reason: One or two sentences with the figures that decided.
        field: The setting to change, as a path of the configuration; empty if nothing needs to.
        advice: What to do.
    """

    outcome: Outcome
    title: str
    reason: str
    field: str
    advice: str

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ProbeResult:
    """``result.json`` of a probe."""

    figures: Figures
    verdict: ProbeVerdict


def judge(found: Figures, titles: Mapping[str, str] | None = None) -> ProbeVerdict:
    """The first of these that applies: it does not fit, answers are cut off, the reward cannot tell, too easy,
    warm up first, too hard; else it will learn.

    Args:
        found: What was measured.
        titles: Titles of the reward's components, by name.
    """
    if titles:
        named = {titles.get(name, name): part for name, part in found.components.items()}
        found = replace(found, components=named)
    for rule in (_fits, _impossible, _tells, _easy, _truncated, _form, _hard):
        verdict = rule(found)
        if verdict is not None:
            return verdict
    return _verdict(
        Outcome.WILL_LEARN,
        f"{_share(found.with_spread)} of the questions got answers with different scores, and {_share(found.solved)} of all "
        "answers were correct, so the model has something to learn from.",
        "", "You can start. If the held-out reward does not rise within the first hundred steps, check again.",
    )  # fmt: skip


def proposal(
    outcome: str, figures: Mapping[str, Any], config: RunConfig, lengths: tuple[int, int] | None
) -> dict[str, Any]:
    """Values by field path that follow the verdict's advice; empty if it takes a user's choice.

    Args:
        outcome: The verdict's, as of :class:`Outcome`.
        figures: From :meth:`Figures.json`.
        config: The probed configuration.
        lengths: (max_sequence_length, max_new_tokens) that fit the references; None if they were not counted.
    """
    if outcome == Outcome.CUT_OFF:
        return _longer(figures, config, lengths)
    if outcome == Outcome.DOES_NOT_FIT:
        return _smaller(config)
    if outcome == Outcome.WARM_UP_FIRST and config.pre_training.enabled:
        return {"pre_training.epochs": min(100.0, 2 * config.pre_training.epochs)}
    if outcome in {Outcome.WARM_UP_FIRST, Outcome.TOO_HARD} and not config.pre_training.enabled:
        return {"pre_training.enabled": True}
    return {}


def _longer(figures: Mapping[str, Any], config: RunConfig, lengths: tuple[int, int] | None) -> dict[str, Any]:
    now, sequence = config.training.max_new_tokens, config.training.max_sequence_length
    answer = 2 * now
    if lengths and figures.get("reference_cut_off", 0) > TRUNCATED:
        answer = max(lengths[1], now + 1)
    # The question keeps its space.
    return {
        "training.max_new_tokens": answer,
        "training.max_sequence_length": max(sequence + answer - now, lengths[0] if lengths else 0),
    }


def _smaller(config: RunConfig) -> dict[str, Any]:
    training = config.training
    if training.batch_size % 2:
        return {} if training.gradient_checkpointing else {"training.gradient_checkpointing": True}
    return {
        "training.batch_size": training.batch_size // 2,
        "training.gradient_accumulation_steps": 2 * training.gradient_accumulation_steps,
    }


def _fits(found: Figures) -> ProbeVerdict | None:
    if not found.memory_free or found.memory_needed <= found.memory_free:
        return None
    return _verdict(
        Outcome.DOES_NOT_FIT,
        f"The run would need about {found.memory_needed / 1e9:.1f} GB of memory, and {found.memory_free / 1e9:.1f} GB is free.",
        "training.batch_size",
        "Halve the batch size and double gradient accumulation, lower the maximum answer length, turn on gradient "
        "checkpointing, or choose a smaller model.",
    )


def _impossible(found: Figures) -> ProbeVerdict | None:
    if found.reference_cut_off <= TRUNCATED:
        return None
    return _truncated_verdict(
        f"{_share(found.reference_cut_off)} of the reference answers are longer than the maximum answer length."
    )


def _truncated(found: Figures) -> ProbeVerdict | None:
    if found.cut_off <= TRUNCATED or found.unparsed >= 0.5:
        return None
    return _truncated_verdict(f"{_share(found.cut_off)} of the answers were cut off before they finished.")


def _truncated_verdict(why: str) -> ProbeVerdict:
    return _verdict(
        Outcome.CUT_OFF,
        why,
        "training.max_new_tokens",
        "Raise the maximum answer length until fewer than 1 in 10 answers is cut off.",
    )


def _tells(found: Figures) -> ProbeVerdict | None:
    if found.cancel:
        parts = ", ".join(name for name, part in found.components.items() if part.spread > 1e-6)
        return _verdict(
            Outcome.REWARD_CANNOT_TELL,
            f"The components {parts} differ between answers, but their weighted sum is always {found.reward:.3g}: they cancel out.",
            "reward.components", "Change the weights, or put a gate on one component.",
        )  # fmt: skip
    if found.reward_spread < 1e-6 and found.reference <= found.wrong + 1e-6:
        return _no_difference(found)
    return None


def _no_difference(found: Figures) -> ProbeVerdict:
    return _verdict(
        Outcome.REWARD_CANNOT_TELL,
        f"Every answer scored {found.reward:.3g}. The reference answer scores {found.reference:.3g} and a wrong answer in the "
        f"correct format {found.wrong:.3g}, so right and wrong answers look the same.",
        "reward.components", "Add a component that compares the answer with the reference.",
    )  # fmt: skip


def _easy(found: Figures) -> ProbeVerdict | None:
    if found.always < MOST:
        return None
    return _verdict(
        Outcome.TOO_EASY,
        f"{_share(found.always)} of the questions were answered correctly every time, so there is little left to learn.",
        "dataset.source", "Use harder questions, or a reward that also asks for something the model cannot do yet.",
    )  # fmt: skip


def _form(found: Figures) -> ProbeVerdict | None:
    if found.unparsed <= 0.5 or found.solved >= 0.05:
        return None
    reason = (
        f"{_share(found.unparsed)} of the answers did not use the required format, and {_share(found.solved)} were correct. "
        "The model is hardly ever rewarded, so it cannot learn what earns a reward."
    )
    if found.warmed_up:
        return _verdict(
            Outcome.WARM_UP_FIRST, f"Even after the warm-up: {reason}", "pre_training.epochs",
            "Warm up on more rows, for more epochs, or with a higher learning rate.",
        )  # fmt: skip
    return _verdict(
        Outcome.WARM_UP_FIRST, reason, "pre_training.enabled",
        "Turn on the warm-up: a few dozen reference answers teach the model the format first.",
    )  # fmt: skip


def _hard(found: Figures) -> ProbeVerdict | None:
    if found.with_spread >= SPREAD_NEEDED and found.solved > 0:
        return None
    if found.always > found.never:
        return _verdict(
            Outcome.TOO_EASY,
            f"Only {_share(found.with_spread)} of the questions got answers with different scores; {_share(found.always)} were "
            "answered correctly every time.",
            "dataset.source", "Use harder questions, or more answers per question.",
        )  # fmt: skip
    return _verdict(
        Outcome.TOO_HARD,
        f"{_share(found.never)} of the questions were never answered correctly, and only {_share(found.with_spread)} got "
        "answers with different scores.",
        "dataset.source" if not found.warmed_up else "model.name",
        "Use easier questions, a larger model or more answers per question, or warm up on reference answers.",
    )  # fmt: skip


def _verdict(outcome: Outcome, reason: str, field_path: str, advice: str) -> ProbeVerdict:
    return ProbeVerdict(outcome, WORDS[outcome], reason, field_path, advice)


def _share(value: float) -> str:
    return f"{value:.0%}"


def shares(right: Sequence[Sequence[bool]]) -> tuple[float, float, float]:
    """Share of groups with no, some, only right answers.

    >>> shares([[True, False], [False, False], [True, True], [False, False]])
    (0.5, 0.25, 0.25)
    """
    never = sum(not any(group) for group in right) / len(right)
    always = sum(all(group) for group in right) / len(right)
    return never, 1 - never - always, always
