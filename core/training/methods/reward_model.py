"""Reward models with TRL (Bradley–Terry), on pairs that are already tokenized, with the guarantees of all jobs.

It relies on these internals of TRL's ``reward_trainer.py``: ``_prepare_dataset``, which tokenizes; the columns of its
collator; the loss of ``compute_loss``, which :meth:`HeldOutPairs.loss` repeats for single pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log1p
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from core.config import RunConfig
from core.data import prompts
from core.errors import InvalidInput
from core.methods.reward_model import RewardModelSection
from core.model import Device
from core.training.arguments import known_to, trainer_arguments
from core.training.evaluation.outcomes import Outcomes, outcome
from core.training.job import weights
from core.training.method_rows import Item
from core.training.methods.score_report import write_report
from core.training.methods.training_job import TrainingJob
from core.training.methods.trl import JobTrainer
from core.training.models.score import scores, shortened, text_ids


class Trainer(JobTrainer, RewardTrainer):
    """TRL's trainer, whose rows name both sides of a pair."""

    title = "Training (reward model)"

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def row(self, step: int, logs: Mapping[str, Any]) -> dict[str, Any]:
        """TRL logs the mean of all scores and the mean difference, from which the means of both sides follow."""
        values = super().row(step, logs)
        mean, half = float(logs["mean_reward"]), float(logs["margin"]) / 2
        return values | {"reward_chosen": mean + half, "reward_rejected": mean - half}


@dataclass(frozen=True)
class ScoredPair:
    """One row.

    Attributes:
        item: The row with its prompt.
        chosen, rejected: Tokens of the conversation with the better or the worse answer, at most as many as the length
            limit allows: the start is dropped, because the score is read at the end.
        margin: By how much the scores must differ; 0 for none.
        cut: Whether the limit dropped the start of one of them.
    """

    item: Item
    chosen: list[int]
    rejected: list[int]
    margin: float
    cut: bool

    def row(self, *, margins: bool) -> dict[str, Any]:
        """As TRL's trainer takes tokenized pairs."""
        sides = {"chosen_ids": self.chosen, "rejected_ids": self.rejected}
        return {**sides, "margin": self.margin} if margins else sides


def train(job: TrainingJob) -> None:
    """Train the model, measure the held-out pairs before, during and after it, and write the report on its scores.

    Raises:
        Stopped: A stop was requested; a resume continues from there.
        InvalidInput: The margin column is missing, or no pair is left.
    """
    evaluation = job.evaluation(HeldOutPairs(job, pairs(job.held_out, job)))
    found = pairs(job.data.train, job)
    note_cut(job, found)
    margins = bool(job.config.own(RewardModelSection).margin_field)
    trainer = Trainer(
        job,
        evaluation,
        model=job.loaded.model,
        args=RewardConfig(**reward_arguments(job.config, job.device, job.run.checkpoints)),
        train_dataset=Dataset.from_list([pair.row(margins=margins) for pair in found]),
        processing_class=job.loaded.tokenizer,
    )
    if job.resume is None:
        evaluation.once("before", 0)
    job.stop_between_phases()
    step = trainer.run()
    evaluation.once("end", step)
    write_report(job, result_of(trainer, step))


def result_of(trainer: Trainer, last: int) -> int:
    """The step of the run's result: the best one if the run keeps that, and its weights are then in the model."""
    trainer.best.follow(trainer.processing_class)
    kept = trainer.best.published()
    if kept is None or kept.step == last:
        return last
    weights.load(trainer.job.loaded.model, trainer.job.run.checkpoints / f"checkpoint-{kept.step}")
    return kept.step


def reward_arguments(config: RunConfig, device: Device, folder: Path) -> dict[str, Any]:
    """Keyword arguments of ``trl.RewardConfig``; the parameters are those of :func:`trainer_arguments`.

    Raises:
        Unavailable: The installed TRL has no argument of a name that the configuration needs.
    """
    wanted = {
        **trainer_arguments(config, device, folder),
        "center_rewards_coefficient": config.own(RewardModelSection).center_rewards_coefficient,
        "max_length": config.training.max_sequence_length,
        # TRL switches every dropout off unless told otherwise, and LoRA's is a setting.
        "disable_dropout": not config.model.lora_dropout,
    }
    return known_to(RewardConfig, wanted)


