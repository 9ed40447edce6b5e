"""DPO with TRL, on pairs that are already tokenized, with the guarantees of all jobs.

The reference is the model as it was when the run started, also after a resume; see :func:`reference_of`.

It relies on these internals of TRL's ``dpo_trainer.py``: ``_prepare_dataset``, which tokenizes; the columns of its
collator; the adapter ``ref``, which it adds as a copy, and that it switches the adapter off if there is none;
``_compute_loss``, which appends one number per batch to the lists in ``_metrics``.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft.tuners.lora import LoraLayer
from trl import DPOConfig, DPOTrainer

from core.config import RunConfig
from core.methods.dpo import DpoSection
from core.model import Device
from core.training.arguments import known_to, trainer_arguments
from core.training.evaluation.held_out import Evaluation
from core.training.methods.held_out_pairs import HeldOutPairs
from core.training.methods.pairs import Pair, distinct, pairs, training_pairs
from core.training.methods.training_job import TrainingJob
from core.training.methods.trl import JobTrainer

TRAINED, REFERENCE = "default", "ref"
"""Names of the adapter that is trained, and of TRL's copy of it."""


class Trainer(JobTrainer, DPOTrainer):
    """TRL's trainer for pairs that are already tokenized."""

    title = "Training (DPO)"

    def __init__(self, job: TrainingJob, evaluation: Evaluation, **kwargs: Any) -> None:
        model = job.loaded.model
        unchanged = changes_nothing(model)
        super().__init__(job, evaluation, model=model, ref_model=reference_of(model), **kwargs)
        if unchanged:
            model.delete_adapter(REFERENCE)

    def batch(self, pairs: list[Pair]) -> Any:
        """Pairs as the loss takes them."""
        return self._prepare_inputs(self.data_collator([row_of(pair) for pair in pairs]))

    def measured(self, batch: Any) -> Mapping[str, Any]:
        """The loss and metrics of a batch, with the model in evaluation mode."""
        loss = float(self.compute_loss(self.model, batch))
        logs = {name: values[-1] for name, values in self._metrics["eval"].items()}
        self._metrics["eval"].clear()
        return {**logs, "loss": loss}

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Any:
        # TRL counts a tie as wrong. In the first step, model and reference are the same and every pair is a tie.
        result = super()._compute_loss(model, inputs, return_outputs)
        seen = self._metrics["train" if self.model.training else "eval"]
        if seen["rewards/chosen"][-1] == 0 and seen["rewards/rejected"][-1] == 0:
            seen["rewards/accuracies"][-1] = 0.5
        return result


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
        args=DPOConfig(**dpo_arguments(job.config, job.device, job.run.checkpoints)),
        train_dataset=Dataset.from_list([row_of(pair) for pair in training_pairs(job)]),
        processing_class=job.loaded.tokenizer,
    )
    if job.resume is None:
        evaluation.once("before", 0)
    job.stop_between_phases()
    evaluation.once("end", trainer.run())


def row_of(pair: Pair) -> dict[str, list[int]]:
    """A pair as TRL's collator takes it."""
    return {"prompt_ids": pair.item.prompt_ids, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected}


def reference_of(model: Any) -> Any:
    """The reference for a model whose every weight is trained: a frozen copy. None for one with an adapter.

    Must be called before a checkpoint is loaded. With an adapter, TRL makes a frozen copy of the adapter, or switches
    it off. Without this copy, TRL would load the model from where its configuration says that it came from, in float32.
    """
    return None if hasattr(model, "peft_config") else deepcopy(model).requires_grad_(False)


def changes_nothing(model: Any) -> bool:
    """Whether the model's adapter is fresh: one of the two matrices of each layer is zero.

    The reference then is the model without it, to the last digit, and switching it off takes less time and memory than
    computing with a copy. False without an adapter, and for DoRA, which also has magnitudes.
    """
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    return bool(layers) and all(_adds_zero(layer) for layer in layers)


def _adds_zero(layer: Any) -> bool:
    if TRAINED in layer.lora_magnitude_vector:
        return False
    sides = [side[TRAINED].weight for side in (layer.lora_A, layer.lora_B) if TRAINED in side]
    tables = [side[TRAINED] for side in (layer.lora_embedding_A, layer.lora_embedding_B) if TRAINED in side]
    return any(not bool(weight.any()) for weight in (*sides, *tables))


def dpo_arguments(config: RunConfig, device: Device, folder: Path) -> dict[str, Any]:
    """Keyword arguments of ``trl.DPOConfig``; the parameters are those of :func:`trainer_arguments`.

    Raises:
        Unavailable: The installed TRL has no argument of a name that the configuration needs.
    """
    section = config.own(DpoSection)
    added = section.sft_weight > 0 and section.loss_type != "sft"
    wanted = {
        **trainer_arguments(config, device, folder),
        "loss_type": [section.loss_type, *(["sft"] if added else [])],
        "loss_weights": [1.0, *([section.sft_weight] if added else [])],
        "beta": section.beta,
        "label_smoothing": section.label_smoothing,
        "ld_alpha": section.ld_alpha,
        "max_length": config.training.max_sequence_length,
    }
    return known_to(DPOConfig, wanted)
