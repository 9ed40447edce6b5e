"""Supervised fine-tuning with TRL: cross-entropy on the answer's tokens, with the guarantees of all jobs.

The rows are tokenized by the functions that the preview and the warm-up use (:mod:`core.training.methods.sft_rows`), so
TRL's own dataset preparation is not needed. With packing, a row of the trainer's dataset is a sequence with several of
ours (:mod:`core.training.methods.packing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from trl import SFTConfig, SFTTrainer

from core.config import RunConfig
from core.errors import InvalidInput
from core.methods.sft import SftSection
from core.model import Device
from core.training.arguments import known_to, trainer_arguments
from core.training.evaluation.held_out import Measure
from core.training.evaluation.row_losses import RowLosses
from core.training.methods import weighted_loss
from core.training.methods.loop import WEIGHTS, Batch, Example, row_losses
from core.training.methods.packing import PackCollator, check, columns, packs
from core.training.methods.sft_rows import TrainingRows, training_rows
from core.training.methods.training_job import TrainingJob
from core.training.methods.trl import JobTrainer


class Trainer(JobTrainer, SFTTrainer):
    """TRL's trainer for rows that are already tokenized."""

    title = "Training (SFT)"
    _tokens, _rows = 0, 0
    """Of the step in progress."""

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """Count what a micro-batch contains. TRL's own count includes the padding of packed rows."""
        tokens, rows = contents(inputs)
        self._tokens += tokens
        self._rows += rows
        loss: Tensor = super().training_step(model, inputs, *args, **kwargs)
        return loss

    def row(self, step: int, logs: Mapping[str, Any]) -> dict[str, Any]:
        """TRL's metrics, and how much the step took."""
        tokens, rows = self._tokens, self._rows
        self._tokens, self._rows = 0, 0
        speed = tokens / logs["step_time"]
        return {**super().row(step, logs), "tokens": tokens, "tokens_per_second": speed, "rows": rows}


class WeightedTrainer(weighted_loss.WeightedLoss, Trainer):
    """The same for tokens with weights."""


def train(job: TrainingJob) -> None:
    """Run SFT, and measure the held-out loss before, during and after it.

    Raises:
        Stopped: A stop was requested; a resume continues from there.
    """
    evaluation = job.evaluation(held_out_loss(job))
    rows = training_rows(job.data.train, job.config, job.loaded.tokenizer)
    rows.note(job.status, job.config)
    folder, kind = job.run.checkpoints, WeightedTrainer if rows.are_weighted else Trainer
    trainer = kind(
        job,
        evaluation,
        model=job.loaded.model,
        args=SFTConfig(**sft_arguments(job.config, job.device, folder, weighted=rows.are_weighted)),
        processing_class=job.loaded.tokenizer,
        **sequences(job, rows),
    )
    if job.resume is None:
        evaluation.once("before", 0)
    job.stop_between_phases()
    evaluation.once("end", trainer.run())


def sequences(job: TrainingJob, rows: TrainingRows) -> dict[str, Any]:
    """The trainer's data: packed, with weights, or plain.

    Raises:
        InvalidInput: The rows cannot be packed.
    """
    if not job.config.own(SftSection).packing:
        return with_weights(job, rows.examples) if rows.are_weighted else unpacked(rows.examples)
    if rows.are_weighted:
        raise InvalidInput(
            "Rows whose messages have weights other than 0 and 1 cannot be packed. Turn packing off, or train on "
            "something else than weights.",
            field="sft.packing",
        )
    return packed(job, rows.examples)


def unpacked(rows: list[Example]) -> dict[str, Any]:
    """The trainer's data with a row per sequence."""
    return {"train_dataset": Dataset.from_list([{"input_ids": one.ids, "labels": one.labels} for one in rows])}


def with_weights(job: TrainingJob, rows: list[Example]) -> dict[str, Any]:
    """The trainer's data with a weight for each token."""
    return {
        "train_dataset": Dataset.from_list([weighted_loss.columns(one) for one in rows]),
        "data_collator": weighted_loss.Collator(int(job.loaded.tokenizer.pad_token_id)),
    }


