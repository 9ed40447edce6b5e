"""Cross-entropy in which tokens have weights: the sum of weight times loss, divided by the sum of the weights.

Weights are relative: multiplying all of them by a number changes nothing. TRL computes the loss inside of the model,
where tokens are learned or not, so this module computes it from the logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from core.training.methods.loop import IGNORED, WEIGHTS, Batch, Example


def weighted_sum(logits: Tensor, labels: Tensor, weights: Tensor, loss_type: str = "nll") -> Tensor:
    """The sum of weight times loss over the learned tokens, in nats.

    Args:
        logits: ``(rows, tokens, vocabulary)``.
        labels: ``(rows, tokens)``, at the tokens' own positions, ``IGNORED`` for those that are not learned.
        weights: ``(rows, tokens)``.
        loss_type: ``nll``, or ``dft``, where a token's loss is also multiplied by its probability.
    """
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), labels[:, 1:], ignore_index=IGNORED, reduction="none"
    )
    if loss_type == "dft":
        losses = losses * torch.exp(-losses.detach())
    return (losses * weights[:, 1:]).sum()


def weighted_loss(model: Any, batch: Batch) -> Tensor:
    """The weighted mean over a batch with weights, as in training with ``nll``."""
    logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    return weighted_sum(logits, batch.labels, batch.values[WEIGHTS]) / batch.learned


class WeightedLoss:
    """Mixin in front of an ``SFTTrainer`` whose rows have weights; see :func:`columns` and :class:`Collator`.

    The weights of a whole step are summed up first, so that the gradients do not depend on how its rows are split
    into batches. TRL's own loss is computed as well, because its metrics come with it.
    """

    _step_weight: Tensor

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        # The only hook that sees all batches of a step; transformers counts the learned tokens in it.
        self._step_weight = torch.stack([batch[WEIGHTS][:, 1:].sum() for batch in batch_samples]).sum()
        return super()._get_num_items_in_batch(batch_samples, device)  # type: ignore[misc]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted loss of a batch, as its share of the step's."""
        weights, labels = inputs.pop(WEIGHTS), inputs["labels"]
        _, outputs = super().compute_loss(  # type: ignore[misc]
            model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        found = weighted_sum(outputs.logits, labels, weights, self.args.loss_type)  # type: ignore[attr-defined]
        # Without a count, the trainer averages over the batches of a step.
        total = weights[:, 1:].sum() if num_items_in_batch is None else self._step_weight.to(found.device)
        loss = found / total
        return (loss, outputs) if return_outputs else loss


def columns(one: Example) -> dict[str, Any]:
    """An example as a row of the trainer's dataset."""
    return {"input_ids": one.ids, "labels": one.labels, WEIGHTS: one.values[WEIGHTS]}


class Collator(DataCollatorForLanguageModeling):
    """TRL's, with the weights: 0 on padding."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Pad the rows of a batch on the right."""
        found: dict[str, Any] = super().torch_call(examples)
        longest = found["labels"].shape[1]
        rows = [[*one[WEIGHTS], *[0.0] * (longest - len(one[WEIGHTS]))] for one in examples]
        return found | {WEIGHTS: torch.tensor(rows)}
