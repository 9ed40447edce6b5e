"""Held-out losses of a run, and how large a change must be to count."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt

from core.job_rows import MetricRow, measure
from core.statistics import decimals

SPREAD = 0.3
"""A change counts from this share of the loss over the square root of the rows: two standard errors, if the changes
of single rows have a spread of 15% of the loss. The actual spread is unknown."""
SMALLEST = 0.02
"""Share of the loss below which a change never counts, however many rows there are."""


@dataclass(frozen=True)
class Point:
    """A loss on the held-out rows.

    Attributes:
        step: Completed training steps.
        loss: In nats per token.
        change: The interval of its change since the first measurement, if known.
        rise: The interval of its rise over the lowest measurement before it, if known.
    """

    step: int
    loss: float
    change: tuple[float, float] | None = None
    rise: tuple[float, float] | None = None

    @classmethod
    def of(cls, row: MetricRow) -> Point | None:
        """The point of an evaluation's row; None if the row lacks its values."""
        loss, step = measure(row, "loss"), measure(row, "step")
        if loss is None or step is None:
            return None
        return cls(int(step), loss, _interval(row, "loss_change"), _interval(row, "loss_rise"))


def _interval(row: MetricRow, key: str) -> tuple[float, float] | None:
    low, high = measure(row, f"{key}_low"), measure(row, f"{key}_high")
    return None if low is None or high is None else (low, high)


def least_change(rows: int) -> float:
    """The share of a loss by which two losses on the same rows must differ to count as different.

    >>> round(least_change(8), 3), round(least_change(32), 3), least_change(10_000)
    (0.106, 0.053, 0.02)
    """
    return max(SMALLEST, SPREAD / sqrt(max(1, rows)))


def in_words(first: float, last: float) -> str:
    """What a lower loss means for the answers; '' if the change is implausibly large.

    >>> in_words(2.31, 1.12)
    'on average, each token of the answers became 3.3 times as likely'
    """
    if first - last > 20:
        return ""
    return f"on average, each token of the answers became {decimals(exp(first - last), 1)} times as likely"
