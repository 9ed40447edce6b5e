"""A plain training loop for methods without a TRL trainer.

Two stateless functions do the work. They do not depend on runs, so a training API can call them as well
as a method::

    batches = micro_batches(examples, 4, pad=tokenizer.pad_token_id, device=model.device)
    loss = forward_backward(model, batches)
    norm = optimizer_step(optimizer, max_grad_norm=1.0)

:class:`Loop` counts the steps around them, and can be saved and restored between any two.

Not supported: packing, several devices, and mixed precision; the model computes in the dtype of its weights.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.training.rollouts.generate import evaluating

IGNORED = -100
"""Label of a token that is not learned, as in torch's cross-entropy and transformers."""
WEIGHTS = "loss_weights"
"""Name of the values with which means over learned tokens are weighted."""


@dataclass(frozen=True)
class Example:
    """One training row.

    Attributes:
        ids: Its tokens, prompt and answer.
        labels: For each token the same token if it is to be learned, else :data:`IGNORED`. They are not
            shifted: a token's label is at the token's own position.
        values: Other inputs of a loss function, by name: one number per token, such as advantages or
            the log-probabilities that the tokens were sampled with.
    """

    ids: list[int]
    labels: list[int]
    values: Mapping[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Rows processed together, padded on the right.

    Attributes:
        ids, mask, labels: ``(rows, tokens)`` int64; the mask is 0 and the label :data:`IGNORED` on padding.
        values: As in :class:`Example`, ``(rows, tokens)`` float32, 0 on padding.
        learned: Tokens that are learned, or the sum of their weights if the rows have :data:`WEIGHTS`. The first of a
            row never is: no token precedes it.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor
    values: Mapping[str, Tensor]
    learned: float

    @classmethod
    def of(cls, examples: Sequence[Example], *, pad: int, device: Any) -> Batch:
        """Pad some rows.

        Args:
            examples: At least one, all with values of the same names.
            pad: The token to pad with; any, because it is masked.
            device: The tensors' device.
        """
        longest = max(len(example.ids) for example in examples)

        def padded(rows: Sequence[Sequence[float]], fill: float, dtype: torch.dtype) -> Tensor:
            return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], dtype=dtype, device=device)

        return cls(
            ids=padded([example.ids for example in examples], pad, torch.int64),
            mask=padded([[1] * len(example.ids) for example in examples], 0, torch.int64),
            labels=padded([example.labels for example in examples], IGNORED, torch.int64),
            values={
                name: padded([example.values[name] for example in examples], 0.0, torch.float32)
                for name in examples[0].values
            },
            learned=sum(sum(_weights(example)[1:]) for example in examples),
        )


def _weights(example: Example) -> Sequence[float]:
    return example.values.get(WEIGHTS) or [int(label != IGNORED) for label in example.labels]


LossFunction = Callable[[Any, Batch], Tensor]
"""Runs the model on a batch and returns the mean loss over the learned tokens, a scalar."""


def cross_entropy(model: Any, batch: Batch) -> Tensor:
    """Next-token prediction, in nats per token: the loss of supervised fine-tuning and of pre-training."""
    # The model's own, because a patched model (Unsloth) computes it without holding all logits at once.
    # transformers shifts the labels by one and averages over those that are not IGNORED.
    keep = _last_tokens(batch)
    some = {"logits_to_keep": keep} if keep < batch.ids.shape[1] else {}
    loss: Tensor = model(input_ids=batch.ids, attention_mask=batch.mask, labels=batch.labels[:, -keep:], **some).loss
    return loss


def _last_tokens(batch: Batch) -> int:
    """Number of last tokens that need logits.

    A logit predicts the next token, so those before the first answer's last prompt token are unused. With a large
    vocabulary they take most of a step's memory and some of its time; loss and gradients are unchanged.
    """
    longest = batch.ids.shape[1]
    learned = (batch.labels != IGNORED).any(0).nonzero()
    return longest - max(int(learned[0]) - 1, 0) if len(learned) else 1


def log_probabilities(model: Any, batch: Batch) -> Tensor:
    """Log-probabilities for custom loss functions.

    Returns:
        ``(rows, tokens)``: the log-probability of each token given those before it, in nats at temperature 1;
        0 if it is not learned.
    """
    logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits[:, :-1].float()
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), batch.labels[:, 1:], ignore_index=IGNORED, reduction="none"
    )
    return torch.nn.functional.pad(-losses, (1, 0))


def micro_batches(examples: Sequence[Example], size: int, *, pad: int, device: Any) -> list[Batch]:
    """The rows of one step in batches of at most ``size`` that fit into memory; arguments as in :meth:`Batch.of`."""
    return [Batch.of(examples[start : start + size], pad=pad, device=device) for start in range(0, len(examples), size)]


