"""DPO with TRL, on pairs that are already tokenized, with the guarantees of all jobs.

The reference is the model as it was when the run started: TRL copies the adapter to a frozen one named ``ref``.
It relies on these internals of TRL's ``dpo_trainer.py``: ``_prepare_dataset``, which tokenizes; the columns of its
collator; ``_metrics``, which it fills with every loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from core.config import RunConfig
from core.methods.dpo import DpoSection
from core.model import Device
from core.training.arguments import known_to, trainer_arguments
from core.training.evaluation.outcomes import Outcomes, outcome
from core.training.methods.pairs import Pair, distinct, pairs, training_pairs
from core.training.methods.training_job import TrainingJob
from core.training.methods.trl import JobTrainer, renamed
from core.training.rollouts.generate import evaluating


class Trainer(JobTrainer, DPOTrainer):
    """TRL's trainer for pairs that are already tokenized."""

    title = "Training (DPO)"

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


def train(job: TrainingJob) -> None:
    """Run DPO, and measure the held-out pairs before, during and after it.

    Raises:
        Stopped: A stop was requested; a resume continues from there.
    """
    measure = HeldOutPairs(job, distinct(pairs(job.held_out, job), job.config, job.status))
    evaluation = job.evaluation(measure)
    trainer = measure.trainer = Trainer(
        job,
        evaluation,
        model=job.loaded.model,
        args=DPOConfig(**dpo_arguments(job.config, job.device, job.run.checkpoints)),
        train_dataset=Dataset.from_list([pair.row() for pair in training_pairs(job)]),
        processing_class=job.loaded.tokenizer,
    )
    if job.resume is None:
        evaluation.once("before", 0)
    job.stop_between_phases()
    evaluation.once("end", trainer.run())


def dpo_arguments(config: RunConfig, device: Device, folder: Path) -> dict[str, Any]:
    """Keyword arguments of ``trl.DPOConfig``; the parameters are those of :func:`trainer_arguments`.

    Raises:
        Unavailable: The installed TRL has no argument of a name that the configuration needs.
    """
    wanted = {
        **trainer_arguments(config, device, folder),
        "beta": config.own(DpoSection).beta,
        "max_length": config.training.max_sequence_length,
    }
    return known_to(DPOConfig, wanted)


class HeldOutPairs:
    """A measure: the trainer's own loss and rewards on the held-out pairs.

    Args:
        job: The run.
        pairs: The pairs, whose answers differ.

    Attributes:
        trainer: Set before the first measurement.
    """

    trainer: Any

    def __init__(self, job: TrainingJob, pairs: list[Pair]) -> None:
        self.job, self.pairs = job, pairs
        self.outcomes = Outcomes(job.run, job.config.training.seed)

    def __call__(self, when: str, step: int) -> bool:
        """Measure pair by pair, so that padding changes nothing, and report the means."""
        seen: list[dict[str, float]] = []
        trainer, model = self.trainer, self.job.loaded.model
        with evaluating(model), torch.no_grad():
            for pair in self.pairs:
                if self.job.status.stop_asked:
                    return False
                inputs = trainer._prepare_inputs(trainer.data_collator([pair.row()]))
                loss = float(trainer.compute_loss(model, inputs))
                logs = {name: values[-1] for name, values in trainer._metrics["eval"].items()}
                trainer._metrics["eval"].clear()
                seen.append({**renamed(logs), "loss": loss})
        values = {name: sum(one[name] for one in seen) / len(seen) for name in seen[0] if name in MEASURED}
        # A tie is neither right nor wrong: at the start, model and reference are the same.
        preferred = self.outcomes.measured(when, step, [outcome(one["reward_margin"]) for one in seen])
        row = {"when": when, **values, **preferred}
        self.job.reporter.row("evaluation", step, row)
        return True


MEASURED = {"loss", "reward_margin", "reward_chosen", "reward_rejected", "logps_chosen", "logps_rejected"}
"""Metrics of held-out pairs that are plain means."""
