"""KTO: the model learns from single answers that were rated good or bad."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from core.dataset import Shape
from core.learning_rate import PAIRS
from core.methods.by_rows import ACCURACY, plans_by_passes, suggested
from core.methods.method import JobType, Method, Need, Phase
from core.methods.sft import SFT
from core.metric import Chart
from core.metric import Section as ChartSection
from core.preferences import Concern, Preferences
from core.section import Section, usual

if TYPE_CHECKING:
    from core.config import RunConfig

LARGEST_BATCH = 32
"""Batches above this size are not suggested: they may not fit into memory."""
MOST_BALANCED = 4 / 3
"""Upper bound of the good answers' total weight divided by that of the bad ones; 1 is the lower one.

Equation 8 of the KTO paper (https://arxiv.org/abs/2402.01306), which TRL repeats.
"""


# fmt: off
class KtoSection(Section):
    """What KTO alone has."""

    loss_type: Literal["kto", "apo_zero_unpaired"] = Field("kto", title="Loss", description="KTO compares each answer with how much the model has drifted on other answers of the batch. APO-zero does not; it suits good answers that are better than what the model writes itself.")
    beta: float = Field(0.1, gt=0, le=10, title="Beta", description="How closely the model stays to how it was at the start. Lower lets it change more.", json_schema_extra=usual(0.01, 0.5))
    desirable_weight: float = Field(1.0, gt=0, le=1000, title="Weight of good answers", description="Multiplies the loss of good answers. Raise it if there are fewer good answers than bad ones.")
    undesirable_weight: float = Field(1.0, gt=0, le=1000, title="Weight of bad answers", description="Multiplies the loss of bad answers. Raise it if there are fewer bad answers than good ones.")
# fmt: on


def rows_a_step(config: RunConfig) -> int:
    """A rated answer for each place of the step; a pair fills two."""
    places = config.training.batch_size * config.training.gradient_accumulation_steps
    return -(-places // 2) if config.dataset.shape is Shape.PAIRS else places


def cross_checks(config: RunConfig) -> list[tuple[str, str]]:
    """One answer cannot be compared with others."""
    if config.training.batch_size > 1:
        return []
    words = "KTO compares the answers of a batch with each other; use at least 2, and fewer accumulation steps"
    return [("training.batch_size", words)]


def row_concerns(config: RunConfig, facts: Preferences) -> list[Concern]:
    """What the numbers of good and bad answers mean for weights and batch."""
    good, bad = facts.good + facts.pairs, facts.bad + facts.pairs
    if not good or not bad:
        return []
    return [*_weights(config.own(KtoSection), facts, good, bad), *_batches(config, facts, good, bad)]


def _weights(section: KtoSection, facts: Preferences, good: int, bad: int) -> Iterator[Concern]:
    if balanced(section.desirable_weight * good, section.undesirable_weight * bad):
        return
    desirable, undesirable = balancing_weights(good, bad)
    path = "kto.desirable_weight" if undesirable == 1 and desirable != 1 else "kto.undesirable_weight"
    values = {"kto.desirable_weight": desirable, "kto.undesirable_weight": undesirable}
    yield Concern(
        "warns", path,
        f"Of {facts.rows('answers', good + bad)}, {good:,} are good and {bad:,} are bad. With weights of "
        f"{section.desirable_weight:g} and {section.undesirable_weight:g}, the good ones count "
        f"{section.desirable_weight * good / (section.undesirable_weight * bad):.3g} times as much as the bad ones; "
        "it should be 1 to 1.33 times. "
        f"Weights of {desirable:g} and {undesirable:g} balance them.",
        max(good, bad) / (good + bad),
        (f"Set the weights to {desirable:g} and {undesirable:g}", values),
    )  # fmt: skip


def _batches(config: RunConfig, facts: Preferences, good: int, bad: int) -> Iterator[Concern]:
    """Remark on batches that cannot all have both kinds."""
    rare, share = min(("good", good), ("bad", bad), key=lambda kind: kind[1])[0], min(good, bad) / (good + bad)
    batch, accumulated = config.training.batch_size, config.training.gradient_accumulation_steps
    if batch * share >= 1:
        return
    needed = math.ceil(1 / share)
    fix = None
    if needed <= LARGEST_BATCH:
        values = {
            "training.batch_size": needed,
            "training.gradient_accumulation_steps": max(1, round(batch * accumulated / needed)),
        }
        fix = (f"Set the batch size to {needed}", values)
    yield Concern(
        "note", "training.batch_size",
        f"Only {share:.1%} of {facts.rows('answers', good + bad)} are {rare}, so with a batch size of {batch} some "
        "batches have none of them. Their drift is estimated from one kind, and a step in which all batches are like "
        f"that shows no reward margin. Add {rare} answers, or use batches of at least {needed}.",
        1 - share,
        fix,
    )  # fmt: skip


def balancing_weights(good: int, bad: int) -> tuple[float, float]:
    """(desirable_weight, undesirable_weight) that give both kinds about the same total weight; one of them is 1.

    Args:
        good, bad: Answers of each kind, at least one.

    >>> balancing_weights(300, 100), balancing_weights(50, 200), balancing_weights(100, 90)
    ((1.0, 3.0), (4.0, 1.0), (1.0, 1.0))
    """
    if balanced(good, bad):
        return 1.0, 1.0
    # Rounded so that the ratio stays within the bounds: the weight of the good answers up, that of the bad ones down.
    if good > bad:
        return 1.0, max(_rounded(good / bad, up=False), 1.0)
    return _rounded(bad / good, up=True), 1.0


def balanced(good_weight: float, bad_weight: float) -> bool:
    """Whether the total weight of the good answers is 1 to 4/3 times that of the bad ones."""
    return bad_weight * 0.999 <= good_weight <= bad_weight * MOST_BALANCED * 1.001


def _rounded(factor: float, *, up: bool) -> float:
    """To two decimals."""
    hundredths = factor * 100
    return (-(-hundredths // 1) if up else hundredths // 1) / 100


def suggest(source: str, on_gpu: bool) -> dict[str, dict[str, Any]]:
    """Sections that suit a dataset's source and this machine."""
    return suggested("kto", on_gpu, gpu_batch=8, learning_rate=5e-5)


def variant(section: Mapping[str, Any]) -> str:
    """The loss decides."""
    return "APO-zero (unpaired)" if section.get("loss_type") == "apo_zero_unpaired" else "KTO"


def facts(config: RunConfig) -> Sequence[tuple[str, Any]]:
    """For the model card."""
    section = config.own(KtoSection)
    return (
        ("Loss", KTO.choices["loss_type"][section.loss_type]),
        ("Beta", section.beta),
        ("Weight of good answers", section.desirable_weight),
        ("Weight of bad answers", section.undesirable_weight),
    )


READS: dict[str, dict[str, Any]] = {
    "loss": {
        "text": "From 0 to 1, times the weights: low if good answers have become more likely and bad ones less "
        "likely. It starts at 0.5.",
    },
    "preference_accuracy": {
        "plain": "Good answers ranked above bad ones",
        "text": "Held-out answers are compared two by two, a good one with a bad one (of a pair, with its own): the "
        "share of comparisons in which the good answer has the higher implicit reward. A tie counts as half, so a "
        "model that has learned nothing is at 50%. It is measured on held-out answers only.",
        "chart": Chart(
            ChartSection.LEARNING, "Higher is better; 50% is chance. Points are held-out answers.", wide=True,
            whole=True,
        ),
    },
    "samples": {"plain": "Comparisons of held-out answers"},
    "reward_margin": {
        "plain": "How clearly good answers are preferred",
        "text": "The mean implicit reward of good answers minus that of bad ones: how much more likely training has "
        "made the one than the other, compared with the model at the start. A step whose batches have one kind of "
        "answer only has no margin.",
        "chart": Chart(ChartSection.LEARNING, "Higher is better. Points are held-out answers."),
    },
    "reward_chosen": {
        "term": "reward of good answers",
        "plain": "How much more likely good answers have become",
        "chart": Chart(ChartSection.LEARNING, "Good answers should rise, or at least not fall; bad ones should fall."),
    },
    "reward_rejected": {
        "term": "reward of bad answers",
        "plain": "How much more likely bad answers have become",
    },
    "logps_chosen": {
        "term": "log-probability of good answers",
        "plain": "How likely the model finds good answers",
    },
    "logps_rejected": {
        "term": "log-probability of bad answers",
        "plain": "How likely the model finds bad answers",
    },
    "kl": {
        "plain": "Drift on answers to other questions",
        "text": "How much more likely the model finds an answer that belongs to another question than it did at the "
        "start, summed over the answer's tokens and not below 0. KTO's estimate of how far the model has drifted as a "
        "whole: the reward of an answer counts only as far as it differs from this.",
        "healthy": "compare it with the rewards divided by beta: drift above them means that all answers are moving, "
        "not only the good ones",
        "ranges": (),
        "chart": Chart(
            ChartSection.HEALTH, "KTO's estimate of the drift, per answer. Points are held-out answers."
        ),
    },
}  # fmt: skip
"""Metrics that mean something else than with pairs or in GRPO."""

KTO = Method(
    key="kto",
    title="Learning from ratings",
    term="KTO",
    sentence="The model learns from single answers that were rated good or bad (Kahneman-Tversky optimization).",
    given="Answers with thumbs up or down",
    when="For single answers with a rating; it also learns from pairs.",
    section=KtoSection,
    section_name="kto",
    section_title="KTO",
    shows=SFT.shows,
    columns=("instruction", "response", "label"),
    shapes=(Shape.RATINGS, Shape.PAIRS),
    job_type=JobType.DPO,
    needs=(Need.REFERENCE_MODEL,),
    phases=(Phase("training", "Training"), Phase("evaluation", "Held-out answers", "evaluation.holdout_fraction")),
    metrics=(
        "loss",
        *ACCURACY,
        "reward_margin",
        "reward_chosen",
        "reward_rejected",
        "logps_chosen",
        "logps_rejected",
        "kl",
        "entropy",
        "epoch",
        "grad_norm",
        "learning_rate",
        "step_time",
        "samples",
    ),
    rows_a_step=rows_a_step,
    rates=PAIRS,
    cross_checks=cross_checks,
    row_concerns=row_concerns,
    suggest=suggest,
    plans=plans_by_passes(suggest),
    variant=variant,
    facts=facts,
    tags=("kto",),
    choices={"loss_type": {"kto": "KTO", "apo_zero_unpaired": "APO-zero, unpaired"}},
    reads=READS,
)
