"""Reward models: the model learns to score answers, so that better ones score higher than worse ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from core.dataset import Shape
from core.learning_rate import SCORES
from core.methods.by_rows import ACCURACY, plans_by_passes, rows_a_step, suggested
from core.methods.method import JobType, Method, Phase
from core.methods.sft import SFT
from core.metric import Chart
from core.metric import Section as Place
from core.section import Section

if TYPE_CHECKING:
    from core.config import RunConfig


# fmt: off
class RewardModelSection(Section):
    """What reward models alone have."""

    center_rewards_coefficient: float | None = Field(None, gt=0, le=10, title="Center scores", description="Pulls the scores towards 0, so that they do not drift. 0.01 is usual. Leave empty to turn it off.")
    margin_field: str = Field("", max_length=200, title="Margin column", description="Column with a number that says how much better the better answer is. The scores must then differ by at least as much. Leave empty if you have none.")
    model_seed: int | None = Field(None, ge=0, le=2**31 - 1, title="Model seed", description="Seed of the new weights and of the order of the rows, if it should differ from the run's. Which rows are held out stays the same, so that two runs can be compared.")
    report_pairs: int = Field(200, ge=1, le=10_000, title="Pairs in the report", description="How many held-out pairs the report at the end scores. Each is scored in six versions, so more takes longer.")
# fmt: on


def suggest(source: str, on_gpu: bool) -> dict[str, dict[str, Any]]:
    """Sections that suit a dataset's source and this machine."""
    return suggested("reward_model", on_gpu, gpu_batch=4, learning_rate=2e-4)


def variant(section: Mapping[str, Any]) -> str:
    """One name, whatever its settings."""
    return "Reward model"


def facts(config: RunConfig) -> Sequence[tuple[str, Any]]:
    """For the model card."""
    section = config.own(RewardModelSection)
    centered = section.center_rewards_coefficient
    return (
        ("Loss", "Bradley-Terry"),
        *((("Centering coefficient", centered),) if centered is not None else ()),
        *((("Margin column", section.margin_field),) if section.margin_field else ()),
    )


def model_seed(config: RunConfig) -> int:
    """The section's own seed if it has one, else the run's."""
    own = config.own(RewardModelSection).model_seed
    return config.training.seed if own is None else own


REWARD_MODEL = Method(
    key="reward_model",
    title="Training a reward model",
    term="Reward model",
    sentence="The model learns to score answers, so that better ones score higher than worse ones (Bradley–Terry).",
    given="Pairs of a better and a worse answer",
    when="The result is a model that scores answers, as a reward for other runs.",
    head="score",
    model_seed=model_seed,
    section=RewardModelSection,
    section_name="reward_model",
    section_title="Reward model",
    shows=SFT.shows,
    columns=("instruction", "chosen", "rejected"),
    shapes=(Shape.PAIRS,),
    job_type=JobType.RLHF,
    needs=(),
    phases=(Phase("training", "Training"), Phase("evaluation", "Held-out pairs", "evaluation.holdout_fraction")),
    metrics=(
        "loss",
        *ACCURACY,
        "reward_margin",
        "reward_chosen",
        "reward_rejected",
        "epoch",
        "grad_norm",
        "learning_rate",
        "step_time",
        "samples",
    ),
    rows_a_step=rows_a_step,
    rates=SCORES,
    suggest=suggest,
    plans=plans_by_passes(suggest),
    variant=variant,
    facts=facts,
    tags=("reward-trainer",),
    reads={
        "loss": {
            "text": "How surprised the model is by which answer is the better one (Bradley–Terry, in nats). "
            "0.69 is chance: both answers score the same.",
        },
        "preference_accuracy": {
            "plain": "Pairs in which the better answer scores higher",
            "text": "The share of pairs in which the better answer scores higher than the worse one. A tie counts as "
            "half on held-out pairs, so a model that has learned nothing is at 50%.",
        },
        "reward_margin": {
            "term": "score margin",
            "plain": "How much higher the better answer scores",
            "text": "The score of the better answer minus that of the worse one, on average. Each point of difference "
            "multiplies the odds that the better one wins by 2.7.",
        },
        "reward_chosen": {
            "term": "score of better answers",
            "plain": "Mean score of the better answers",
            "text": "Only differences between scores have a meaning; the level is arbitrary.",
            "chart": Chart(Place.LEARNING, "The lines should part, better answers above worse ones."),
        },
        "reward_rejected": {"term": "score of worse answers", "plain": "Mean score of the worse answers"},
    },
)
