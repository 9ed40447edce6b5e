"""ORPO: the model learns good answers, and to prefer them to worse ones, at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from core.dataset import Shape
from core.learning_rate import PAIRS_WITH_EXAMPLES
from core.methods.by_rows import ACCURACY, plans_by_passes, rows_a_step, suggested
from core.methods.dpo import DPO
from core.methods.method import JobType, Method, Phase
from core.methods.sft import SFT
from core.section import Section, usual

if TYPE_CHECKING:
    from core.config import RunConfig


# fmt: off
class OrpoSection(Section):
    """What ORPO alone has."""

    beta: float = Field(0.1, gt=0, le=10, title="Lambda (beta)", description="How much the preference counts beside learning to write the better answers. Higher moves the model away from the worse answers more strongly.", json_schema_extra=usual(0.1, 1))
# fmt: on


def suggest(source: str, on_gpu: bool) -> dict[str, dict[str, Any]]:
    """Sections that suit a dataset's source and this machine."""
    return suggested("orpo", on_gpu, gpu_batch=4, longest=256 if source == "generated:preferences" else 512)


def variant(section: Mapping[str, Any]) -> str:
    """One name, whatever its settings."""
    return "ORPO"


def facts(config: RunConfig) -> Sequence[tuple[str, Any]]:
    """For the model card."""
    return (("Lambda", config.own(OrpoSection).beta),)


_BETTER = "It compares how likely the model finds the two answers, per token, not with how it was at the start."

ORPO = Method(
    key="orpo",
    title="Learning from preferences and examples at once",
    term="ORPO",
    sentence="The model learns to write the better answers and to avoid the worse ones, in one training "
    "(odds ratio preference optimization).",
    given=DPO.given,
    when="If the model cannot give answers like the better ones yet: it learns them at the same time.",
    section=OrpoSection,
    section_name="orpo",
    section_title="ORPO",
    shows=SFT.shows,
    columns=("instruction", "chosen", "rejected"),
    shapes=(Shape.PAIRS,),
    job_type=JobType.DPO,
    needs=(),
    phases=(Phase("training", "Training"), Phase("evaluation", "Held-out pairs", "evaluation.holdout_fraction")),
    metrics=(
        "loss",
        *ACCURACY,
        "nll_loss",
        "log_odds_chosen",
        "log_odds_ratio",
        "reward_margin",
        "reward_chosen",
        "reward_rejected",
        "logps_chosen",
        "logps_rejected",
        "epoch",
        "grad_norm",
        "learning_rate",
        "step_time",
        "samples",
    ),
    rows_a_step=rows_a_step,
    rates=PAIRS_WITH_EXAMPLES,
    suggest=suggest,
    plans=plans_by_passes(suggest),
    variant=variant,
    facts=facts,
    tags=("orpo",),
    reads={
        "loss": {
            "text": "How unlikely the model finds the better answers, plus lambda times how little it prefers them.",
        },
        "preference_accuracy": {
            "text": f"The share of pairs in which the better answer is the more likely one. {_BETTER}",
        },
        "reward_margin": {
            "plain": "How much likelier the better answer is",
            "text": "The log-probability per token of the better answer minus that of the worse one, times lambda. "
            f"{_BETTER}",
        },
        "reward_chosen": {
            "plain": "How likely better answers are",
            "text": f"The log-probability per token of the better answer, times lambda. {_BETTER}",
        },
        "reward_rejected": {"plain": "How likely worse answers are"},
        "logps_chosen": {
            "text": "The mean over an answer's tokens of their log-probabilities, on average over the answers of a "
            "step.",
        },
    },
)
