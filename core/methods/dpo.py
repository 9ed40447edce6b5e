"""DPO: the model learns to prefer the better of two answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from core.dataset import Shape
from core.learning_rate import PAIRS
from core.methods.method import JobType, Method, Need, Phase
from core.methods.sft import SFT, rows_a_step
from core.plan import Plan, Situation, by_passes
from core.section import Section, usual

if TYPE_CHECKING:
    from core.config import RunConfig


# fmt: off
class DpoSection(Section):
    """What DPO alone has."""

    beta: float = Field(0.1, gt=0, le=10, title="Beta", description="How closely the model stays to how it was at the start. Lower lets it change more.", json_schema_extra=usual(0.01, 0.5))
# fmt: on


def suggest(source: str, on_gpu: bool) -> dict[str, dict[str, Any]]:
    """Sections that suit a dataset's source and this machine: on a CPU a step should take seconds."""
    if on_gpu:
        training: dict[str, Any] = {
            "max_steps": 300,
            "batch_size": 4,
            "gradient_accumulation_steps": 4,
            "max_sequence_length": 2048,
            "optim": "adamw_8bit",
            "gradient_checkpointing": True,
        }
        return {"training": training, "dpo": {}, "evaluation": {}}
    training = {
        "max_steps": 40,
        "batch_size": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": 5e-5,
        "max_sequence_length": 512,
        "save_steps": 10,
    }
    return {"training": training, "dpo": {}, "evaluation": {}}


def plans(situation: Situation) -> tuple[Plan, ...]:
    """By passes over the pairs."""
    return by_passes(situation, suggest(situation.source, situation.on_gpu)["training"])


def variant(section: Mapping[str, Any]) -> str:
    """One name, whatever its settings."""
    return "DPO"


def facts(config: RunConfig) -> Sequence[tuple[str, Any]]:
    """For the model card."""
    return (("Beta", config.own(DpoSection).beta),)


ACCURACY = (
    "preference_accuracy",
    "preference_accuracy_low",
    "preference_accuracy_high",
    "accuracy_change",
    "accuracy_change_low",
    "accuracy_change_high",
)
"""Metrics of every method that learns from preferences: held-out accuracy with intervals."""

DPO = Method(
    key="dpo",
    title="Learning from preferences",
    term="DPO",
    sentence="The model learns to prefer the better of two answers (direct preference optimization).",
    given="Pairs of a better and a worse answer",
    when="The usual choice for a model that can already answer.",
    section=DpoSection,
    section_name="dpo",
    section_title="DPO",
    shows=SFT.shows,
    columns=("instruction", "chosen", "rejected"),
    shapes=(Shape.PAIRS,),
    job_type=JobType.DPO,
    needs=(Need.REFERENCE_MODEL,),
    phases=(Phase("training", "Training"), Phase("evaluation", "Held-out pairs", "evaluation.holdout_fraction")),
    metrics=(
        "loss",
        *ACCURACY,
        "reward_margin",
        "reward_chosen",
        "reward_rejected",
        "logps_chosen",
        "logps_rejected",
        "token_accuracy",
        "entropy",
        "epoch",
        "grad_norm",
        "learning_rate",
        "step_time",
        "samples",
    ),
    rows_a_step=rows_a_step,
    rates=PAIRS,
    suggest=suggest,
    plans=plans,
    variant=variant,
    facts=facts,
    tags=("dpo",),
)