def packed(job: TrainingJob, rows: list[Example]) -> dict[str, Any]:
    """The trainer's data with several rows per sequence.

    Raises:
        InvalidInput: The model mixes packed rows.
    """
    check(job.loaded.model, rows)
    training = job.config.training
    found = packs(rows, training.max_sequence_length, training.seed)
    share = sum(len(one.ids) for one in rows) / (len(found) * training.max_sequence_length)
    job.status.note(
        f"Packing: {len(rows)} rows in {len(found)} sequences, {share:.0%} full. A step takes "
        f"{training.batch_size * training.gradient_accumulation_steps} sequences."
    )
    return {
        "train_dataset": Dataset.from_list([columns(one) for one in found]),
        "data_collator": PackCollator(int(job.loaded.tokenizer.pad_token_id)),
    }


def contents(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens without padding, and rows, of a batch: padded rows, or packed ones without a mask.

    Packed rows have at least two tokens; one alone would count as padding.
    """
    if "attention_mask" in inputs:
        return int(inputs["attention_mask"].sum()), len(inputs["attention_mask"])
    starts = inputs["position_ids"] == 0
    # A padding token is at position 0, like a row's first one, and is followed by another one or by nothing.
    alone = starts & torch.nn.functional.pad(starts[:, 1:], (0, 1), value=True)
    return int((~alone).sum()), int((starts & ~alone).sum())


def sft_arguments(config: RunConfig, device: Device, folder: Path, *, weighted: bool = False) -> dict[str, Any]:
    """Keyword arguments of ``trl.SFTConfig``; the parameters are those of :func:`trainer_arguments`.

    Args:
        weighted: Whether tokens have weights, so that the loss is computed from the logits of all tokens.

    Raises:
        Unavailable: The installed TRL has no argument of a name that the configuration needs.
    """
    section = config.own(SftSection)
    wanted = {
        **trainer_arguments(config, device, folder),
        "loss_type": section.loss_type if weighted else _loss_type(config),
        "neftune_noise_alpha": section.neftune_noise_alpha,
        "max_length": config.training.max_sequence_length,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        **({"remove_unused_columns": False} if weighted else {}),
    }
    return known_to(SFTConfig, wanted)


def _loss_type(config: RunConfig) -> str:
    # The chunked cross-entropy computes logits only for the answer's tokens, which saves time and memory. It reads the
    # output layer's own weights, so it is unavailable if that layer has an adapter.
    chosen, model = config.own(SftSection).loss_type, config.model
    on_output = model.layers == "custom" and "lm_head" in model.target_modules
    return "chunked_nll" if chosen == "nll" and not on_output else chosen


def answer_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy as the trained model computes it.

    TRL replaces the model's ``forward`` with one that computes only the logits it needs and expects the labels of the
    whole row: the ``logits_to_keep`` of :func:`core.training.methods.loop.cross_entropy` would be ignored.
    """
    if WEIGHTS in batch.values:
        return weighted_loss.weighted_loss(model, batch)
    loss: Tensor = model(input_ids=batch.ids, attention_mask=batch.mask, labels=batch.labels).loss
    return loss


def held_out_loss(job: TrainingJob) -> Measure:
    """The mean cross-entropy over the trained tokens of the held-out rows, in nats, and its change."""
    found = training_rows(job.held_out, job.config, job.loaded.tokenizer)
    known = RowLosses(job.run, job.config.training.seed)
    found.require(min(1, len(job.held_out)))
    rows, pad = found.examples, int(job.loaded.tokenizer.pad_token_id)

    def measure(when: str, step: int) -> bool:
        losses = row_losses(job.loaded.model, rows, pad=pad, loss=answer_loss)
        job.reporter.row("evaluation", step, {"when": when, **known.measured(when, step, losses)})
        return True

    return measure
