"""KTO with TRL, on answers that are already tokenized, with the guarantees of all jobs.

The reference is the model as it was when the run started: TRL copies the adapter to a frozen one named ``ref``.

The order of the answers is ours. TRL keeps that of the dataset, because it stores with each answer one that belongs to
another question, the one before it in the batch, and estimates the drift from these. Here they are taken from the batch
when it is put together, so that every epoch may have an order of its own, in which both kinds are in every batch.

It relies on these internals of TRL's ``kto_trainer.py``: ``_prepare_dataset``, which tokenizes and stores the answers
of other questions; the columns of its collator; ``compute_ref_log_probs``; ``calculate_KL``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
from trl.trainer.utils import selective_log_softmax

from core.config import RunConfig
from core.methods.kto import KtoSection
from core.model import Device
from core.training.arguments import known_to, trainer_arguments
from core.training.evaluation.outcomes import Outcomes, outcome
from core.training.methods.answers import Answer, MixedOrder, held_out_answers, training_answers
from core.training.methods.training_job import TrainingJob
from core.training.methods.trl import EpochSampler, JobTrainer
from core.training.rollouts.generate import evaluating

KL_IDS = "KL_completion_ids"
"""TRL's column for the answer that belongs to another question."""


@dataclass
class Collator(DataCollatorForUnpairedPreference):
    """TRL's, which also gives each answer's question the answer before it in the batch."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """A padded batch."""
        before = [examples[-1], *examples[:-1]]
        batch: dict[str, Any] = super().torch_call(
            [{KL_IDS: other["completion_ids"], **one} for one, other in zip(examples, before, strict=True)]
        )
        return batch


class Trainer(JobTrainer, KTOTrainer):
    """TRL's trainer for rated answers that are already tokenized."""

    title = "Training (KTO)"

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> EpochSampler:
        order = MixedOrder(self.train_dataset["label"], self.args.per_device_train_batch_size)
        return EpochSampler(order, self.args.seed)

    def row(self, step: int, logs: Mapping[str, Any]) -> dict[str, Any]:
        """Without the drift where the loss does not estimate it: TRL logs 0."""
        found = super().row(step, logs)
        return found if self.calculate_KL else {name: value for name, value in found.items() if name != "kl"}


def train(job: TrainingJob) -> None:
    """Run KTO, and measure the held-out answers before, during and after it.

    Raises:
        Stopped: A stop was requested; a resume continues from there.
    """
    measure = HeldOutAnswers(job, held_out_answers(job))
    evaluation = job.evaluation(measure)
    arguments = KTOConfig(**kto_arguments(job.config, job.device, job.run.checkpoints))
    trainer = measure.trainer = Trainer(
        job,
        evaluation,
        model=job.loaded.model,
        args=arguments,
        data_collator=Collator(job.loaded.tokenizer.pad_token_id, max_length=arguments.max_length),
        train_dataset=Dataset.from_list([answer.row() for answer in training_answers(job)]),
        processing_class=job.loaded.tokenizer,
    )
    if job.resume is None:
        evaluation.once("before", 0)
    job.stop_between_phases()
    evaluation.once("end", trainer.run())


def kto_arguments(config: RunConfig, device: Device, folder: Path) -> dict[str, Any]:
    """Keyword arguments of ``trl.KTOConfig``; the parameters are those of :func:`trainer_arguments`.

    Raises:
        Unavailable: The installed TRL has no argument of a name that the configuration needs.
    """
    section = config.own(KtoSection)
    wanted = {
        **trainer_arguments(config, device, folder),
        "loss_type": section.loss_type,
        "beta": section.beta,
        "desirable_weight": section.desirable_weight,
        "undesirable_weight": section.undesirable_weight,
        "max_length": config.training.max_sequence_length,
    }
    return known_to(KTOConfig, wanted)


