"""A run's metric rows made ready to draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from core.job_rows import MetricRow, measure
from core.metrics import METRICS

_HEADLINES = {one.headline: one.key for one in METRICS if one.headline}
"""The metric that sums up a phase, by the phase."""


def collapse(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """One row for each step of a phase: a resume repeats steps, and the later row counts.

    Order is that of the first row of each step, so a series runs forward.
    """
    latest: dict[tuple[Any, ...], MetricRow] = {}
    for row in rows:
        latest[row.get("phase"), row.get("step"), row.get("when")] = row
    return list(latest.values())


def thin(rows: Sequence[MetricRow], points: int) -> list[MetricRow]:
    """At most about ``points`` rows that look the same when drawn.

    Evaluations are all kept. Of the other rows each stretch keeps its first, its last, the lowest and
    the highest of its phase's headline value, and rows where a value begins or ends, so that peaks
    stay peaks and gaps stay gaps.
    """
    if len(rows) <= points:
        return list(rows)
    keep: set[int] = {index for index, row in enumerate(rows) if row.get("phase") == "evaluation"}
    for phase, headline in _HEADLINES.items():
        indices = [index for index, row in enumerate(rows) if row.get("phase") == phase]
        share = max(4, points * len(indices) // len(rows))
        keep |= _stretches(rows, indices, max(1, share // 4), headline)
        keep |= _edges(rows, indices, headline, most=max(2, share // 4))
    return [rows[index] for index in sorted(keep)]


def _stretches(rows: Sequence[MetricRow], indices: list[int], count: int, headline: str) -> set[int]:
    keep: set[int] = set()
    size = -(-len(indices) // count) if indices else 1
    value: Callable[[int], float] = lambda index: measure(rows[index], headline) or 0.0  # noqa: E731 (a name for two uses)
    for start in range(0, len(indices), size):
        stretch = indices[start : start + size]
        keep |= {stretch[0], stretch[-1]}
        measured = [index for index in stretch if measure(rows[index], headline) is not None]
        if measured:
            keep |= {min(measured, key=value), max(measured, key=value)}
    return keep


def _edges(rows: Sequence[MetricRow], indices: list[int], headline: str, *, most: int) -> set[int]:
    """Rows on both sides of where the headline value appears or disappears."""
    edges: set[int] = set()
    for before, after in pairwise(indices):
        if (rows[before].get(headline) is None) != (rows[after].get(headline) is None):
            edges |= {before, after}
        if len(edges) >= most:
            break
    return edges
