"""Samples tokens from rows of logits, reproducibly, with numpy only.

The order is that of transformers' ``generate``: repetition penalty, temperature, top-k, top-p, min-p. A row's samples
depend only on its own seed, not on which other rows are decoded with it. ``torch.multinomial`` takes a quarter of the
time of a rollout on a CPU; the inverse of a cumulative sum does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BLOCK = 256
"""Block size, in tokens, for finding a token in the cumulative sum."""


@dataclass(frozen=True)
class Rules:
    """Sampling rules. ``temperature`` 0 is greedy; 1, 0, None and 1 turn the others off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float | None = None
    repetition_penalty: float = 1.0

    @property
    def plain(self) -> bool:
        """Whether tokens are sampled from the full distribution."""
        return not self.top_k and self.top_p >= 1 and not self.min_p and self.repetition_penalty == 1


def uniforms(seed: int, row: int, count: int) -> Any:
    """``(count,)`` numbers in [0, 1) for one completion."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, row]))).random(count)


def draw(logits: Any, owners: Any, chances: Any, rules: Rules, seen: Sequence[Any]) -> tuple[list[int], list[float]]:
    """Sample one token per completion; several may share a distribution.

    Args:
        logits: ``(rows, words)`` float32; not modified.
        owners: ``(completions,)`` the row of each completion.
        chances: ``(completions,)`` one uniform random number each.
        rules: Sampling rules.
        seen: For each row the distinct tokens of prompt and completion so far; used only with a penalty.

    Returns:
        Tokens, and the log-probability of each with only the temperature applied: penalties and top-k, top-p and min-p
        affect sampling, but the trainer scores without them.
    """
    scaled = logits / np.float32(rules.temperature or 1.0)
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    sums = _block_sums(powers)
    totals = sums.sum(axis=1)
    if rules.plain and rules.temperature:
        tokens = [
            _find(powers[row], sums[row], chance * totals[row]) for row, chance in zip(owners, chances, strict=True)
        ]
    else:
        tokens = [_shaped(logits[row], chance, rules, seen[row]) for row, chance in zip(owners, chances, strict=True)]
    chosen = scaled[owners, tokens].astype(np.float64)
    return tokens, (chosen - np.log(totals[owners])).tolist()


def _block_sums(powers: Any) -> Any:
    starts = np.arange(0, powers.shape[1], BLOCK)
    return np.add.reduceat(powers, starts, axis=1, dtype=np.float64)


def _find(powers: Any, sums: Any, target: float) -> int:
    """The first token at which the cumulative sum exceeds ``target``."""
    ends = np.cumsum(sums)
    block = min(int(np.searchsorted(ends, target, side="right")), len(sums) - 1)
    here = np.cumsum(powers[block * BLOCK : (block + 1) * BLOCK], dtype=np.float64)
    before = ends[block - 1] if block else 0.0
    place = int(np.searchsorted(here, target - before, side="right"))
    if place < len(here):
        return block * BLOCK + place
    # The two summations differ in the last bit; take the last token with nonzero probability.
    return block * BLOCK + int(np.flatnonzero(powers[block * BLOCK : (block + 1) * BLOCK])[-1])


def _shaped(logits: Any, chance: float, rules: Rules, seen: Any) -> int:
    scores = logits.astype(np.float64)
    if rules.repetition_penalty != 1:
        at = scores[seen]
        scores[seen] = np.where(at < 0, at * rules.repetition_penalty, at / rules.repetition_penalty)
    if not rules.temperature:
        return int(scores.argmax())
    scores /= rules.temperature
    order = np.argsort(-scores, kind="stable")
    if rules.top_k:
        # A tie with the last one is kept, as in transformers.
        order = order[scores[order] >= scores[order[min(rules.top_k, len(order)) - 1]]]
    weights = np.exp(scores[order] - scores[order[0]])
    if rules.top_p < 1:
        weights /= weights.sum()
        # A token is kept while the sum of those before it is below the threshold.
        weights = weights[np.cumsum(weights) - weights < rules.top_p]
    if rules.min_p:
        weights = weights[weights >= rules.min_p * weights[0]]
    ends = np.cumsum(weights)
    return int(order[min(int(np.searchsorted(ends, chance * ends[-1], side="right")), len(weights) - 1)])
