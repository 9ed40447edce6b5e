"""What a metric declares: its names, its unit, which values are healthy, and where it is shown.

The metrics themselves are in :mod:`core.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Better(StrEnum):
    """Which way a metric should move."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"
    """Neither; it may have a healthy range."""

    @property
    def words(self) -> str:
        """'higher is better', or nothing."""
        return "" if self is Better.NEITHER else f"{self} is better"


class Level(StrEnum):
    """How healthy a value is."""

    GOOD = "good"
    WATCH = "watch"
    BAD = "bad"


class Unit(StrEnum):
    """The unit of a metric."""

    NUMBER = "number"
    SHARE = "share"
    """From 0 to 1; shown as a percentage."""
    COUNT = "count"
    NATS = "nats"
    TOKENS = "tokens"
    SECONDS = "s"
    TOKENS_PER_SECOND = "tokens/s"

    @property
    def suffix(self) -> str:
        """Follows a number on a page; empty if the title names the unit."""
        return self.value if self in {Unit.TOKENS, Unit.SECONDS, Unit.TOKENS_PER_SECOND} else ""

    @property
    def axis(self) -> str:
        """Title of a chart's value axis; empty if the metric's own title does."""
        return {
            "count": "Count",
            "nats": "Nats",
            "tokens": "Tokens",
            "s": "Seconds",
            "tokens/s": "Tokens per second",
        }.get(self.value, "")


class Section(StrEnum):
    """The groups of charts on a run's page, in order."""

    LEARNING = "Learning"
    HEALTH = "Health"
    WRITING = "Answers"
    SPEED = "Speed"
    LOSS = "Loss"


@dataclass(frozen=True)
class Range:
    """Values that mean the same.

    Attributes:
        level: How healthy they are.
        words: What such a value means.
        above: Only values larger than this; None for no such bound.
        below: Only values smaller than this; None for no such bound.
        marked: Whether the chart has a line at its bound.
    """

    level: Level
    words: str
    above: float | None = None
    below: float | None = None
    marked: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)


@dataclass(frozen=True)
class Chart:
    """A chart named after its metric.

    Attributes:
        section: Where on the page.
        caption: Shown below it, after the metric's plain name. ``{best}`` stands for the highest possible reward.
        wide: Whether it spans the full width.
        whole: Whether its axis always goes from 0 to 1.
        only_with: Shown only if a row has a nonzero value of the metric with this key.
    """

    section: Section
    caption: str
    wide: bool = False
    whole: bool = False
    only_with: str = ""


@dataclass(frozen=True)
class Line:
    """How a metric is drawn.

    Attributes:
        label: Its name in the legend; required if a chart has several lines.
        smoothed: Whether a moving mean is drawn over the values.
        held_out: Whether evaluations measure it too, drawn as points.
        trained: Whether training steps measure it; otherwise only evaluations do.
        rise: Key of the lower end of the interval of a held-out value's rise over the lowest one before it. Above 0,
            the chart marks the step of the lowest value.
        around: Key of the metric that is drawn as a band on both sides of this one.
        between: Keys of the metrics between which a band is drawn.
    """

    label: str = ""
    smoothed: bool = True
    held_out: bool = False
    trained: bool = True
    rise: str = ""
    around: str = ""
    between: tuple[str, str] | None = None


@dataclass(frozen=True)
class Metric:
    """One metric of a row.

    Attributes:
        key: Its name in ``metrics.jsonl``.
        term: The usual term.
        plain: A short explanation in everyday words.
        text: Two or three sentences for the glossary; a metric without them is not in it.
        unit: Its unit.
        better: Which way it should move.
        healthy: Which values are healthy, in words; the numbers in it are bounds of ``ranges``.
        ranges: How healthy values are; the first range that contains a value counts.
        chart: Its own chart, if it has one.
        beside: Key of another metric in whose chart it is drawn too.
        line: How it is drawn.
        parts: Whether its value is an object with a number for each component of the reward.
        tile: Whether its latest value has a tile; tiles are in the order of declaration.
        column: Whether it is a column of the table; metrics with a tile always are.
        logged: Whether the log line of a step includes it.
        headlines: The phases that it sums up, unless a metric before it does: lists draw this curve, and thinning out
            rows keeps its peaks.
        sources: Its names in the logs of TRL's trainers; a step has at most one of them.
    """

    key: str
    term: str
    plain: str
    text: str = ""
    unit: Unit = Unit.NUMBER
    better: Better = Better.NEITHER
    healthy: str = ""
    ranges: tuple[Range, ...] = ()
    chart: Chart | None = None
    beside: str = ""
    line: Line = Line()
    parts: bool = False
    tile: bool = False
    column: bool = False
    logged: bool = False
    headlines: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The term as a heading."""
        return self.term[:1].upper() + self.term[1:]

    def range_of(self, value: float) -> Range | None:
        """The range that contains a value, if there is one."""
        return next((one for one in self.ranges if value in one), None)

    def shown(self, value: float) -> str:
        """A bound as people read it: shares as percentages."""
        return f"{value:.0%}" if self.unit is Unit.SHARE else f"{value:g}"

    def remark(self, value: float) -> str:
        """What is unhealthy about a value, such as 'Above 0.1: watch'; '' if nothing is."""
        found = self.range_of(value)
        if found is None or found.level is Level.GOOD:
            return ""
        if found.above is not None:
            return f"Above {self.shown(found.above)}: {found.words}"
        return f"Below {self.shown(found.below)}: {found.words}" if found.below is not None else found.words

    def above(self, level: Level) -> float:
        """The value above which the metric is at a level.

        Raises:
            KeyError: No range of that level begins above a value.
        """
        for one in self.ranges:
            if one.level is level and one.above is not None:
                return one.above
        raise KeyError(f"{self.key} has no bound above which it is {level}")

    @property
    def healthy_range(self) -> tuple[float | None, float | None]:
        """Smallest and largest value that are fine; None for no such bound."""
        remarked = [one for one in self.ranges if one.level is not Level.GOOD]
        return (
            max((one.below for one in remarked if one.below is not None), default=None),
            min((one.above for one in remarked if one.above is not None), default=None),
        )

    @property
    def marks(self) -> tuple[float, ...]:
        """Bounds that the chart has a line at, from the smallest."""
        bounds = [bound for one in self.ranges if one.marked for bound in (one.below, one.above) if bound is not None]
        return tuple(sorted(bounds))
