"""Prepares a run's metric rows for drawing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from core.job_rows import MetricRow, measure
from core.metric import Metric
from core.metrics import METRICS

_PHASES = tuple(dict.fromkeys(phase for one in METRICS for phase in one.headlines))


def headline(rows: Sequence[MetricRow], phase: str = "training") -> Metric | None:
    """The metric that summarizes a phase: the first one that its rows have."""
    candidates = (one for one in METRICS if phase in one.headlines)
    return next((one for one in candidates if any(one.key in row and row.get("phase") == phase for row in rows)), None)


def collapse(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """One row per step of a phase: a resume repeats steps, and the later row counts.

    Ordered by the first row of each step, so a series runs forward.
    """
    latest: dict[tuple[Any, ...], MetricRow] = {}
    for row in rows:
        latest[row.get("phase"), row.get("step"), row.get("when")] = row
    return list(latest.values())


def thin(rows: Sequence[MetricRow], points: int) -> list[MetricRow]:
    """Downsample to about ``points`` rows that look the same when drawn.

    All evaluations are kept. Of the other rows each bucket keeps its first, its last, the lowest and the highest of
    its phase's headline value, and rows where a value begins or ends, so that peaks and gaps are preserved.
    """
    if len(rows) <= points:
        return list(rows)
    of_phase: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        of_phase[row.get("phase", "")].append(index)
    keep = set(of_phase["evaluation"])
    for phase in _PHASES:
        lead = headline([rows[index] for index in of_phase[phase]], phase)
        values = {index: measure(rows[index], lead.key) if lead else None for index in of_phase[phase]}
        share = max(4, points * len(values) // len(rows))
        keep |= _stretches(values, max(1, share // 4))
        keep |= _edges(values, most=max(2, share // 4))
    return [rows[index] for index in sorted(keep)]


def _stretches(values: Mapping[int, float | None], count: int) -> set[int]:
    keep: set[int] = set()
    indices = list(values)
    size = -(-len(indices) // count) if indices else 1
    for start in range(0, len(indices), size):
        stretch = indices[start : start + size]
        keep |= {stretch[0], stretch[-1]}
        measured = {index: value for index in stretch if (value := values[index]) is not None}
        if measured:
            keep |= {min(measured, key=measured.__getitem__), max(measured, key=measured.__getitem__)}
    return keep


def _edges(values: Mapping[int, float | None], *, most: int) -> set[int]:
    """Rows on both sides of where the headline value appears or disappears."""
    edges: set[int] = set()
    for before, after in pairwise(values):
        if (values[before] is None) != (values[after] is None):
            edges |= {before, after}
        if len(edges) >= most:
            break
    return edges
