"""Supervised fine-tuning with TRL: cross-entropy on the answer's tokens, with the guarantees of all jobs.

The rows are tokenized here, by the functions that the preview and the warm-up use, so TRL's own dataset preparation
is not needed. Not supported: packing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from torch import Tensor
from trl import SFTConfig, SFTTrainer

from core.config import RunConfig
from core.methods.sft import SftSection
from core.model import Device
from core.training.arguments import known_to, trainer_arguments
from core.training.evaluation.held_out import Measure
from core.training.method_rows import Item, encode
from core.training.methods.examples import end_of_turn, reference_examples
from core.training.methods.loop import Batch, Example, mean_loss, micro_batches
from core.training.methods.training_job import TrainingJob
from core.training.methods.trl import JobTrainer


class Trainer(JobTrainer, SFTTrainer):
    """TRL's trainer for rows that are already tokenized."""

    title = "Training (SFT)"


def train(job: TrainingJob) -> None:
    """Run SFT, and measure the held-out loss before, during and after it.

    Raises:
        Stopped: A stop was requested; a resume continues from there.
    """
    evaluation = job.evaluation(held_out_loss(job))
    rows = examples(job, job.data.train)
    note_cut(job, rows)
    trainer = Trainer(
        job,
        evaluation,
        model=job.loaded.model,
        args=SFTConfig(**sft_arguments(job.config, job.device, job.run.checkpoints)),
        train_dataset=Dataset.from_list([{"input_ids": one.ids, "labels": one.labels} for one in rows]),
        processing_class=job.loaded.tokenizer,
    )
    if job.resume is None:
        evaluation.once("before", 0)
    job.stop_between_phases()
    evaluation.once("end", trainer.run())


def sft_arguments(config: RunConfig, device: Device, folder: Path) -> dict[str, Any]:
    """Keyword arguments of ``trl.SFTConfig``; the parameters are those of :func:`trainer_arguments`.

    Raises:
        Unavailable: The installed TRL has no argument of a name that the configuration needs.
    """
    section = config.own(SftSection)
    wanted = {
        **trainer_arguments(config, device, folder),
        "loss_type": _loss_type(config),
        "neftune_noise_alpha": section.neftune_noise_alpha,
        "max_length": config.training.max_sequence_length,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    return known_to(SFTConfig, wanted)


def _loss_type(config: RunConfig) -> str:
    # The chunked cross-entropy computes logits only for the answer's tokens, which saves time and memory. It reads the
    # output layer's own weights, so it is unavailable if that layer has an adapter.
    chosen, model = config.own(SftSection).loss_type, config.model
    on_output = model.layers == "custom" and "lm_head" in model.target_modules
    return "chunked_nll" if chosen == "nll" and not on_output else chosen


def note_cut(job: TrainingJob, rows: list[Example]) -> None:
    """Note how many answers are truncated by the length limit, so they lack the end-of-turn token."""
    tokenizer = job.loaded.tokenizer
    end = encode(end_of_turn(tokenizer), tokenizer)[-1]
    if cut := sum(one.ids[-1] != end for one in rows):
        limit = job.config.training.max_sequence_length
        job.status.note(
            f"{cut} of {len(rows)} answers are cut off at the maximum sequence length ({limit}), so the model does "
            "not learn how they end. Raise it."
        )


def examples(job: TrainingJob, items: list[Item]) -> list[Example]:
    """Prompts and reference answers in tokens; longer ones are truncated at the end."""
    length = job.config.training.max_sequence_length
    return reference_examples(items, job.config, job.loaded.tokenizer, max_length=length)


def answer_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy as the trained model computes it.

    TRL replaces the model's ``forward`` with one that computes only the logits it needs and expects the labels of the
    whole row: the ``logits_to_keep`` of :func:`core.training.methods.loop.cross_entropy` would be ignored.
    """
    loss: Tensor = model(input_ids=batch.ids, attention_mask=batch.mask, labels=batch.labels).loss
    return loss


def held_out_loss(job: TrainingJob) -> Measure:
    """The mean cross-entropy over the answers' tokens of the held-out rows, in nats."""
    rows, tokenizer = examples(job, job.held_out), job.loaded.tokenizer

    def measure(when: str, step: int) -> bool:
        size = job.config.training.batch_size
        batches = micro_batches(rows, size, pad=int(tokenizer.pad_token_id), device=job.loaded.model.device)
        loss = mean_loss(job.loaded.model, batches, answer_loss)
        job.reporter.row("evaluation", step, {"when": when, "loss": loss, "samples": len(rows)})
        return True

    return measure