class HeldOutAnswers:
    """A measure: implicit rewards of the held-out answers, the drift, and the loss that follows from both.

    Args:
        job: The run.
        answers: The answers.

    Attributes:
        trainer: Set before the first measurement.
    """

    trainer: Any

    def __init__(self, job: TrainingJob, answers: list[Answer]) -> None:
        self.job, self.answers = job, answers
        self.outcomes = Outcomes(job.run, job.config.training.seed)

    def __call__(self, when: str, step: int) -> bool:
        """Measure answer by answer, so that padding changes nothing, and report the means."""
        before = [self.answers[-1], *self.answers[:-1]]
        seen: list[Measured] = []
        with evaluating(self.job.loaded.model), torch.no_grad():
            for answer, other in zip(self.answers, before, strict=True):
                if self.job.status.stop_asked:
                    return False
                seen.append(self._measured(answer, other))
        row = summed_up(seen, self.job.config.own(KtoSection))
        compared = comparisons(seen)
        preferred = self.outcomes.measured(when, step, compared) if compared else {"samples": 0}
        self.job.reporter.row("evaluation", step, {"when": when, **row, **preferred})
        return True

    def _measured(self, answer: Answer, other: Answer) -> Measured:
        trainer, model = self.trainer, self.job.loaded.model
        batch = trainer._prepare_inputs(trainer.data_collator([answer.row() | {KL_IDS: other.ids}]))
        start, start_other = trainer.compute_ref_log_probs(trainer.ref_model or model, batch)
        now = log_probability(model, batch)
        drift = float(log_probability(model, batch, "KL_") - start_other) if trainer.calculate_KL else None
        return Measured(answer, float(now), float(now - start), drift)


@dataclass(frozen=True)
class Measured:
    """One answer.

    Attributes:
        answer: The answer.
        logp: Its log-probability.
        change: The same minus that at the start.
        drift: The change of an answer to another question; None if the loss does not need it.
    """

    answer: Answer
    logp: float
    change: float
    drift: float | None


def log_probability(model: Any, batch: Mapping[str, Any], prefix: str = "") -> torch.Tensor:
    """Sums over the answers' tokens, computed like the reference's, so that equal models give equal numbers."""
    ids, mask = batch[f"{prefix}input_ids"], batch[f"{prefix}completion_mask"]
    logits = model(ids, attention_mask=batch[f"{prefix}attention_mask"]).logits[:, :-1]
    sums: torch.Tensor = selective_log_softmax(logits, ids[:, 1:], row_mask=mask[:, 1:]).sum(-1)
    return sums


def summed_up(seen: Sequence[Measured], section: KtoSection) -> dict[str, Any]:
    """The values of a row in ``metrics.jsonl``; those that need a kind of answer that is not there are left out."""
    drifts = [one.drift for one in seen if one.drift is not None]
    row: dict[str, Any] = {"kl": max(mean(drifts), 0.0)} if drifts else {}
    kl = torch.tensor(row.get("kl", 0.0))
    losses = []
    for one in seen:
        sign, weight = (1, section.desirable_weight) if one.answer.good else (-1, section.undesirable_weight)
        # Equation 7 of the KTO paper as in TRL: of both losses, APO-zero is the one without drift.
        losses.append(weight * float(1 - torch.sigmoid(sign * section.beta * (one.change - kl))))
    for kind, good in (("chosen", True), ("rejected", False)):
        if these := [one for one in seen if one.answer.good is good]:
            row[f"reward_{kind}"] = section.beta * mean([one.change for one in these])
            row[f"logps_{kind}"] = mean([one.logp for one in these])
    if {"reward_chosen", "reward_rejected"} <= row.keys():
        row["reward_margin"] = row["reward_chosen"] - row["reward_rejected"]
    return {"loss": mean(losses), **row}


def comparisons(seen: Sequence[Measured]) -> list[float]:
    """Whether the good answer has the higher reward, for every good answer with a bad one of its own.

    The answers of a pair are compared with each other. Single ratings are compared two by two, in their order: so no
    answer counts twice, and the exact interval of the share holds.
    """
    singles = ([one for one in seen if one.answer.alone and one.answer.good is good] for good in (True, False))
    pairs = [one for one in seen if not one.answer.alone]
    both = [*zip(pairs[::2], pairs[1::2], strict=True), *zip(*singles, strict=False)]
    return [outcome(good.change - bad.change) for good, bad in both]


def mean(values: Sequence[float]) -> float:
    """The plain mean."""
    return sum(values) / len(values)
