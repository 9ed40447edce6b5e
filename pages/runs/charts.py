"""The charts of a run's page as page data: what is drawn from which metrics. The script only draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.metric import Metric, Section

COLOURS = ("--c1", "--c2", "--c3", "--c4")
HELD_OUT_COLOUR = "--c3"


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
class ChartView:
    """One chart; ``key`` is that of the metric which it is named after.

    Attributes:
        whole: Whether the axis goes from 0 to 1.
        marks: Values at which a line is drawn across.
        only_with: Key of the metric without which the chart is left out.
        parts: Whether the values are objects, and each of their keys is a line.
    """

    key: str
    title: str
    caption: str
    unit: str
    wide: bool
    whole: bool
    marks: tuple[float, ...]
    only_with: str
    parts: bool
    lines: tuple[LineView, ...]


@dataclass(frozen=True)
class SectionView:
    """Charts that answer the same question."""

    title: str
    charts: tuple[ChartView, ...]


def charts(best: float | None, metrics: Sequence[Metric]) -> tuple[SectionView, ...]:
    """The charts of these metrics.

    Args:
        best: The most that an answer can earn, where that is known.
        metrics: In the order of their charts.
    """
    sections = (SectionView(section.value, tuple(_charts(section, best, metrics))) for section in Section)
    return tuple(section for section in sections if section.charts)


def _charts(section: Section, best: float | None, metrics: Sequence[Metric]) -> Iterable[ChartView]:
    most = "" if best is None else f", {best:.3g} is the most"
    for one in metrics:
        if one.chart is None or one.chart.section is not section:
            continue
        yield ChartView(
            key=one.key,
            title=one.title,
            caption=f"{one.plain}. {one.chart.caption.format(best=most)}",
            unit=one.unit.suffix,
            wide=one.chart.wide,
            whole=one.chart.whole,
            marks=one.marks,
            only_with=one.chart.only_with,
            parts=one.parts,
            lines=() if one.parts else _lines(one, metrics),
        )


def _lines(lead: Metric, metrics: Sequence[Metric]) -> tuple[LineView, ...]:
    """The metric's own line, those beside it, and the held-out values last."""
    drawn = [lead, *(one for one in metrics if one.beside == lead.key)]
    lines = [
        LineView(one.key, one.line.label, colour, one.line.smoothed, around=one.line.around, between=one.line.between)
        for one, colour in zip(drawn, COLOURS, strict=False)
    ]
    if lead.line.held_out:
        lines.append(LineView(lead.key, "held out", HELD_OUT_COLOUR, smoothed=False, held_out=True))
    return tuple(lines)
