"""KL divergence between two models' next-token probabilities at the tokens of given answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

RESAMPLES = 2000
ROWS = 32
"""Positions compared at once: a dozen arrays of this size times the vocabulary are in memory."""
LOGITS = 256
"""Positions whose logits are in memory at once."""


@dataclass(frozen=True)
class Closeness:
    """An export compared with the trained model and the base, over the same positions.

    Attributes:
        positions: Their number.
        top1_agreement: Share at which trained and exported model have the same most likely token.
        mean_kl: Mean KL(trained ‖ exported), nats per token.
        base_kl: Mean KL(base ‖ exported).
        adapter_kl: Mean KL(trained ‖ base).
        kept: The share of the training's change in the export: 1 if the adapter was applied once, 0 if it is missing,
            2 if it was applied twice. It is the slope of (exported - base) on (trained - base), both as
            log-probabilities, weighted by probability. Rounding errors of weights go in all directions and leaves it
            near 1. None if the training changed nothing.
        kept_low, kept_high: Its 95% bootstrap interval over answers.
    """

    positions: int
    top1_agreement: float
    mean_kl: float
    base_kl: float
    adapter_kl: float
    kept: float | None
    kept_low: float | None
    kept_high: float | None


def compare(trained: Path, base: Path, exported: Path, lengths: Sequence[int]) -> Closeness:
    """Read three files of float16 log-probabilities, ``(positions, words)``, answer by answer.

    Args:
        trained, base, exported: ``.npy``. If an export has fewer or more tokens (padding of the vocabulary differs),
            the shared ones are compared.
        lengths: Positions of each answer, in order.
    """
    files = [np.load(path, mmap_mode="r") for path in (trained, base, exported)]
    words = min(file.shape[1] for file in files)
    sums = np.zeros((len(lengths), 6))
    start = 0
    for place, length in enumerate(lengths):
        for first in range(start, start + length, ROWS):
            rows = [_normal(file[first : min(first + ROWS, start + length), :words]) for file in files]
            sums[place] += _sums(*rows)
        start += length
    same, kl, base_kl, adapter_kl, _, change = sums.sum(axis=0)
    kept, low, high = _ratio(sums[:, 4], sums[:, 5]) if change > 1e-9 * start else (None, None, None)
    return Closeness(
        positions=start,
        top1_agreement=float(same / start),
        mean_kl=max(0.0, float(kl / start)),
        base_kl=max(0.0, float(base_kl / start)),
        adapter_kl=max(0.0, float(adapter_kl / start)),
        kept=kept,
        kept_low=low,
        kept_high=high,
    )


def _normal(rows: Any) -> torch.Tensor:
    # Rounding to 16 bit makes the sum of the probabilities deviate from 1.
    return torch.from_numpy(np.array(rows, dtype=np.float32)).log_softmax(dim=-1)


def _sums(trained: torch.Tensor, base: torch.Tensor, exported: torch.Tensor) -> tuple[float, ...]:
    """For one answer: equal top tokens, the three divergences, and the two sums of the slope."""
    p, b = trained.exp(), base.exp()
    weight = (p + b) / 2
    change, moved = _centred(trained - base, weight), _centred(exported - base, weight)
    return (
        float((trained.argmax(-1) == exported.argmax(-1)).sum()),
        float((p * (trained - exported)).sum()),
        float((b * (base - exported)).sum()),
        float((p * (trained - base)).sum()),
        float((weight * change * moved).sum()),
        float((weight * change * change).sum()),
    )


def _centred(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rows - (rows * weight).sum(dim=-1, keepdim=True)


def _ratio(above: Any, below: Any) -> tuple[float, float, float]:
    """Ratio of two sums over answers, with its bootstrap interval."""
    draws = np.random.default_rng(0).integers(0, len(above), (RESAMPLES, len(above)))
    ratios = above[draws].sum(axis=1) / np.maximum(below[draws].sum(axis=1), 1e-30)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(above.sum() / below.sum()), float(low), float(high)


def measure(
    model: Any,
    pairs: Sequence[tuple[list[int], list[int]]],
    out: Path,
    *,
    stop: Callable[[], None],
    forward: Callable[..., Any] | None = None,
) -> None:
    """Write a transformers model's log-probabilities before every answer token, as :func:`compare` reads them.

    Args:
        model: A causal language model.
        pairs: (prompt tokens, answer tokens).
        out: A ``.npy`` file, float16 ``(positions, words)``.
        stop: Called between batches; raises to end it.
        forward: Computes with other weights in the model's place.
    """
    file: Any = None
    rows, done = sum(len(answer) for _, answer in pairs), 0
    batch = max(1, min(8, LOGITS // max(len(answer) for _, answer in pairs)))
    for start in range(0, len(pairs), batch):
        stop()
        for logits in _logits(forward or model, pairs[start : start + batch], model.device):
            if file is None:
                shape = (rows, logits.shape[1])
                file = np.lib.format.open_memmap(out, mode="w+", dtype=np.float16, shape=shape)
            file[done : done + len(logits)] = logits.float().log_softmax(dim=-1).cpu().numpy()
            done += len(logits)
    file.flush()


def _logits(
    forward: Callable[..., Any], pairs: Sequence[tuple[list[int], list[int]]], device: Any
) -> list[torch.Tensor]:
    """Padded on the left, so that the answers end at the same position and only their logits are computed."""
    rows = [[*prompt, *answer] for prompt, answer in pairs]
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    keep = max(len(answer) for _, answer in pairs) + 1
    with torch.no_grad():
        found = forward(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=keep).logits
    return [row[-len(answer) - 1 : -1] for row, (_, answer) in zip(found, pairs, strict=True)]