def forward_backward(
    model: Any, batches: Sequence[Batch], loss: LossFunction = cross_entropy, *, learned: float | None = None
) -> float:
    """Add the gradients of a loss over some batches to the parameters' ``grad``.

    The batches run one after the other. Each is weighted by its share of the learned tokens, so the gradients
    do not depend on how a step's rows were split into batches. (The mean of the batches' means would: it weights a
    token of a short answer higher.)

    Args:
        model: In training mode, to use dropout.
        batches: From :func:`micro_batches`.
        loss: The loss function.
        learned: Learned tokens of the whole step, if its batches come in several calls. The losses that the
            calls return then add up to that of the step.

    Returns:
        The mean of the loss over the learned tokens.
    """
    learned = sum(batch.learned for batch in batches) if learned is None else learned
    total = 0.0
    for batch in batches:
        if batch.learned:  # The mean over no tokens is NaN, and its gradient would corrupt the others.
            part = loss(model, batch) * (batch.learned / learned)
            part.backward()
            total += part.item()
    return total


def mean_loss(model: Any, batches: Sequence[Batch], loss: LossFunction = cross_entropy) -> float:
    """The mean of a loss over the learned tokens of some batches, without dropout and without gradients."""
    learned = sum(batch.learned for batch in batches)
    with evaluating(model), torch.no_grad():
        means = [(float(loss(model, batch)), batch.learned) for batch in batches if batch.learned]
    return sum(mean * (count / learned) for mean, count in means)


def row_losses(
    model: Any, examples: Sequence[Example], *, pad: int, loss: LossFunction = cross_entropy
) -> list[tuple[float, float]]:
    """Each row's sum of a loss over its learned tokens, and their number or weight; without dropout and gradients.

    One row at a time, because a loss function returns the mean over a whole batch. Rows of different lengths then
    need no padding either.
    """
    found = []
    with evaluating(model), torch.no_grad():
        for example in examples:
            batch = Batch.of([example], pad=pad, device=model.device)
            mean = float(loss(model, batch)) if batch.learned else 0.0
            found.append((mean * batch.learned, batch.learned))
    return found


def optimizer_step(optimizer: Any, *, max_grad_norm: float = math.inf, scheduler: Any = None) -> float:
    """Update the parameters with the accumulated gradients, and clear these.

    Args:
        optimizer: One of torch's.
        max_grad_norm: Gradients with a larger norm over all parameters are scaled down to it.
        scheduler: One of torch's, which changes the learning rate after each step; None leaves it constant.

    Returns:
        The gradient norm before clipping.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    optimizer.step()
    if scheduler is not None:
        scheduler.step()
    optimizer.zero_grad()
    return float(norm)


def rows_of_step(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """The rows of a step. Each epoch's order depends only on seed and epoch, so that resume is exact.

    Args:
        count: Number of rows.
        batch_size: Rows per step; an epoch's last step may have fewer.
        step: The step, counted from 0.
        seed: The run's.

    >>> [sorted(rows_of_step(3, 2, 0, 7) + rows_of_step(3, 2, 1, 7)), len(rows_of_step(3, 2, 1, 7))]
    [[0, 1, 2], 1]
    """
    epoch, place = divmod(step, math.ceil(count / batch_size))
    order = list(range(count))
    random.Random(f"{seed}-{epoch}").shuffle(order)  # noqa: S311  # an order, not a secret
    return order[place * batch_size : (place + 1) * batch_size]


class Loop:
    """Counted optimizer steps, with all state for a resume except the model's weights.

    Args:
        model: The model to train.
        optimizer: Optimizes the trained parameters.
        max_grad_norm, scheduler: As in :func:`optimizer_step`.

    Attributes:
        step: Completed steps.
    """

    def __init__(self, model: Any, optimizer: Any, *, max_grad_norm: float = math.inf, scheduler: Any = None) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.max_grad_norm = max_grad_norm
        self.step = 0

    def one_step(self, batches: Sequence[Batch], loss: LossFunction = cross_entropy) -> dict[str, float]:
        """One optimizer step on its micro-batches; returns ``loss``, ``learning_rate`` and ``grad_norm``."""
        value = forward_backward(self.model, batches, loss)
        rate = float(self.optimizer.param_groups[0]["lr"])  # This step's rate: the scheduler sets the next one's.
        norm = optimizer_step(self.optimizer, max_grad_norm=self.max_grad_norm, scheduler=self.scheduler)
        self.step += 1
        return {"loss": value, "learning_rate": rate, "grad_norm": norm}

    def save(self, folder: Path) -> None:
        """Save optimizer, schedule, random states and step to a checkpoint, beside the weights."""
        torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
        if self.scheduler is not None:
            torch.save(self.scheduler.state_dict(), folder / "scheduler.pt")
        # Dropout uses these; the order of the rows is a function of seed and epoch.
        torch.save({"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}, folder / "random.pt")
        (folder / "progress.json").write_text(json.dumps({"step": self.step}))

    def restore(self, folder: Path) -> None:
        """Restore what :meth:`save` wrote. The weights must already be the checkpoint's."""
        self.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))
        if self.scheduler is not None:
            self.scheduler.load_state_dict(torch.load(folder / "scheduler.pt", weights_only=True))
        states = torch.load(folder / "random.pt", weights_only=True)
        torch.set_rng_state(states["torch"])
        torch.cuda.set_rng_state_all(states.get("cuda", []))  # Older checkpoints lack it.
        self.step = int(json.loads((folder / "progress.json").read_text())["step"])
