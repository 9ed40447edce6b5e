"""Token lengths of prompts and references, and the limits that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

BARS = 24
COVERED = 0.99
"""Share of rows that a proposed limit must not truncate."""
ROOM = 1.5
"""Headroom of the proposed answer length: a model's reasoning is longer than a reference."""


@dataclass(frozen=True)
class Histogram:
    """Counts of lengths in equal steps.

    Attributes:
        step: Width of a bar in tokens; bar ``i`` holds lengths from ``i * step`` up to the next.
        counts: Rows in each bar; the last one also holds everything longer.
        median, high, most: The median, the 99th percentile and the maximum.
    """

    step: int
    counts: tuple[int, ...]
    median: int
    high: int
    most: int


@dataclass(frozen=True)
class Lengths:
    """A dataset's lengths in tokens.

    Attributes:
        rows: Rows that were counted.
        cut_prompts: Share of rows, 0 to 1, whose prompt does not fit beside the longest answer.
        cut_references: Share of rows whose reference alone is longer than the longest answer.
    """

    rows: int
    prompt: Histogram
    reference: Histogram
    max_sequence_length: int
    max_new_tokens: int
    cut_prompts: float
    cut_references: float

    def json(self) -> dict[str, Any]:
        return asdict(self)


def measure(prompts: Sequence[int], references: Sequence[int], *, limits: tuple[int, int] | None = None) -> Lengths:
    """Histograms and limits from token counts.

    Args:
        prompts: Tokens of each row's whole rendered prompt.
        references: Tokens of each row's reference with its reasoning, in the same order.
        limits: (max_sequence_length, max_new_tokens) that the truncated shares are for; None: the proposed ones.

    Raises:
        ValueError: There are no rows.
    """
    proposed = propose(prompts, references)
    sequence, answer = limits or proposed
    return Lengths(
        rows=len(prompts),
        prompt=histogram(prompts),
        reference=histogram(references),
        max_sequence_length=proposed[0],
        max_new_tokens=proposed[1],
        cut_prompts=sum(count > sequence - answer for count in prompts) / len(prompts),
        cut_references=sum(count > answer for count in references) / len(references),
    )


def propose(prompts: Sequence[int], references: Sequence[int]) -> tuple[int, int]:
    """(max_sequence_length, max_new_tokens) that truncate at most 1% of the rows, rounded up to usual values.

    >>> propose([100] * 99 + [900], [40] * 100)
    (192, 64)
    """
    answer = _round_up(int(quantile(references, COVERED) * ROOM), 32)
    return _round_up(quantile(prompts, COVERED) + answer, 64), answer


def histogram(lengths: Sequence[int]) -> Histogram:
    """Lengths in at most 24 bars, up to the 99th percentile.

    >>> histogram([3, 5, 9]).counts
    (0, 0, 0, 1, 0, 1, 0, 0, 0, 1)
    """
    high = quantile(lengths, COVERED)
    step = max(1, -(-(high + 1) // BARS))
    counts = [0] * (high // step + 1)
    for length in lengths:
        counts[min(length // step, len(counts) - 1)] += 1
    return Histogram(step, tuple(counts), quantile(lengths, 0.5), high, max(lengths))


def quantile(lengths: Sequence[int], share: float) -> int:
    """The smallest length that this share of the rows does not exceed."""
    if not lengths:
        raise ValueError("there are no rows")
    ordered = sorted(lengths)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


def _round_up(value: int, step: int) -> int:
    return max(step, -(-value // step) * step)
