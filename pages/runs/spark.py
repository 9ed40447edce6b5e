"""Sparklines: the course of a run as a small curve, in lists and on tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.job_dir import JobDir, read_row
from core.job_rows import MetricRow, is_metric, measure
from services.container import Services
from services.runs.series import headline
from services.runs.verdict import merge
from services.runs.view import RunView
from services.words import num

POINTS = 60


@dataclass(frozen=True)
class Spark:
    """The course of a run as a sparkline.

    Attributes:
        points: Of an SVG polyline, at most :data:`POINTS`; '' for fewer than two.
        words: The latest value with its name, such as 'loss 0.12'; '' where there is none.
    """

    points: str = ""
    words: str = ""


def points_of(values: Sequence[float], width: int = 100, height: int = 28) -> str:
    """The points of an SVG polyline through the values; '' for fewer than two."""
    values = values[:: max(1, len(values) // POINTS)]
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)

    def y(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return height - 2 - share * (height - 4)

    return " ".join(f"{index * width / (len(values) - 1):.1f},{y(value):.1f}" for index, value in enumerate(values))


def spark(rows: Sequence[MetricRow]) -> Spark:
    """The sparkline of the metric that sums up the training."""
    lead = headline(rows)
    if lead is None:
        return Spark()
    trained = [row for row in merge(rows) if row.get("phase") == "training"]
    values = [value for row in trained if (value := measure(row, lead.key)) is not None]
    return Spark(points_of(values), f"{lead.term} {num(values[-1])}") if values else Spark()


def sparks(services: Services, runs: Sequence[RunView]) -> dict[str, Spark]:
    """The sparklines of the runs in a list, by ID."""
    return {
        run.session_id: spark(_sampled(JobDir(services.settings.home.outputs / run.session_id).metrics)) for run in runs
    }


def _sampled(metrics: Path) -> list[MetricRow]:
    """About 120 evenly spaced rows: a list of long runs must not parse all their rows."""
    try:
        lines = metrics.read_bytes().splitlines()
    except OSError:
        return []
    sampled = lines[:: -max(1, len(lines) // 120)][::-1]  # the last one is among them
    return [row for line in sampled if (row := read_row(line, is_metric)) is not None]
