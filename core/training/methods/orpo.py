"""ORPO with TRL, on pairs that are already tokenized, with the guarantees of all jobs. It has no reference model.

It relies on these internals of TRL's ``experimental/orpo/orpo_trainer.py``: ``tokenize_row``, which is applied to every
row; the columns that it returns; ``get_batch_loss_metrics``, which computes loss and metrics and stores nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from core.config import RunConfig
from core.methods.orpo import OrpoSection
from core.model import Device
from core.training.arguments import known_to, trainer_arguments
from core.training.methods.held_out_pairs import HeldOutPairs
from core.training.methods.loop import IGNORED
from core.training.methods.pairs import Pair, distinct, pairs, training_pairs
from core.training.methods.training_job import TrainingJob
from core.training.methods.trl import JobTrainer

# Its interface may change in any release, which it would say in the log of every run. TRL is pinned.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
from trl.experimental.orpo import ORPOConfig, ORPOTrainer


class Trainer(JobTrainer, ORPOTrainer):
    """TRL's trainer for pairs that are already tokenized."""

    title = "Training (ORPO)"

    def batch(self, pairs: list[Pair]) -> Any:
        """Pairs as the loss takes them."""
        return self._prepare_inputs(self.data_collator([row_of(pair) for pair in pairs]))

    def measured(self, batch: Any) -> Mapping[str, Any]:
        """The loss and metrics of a batch."""
        loss, logs = self.get_batch_loss_metrics(self.model, batch)
        return {**logs, "loss": float(loss)}

    def tokenize_row(self, feature: Any, model: Any = None) -> Any:
        return feature


def train(job: TrainingJob) -> None:
    """Run ORPO, and measure the held-out pairs before, during and after it.

    Raises:
        Stopped: A stop was requested; a resume continues from there.
    """
    measure = HeldOutPairs(job, distinct(pairs(job.held_out, job), job.config, job.status))
    evaluation = job.evaluation(measure)
    trainer = measure.trainer = Trainer(
        job,
        evaluation,
        model=job.loaded.model,
        args=ORPOConfig(**orpo_arguments(job.config, job.device, job.run.checkpoints)),
        train_dataset=Dataset.from_list([row_of(pair) for pair in training_pairs(job)]),
        processing_class=job.loaded.tokenizer,
    )
    if job.resume is None:
        evaluation.once("before", 0)
    job.stop_between_phases()
    evaluation.once("end", trainer.run())


def row_of(pair: Pair) -> dict[str, list[int]]:
    """A pair as TRL's collator takes it. Unlike in DPO, each answer comes with the prompt in front."""
    prompt, row = pair.item.prompt_ids, dict[str, list[int]]()
    for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        row |= {
            f"{side}_input_ids": [*prompt, *answer],
            f"{side}_attention_mask": [1] * (len(prompt) + len(answer)),
            f"{side}_labels": [*[IGNORED] * len(prompt), *answer],
        }
    return row


def orpo_arguments(config: RunConfig, device: Device, folder: Path) -> dict[str, Any]:
    """Keyword arguments of TRL's ``ORPOConfig``; the parameters are those of :func:`trainer_arguments`.

    Raises:
        Unavailable: The installed TRL has no argument of a name that the configuration needs.
    """
    wanted = {
        **trainer_arguments(config, device, folder),
        "beta": config.own(OrpoSection).beta,
        "max_length": config.training.max_sequence_length,
        # Its collator takes the columns above, which are not arguments of the model.
        "remove_unused_columns": False,
    }
    return known_to(ORPOConfig, wanted)
