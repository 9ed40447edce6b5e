"""The charts tab of a run: which metrics are drawn how, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from core.config import RewardSection
from core.errors import TunesmithError
from core.job_rows import MetricRow
from core.methods import method_of
from core.metric import Metric, Section, Unit
from core.rewards import part_title, titles
from pages.runs.overview import Tile, unhealthy
from services.runs.view import RunView

COLOURS = ("--c1", "--c2", "--c3", "--c4")
HELD_OUT_COLOUR = "--c3"
TABLE_ROWS = 60
FIRST = {Section.LEARNING}
"""The sections that are open at first."""


@dataclass(frozen=True)
class LineView:
    """One line. The values are those of ``key``; see :class:`core.metric.Line` for ``around`` and ``between``.

    Attributes:
        held_out: Whether the values are those of the evaluations.
    """

    key: str
    label: str
    colour: str
    smoothed: bool
    held_out: bool = False
    around: str = ""
    between: tuple[str, str] | None = None


@dataclass(frozen=True)
class TurnView:
    """When to mark the step of the best held-out value: once the values after it are clearly worse.

    Attributes:
        key: The values' key.
        rise: Key of the lower end of the interval of their rise over the lowest one before; above 0, it is clear.
        word: Written beside the mark.
    """

    key: str
    rise: str
    word: str


@dataclass(frozen=True)
class ChartView:
    """One chart; ``key`` is that of the metric which it is named after.

    Attributes:
        axis: Title of the value axis.
        share: Whether values are shares, written as percentages.
        whole: Whether the axis goes from 0 to 1.
        marks: Values at which a line is drawn across.
        only_with: Key of the metric without which the chart is left out.
        parts: Whether the values are objects, and each of their keys is a line.
        turn: What is marked on the axis of steps, if anything.
    """

    key: str
    title: str
    caption: str
    unit: str
    axis: str
    share: bool
    wide: bool
    whole: bool
    marks: tuple[float, ...]
    only_with: str
    parts: bool
    lines: tuple[LineView, ...]
    turn: TurnView | None = None


@dataclass(frozen=True)
class SectionView:
    """A group of charts; ``open`` for the one shown first."""

    title: str
    open: bool
    charts: tuple[ChartView, ...]


@dataclass(frozen=True)
class Column:
    """A column of the table of metrics."""

    key: str
    title: str
    unit: Unit


@dataclass(frozen=True)
class ChartsView:
    """The charts tab. ``data`` is for the script that draws them.

    Attributes:
        unhealthy: Metrics of the latest step outside their healthy range.
        table: Rows for the table: evenly thinned, with the latest one and all evaluations.
    """

    has_numbers: bool
    over: bool
    unhealthy: tuple[Tile, ...]
    columns: tuple[Column, ...]
    table: tuple[MetricRow, ...]
    data: dict[str, Any]


def charts_view(view: RunView, rows: Sequence[MetricRow], best: float | None) -> ChartsView:
    """The charts tab of a run.

    Args:
        rows: Its metric rows, merged.
        best: The highest possible reward of an answer, if known.
    """
    metrics = method_of(view.config).described
    return ChartsView(
        has_numbers=bool(rows),
        over=view.job.over,
        unhealthy=unhealthy(metrics, rows),
        columns=columns_of(metrics),
        table=_table(rows),
        data={"charts": charts(best, metrics), "parts": _part_titles(rows, view.config.get("reward"))},
    )


def columns_of(metrics: Sequence[Metric]) -> tuple[Column, ...]:
    """The columns of the table; metrics with a tile come first."""
    listed = [*(one for one in metrics if one.tile), *(one for one in metrics if one.column and not one.tile)]
    return tuple(Column(one.key, one.title, one.unit) for one in listed)


def _table(rows: Sequence[MetricRow]) -> tuple[MetricRow, ...]:
    stride = max(1, -(-len(rows) // TABLE_ROWS))
    return tuple(
        row
        for index, row in enumerate(rows)
        if not (len(rows) - 1 - index) % stride or row.get("phase") == "evaluation"
    )


def _part_titles(rows: Sequence[MetricRow], reward: Any) -> Mapping[str, str]:
    """Titles of the reward's components by their keys in the rows."""
    keys = {key for row in rows for key in row.get("reward_components") or {}}
    with suppress(ValidationError, TunesmithError):  # this version does not know the reward any more
        keys |= set(titles(RewardSection.model_validate(reward))) if reward else set()
    return {key: part_title(key, reward) for key in sorted(keys)}


def charts(best: float | None, metrics: Sequence[Metric]) -> tuple[SectionView, ...]:
    """The charts of these metrics.

    Args:
        best: The highest possible reward of an answer, if known.
        metrics: In the order of their charts.
    """
    sections = (
        SectionView(section.value, section in FIRST, tuple(_charts(section, best, metrics))) for section in Section
    )
    return tuple(section for section in sections if section.charts)


def _charts(section: Section, best: float | None, metrics: Sequence[Metric]) -> Iterable[ChartView]:
    most = "" if best is None else f"; the maximum is {best:.3g}"
    for one in metrics:
        if one.chart is None or one.chart.section is not section:
            continue
        yield ChartView(
            key=one.key,
            title=one.title,
            caption=f"{one.plain}. {one.chart.caption.format(best=most)}",
            unit=one.unit.suffix,
            axis=one.unit.axis or one.title,
            share=one.unit is Unit.SHARE,
            wide=one.chart.wide,
            whole=one.chart.whole,
            marks=one.marks,
            only_with=one.chart.only_with,
            parts=one.parts,
            lines=() if one.parts else _lines(one, metrics),
            turn=TurnView(one.key, one.line.rise, f"Held-out {one.term} rises from here") if one.line.rise else None,
        )


def _lines(lead: Metric, metrics: Sequence[Metric]) -> tuple[LineView, ...]:
    """The metric's own line, those beside it, and the held-out values last."""
    drawn = [one for one in metrics if one.line.trained and (one is lead or one.beside == lead.key)]
    lines = [
        LineView(one.key, one.line.label, colour, one.line.smoothed, around=one.line.around, between=one.line.between)
        for one, colour in zip(drawn, COLOURS, strict=False)
    ]
    if lead.line.held_out:
        lines.append(LineView(lead.key, "held-out", HELD_OUT_COLOUR, smoothed=False, held_out=True))
    return tuple(lines)