def pairs(items: Sequence[Item], job: TrainingJob) -> list[ScoredPair]:
    """Every row as a pair of conversations.

    Raises:
        InvalidInput: A row has no margin where the configuration names a column for it.
    """
    return [_pair(item, job) for item in items]


def _pair(item: Item, job: TrainingJob) -> ScoredPair:
    most, tokenizer = job.config.training.max_sequence_length, job.loaded.tokenizer
    asked = prompts.conversation(item.row, job.config.dataset)
    chosen, rejected = (text_ids(asked, str(item.row[side]), tokenizer) for side in ("chosen", "rejected"))
    margin = margin_of(item, job.config.own(RewardModelSection).margin_field)
    cut = max(len(chosen), len(rejected)) > most
    return ScoredPair(item, shortened(chosen, most), shortened(rejected, most), margin, cut)


def margin_of(item: Item, column: str) -> float:
    """The row's margin; 0 if no column is named.

    Raises:
        InvalidInput: It is no finite number.
    """
    if not column:
        return 0.0
    try:
        margin = float(item.row.get(column, ""))
    except (TypeError, ValueError):
        margin = float("nan")
    if not isfinite(margin):
        raise InvalidInput(
            f"The margin column {column!r} of the row {str(item.row['instruction'])[:60]!r} has no number. Correct the "
            "row, or leave the column empty in the settings.",
            field="reward_model.margin_field",
        )
    return margin


def note_cut(job: TrainingJob, found: Sequence[ScoredPair]) -> None:
    """Note how many pairs the length limit shortened."""
    if cut := sum(pair.cut for pair in found):
        limit = job.config.training.max_sequence_length
        job.status.note(
            f"In {cut} of {len(found)} pairs the start of the conversation is cut off, because it exceeds the maximum "
            f"sequence length ({limit}). Raise it."
        )


class HeldOutPairs:
    """A measure: the scores of the held-out pairs, and the loss that training minimizes.

    Args:
        job: The run.
        found: The pairs.
    """

    def __init__(self, job: TrainingJob, found: list[ScoredPair]) -> None:
        self.job, self.pairs = job, found
        self.centering = job.config.own(RewardModelSection).center_rewards_coefficient or 0.0
        self.outcomes = Outcomes(job.run, job.config.training.seed)

    def __call__(self, when: str, step: int) -> bool:
        """Score pair by pair, so that padding hardly changes anything, and report the means."""
        seen: list[tuple[float, float]] = []
        for pair in self.pairs:
            if self.job.status.stop_asked:
                return False
            chosen, rejected = scores(self.job.loaded.model, [pair.chosen, pair.rejected], batch=1)
            seen.append((chosen, rejected))
        losses = [self.loss(pair, *both) for pair, both in zip(self.pairs, seen, strict=True)]
        means = [sum(side) / len(seen) for side in zip(*seen, strict=True)]
        row = {
            "when": when,
            "loss": sum(losses) / len(losses),
            "reward_margin": means[0] - means[1],
            "reward_chosen": means[0],
            "reward_rejected": means[1],
            **self.outcomes.measured(when, step, [outcome(chosen - rejected) for chosen, rejected in seen]),
        }
        self.job.reporter.row("evaluation", step, row)
        return True

    def loss(self, pair: ScoredPair, chosen: float, rejected: float) -> float:
        """What TRL's trainer computes for a batch of this one pair."""
        return negative_log_sigmoid(chosen - rejected - pair.margin) + self.centering * (chosen + rejected) ** 2


def negative_log_sigmoid(value: float) -> float:
    """Without overflow.

    >>> round(negative_log_sigmoid(0), 4), negative_log_sigmoid(-800), negative_log_sigmoid(800)
    (0.6931, 800.0, 0.0)
    """
    return max(0.0, -value) + log1p(exp(-abs(value)))
