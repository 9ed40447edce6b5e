"""A paired report in words, for the pages that show one."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import Any

from core.evaluation import MOST_PROMPTS, Compared, Example, PairedReport, PairedVerdict, headed
from core.metric import Unit
from core.metrics import metric
from core.rewards import part_title
from core.statistics import POWER, ROUNDING, decimals, fewest_changes, smallest_share
from pages.parts import Line
from services.container import Services
from services.words import num, signed

ENOUGH = 32
"""Questions that show a change of about a quarter of the answers; the default of runs."""
MOST_WORDS = 1500
"""Words of each text that are compared; the comparison is quadratic."""
_WORDS = re.compile(r"\w+|\s+|[^\w\s]+")
"""Words, separators and other characters, which together make up the text."""
LEVELS = {PairedVerdict.BETTER: "good", PairedVerdict.WORSE: "problem", PairedVerdict.NOT_ENOUGH: "watch"}
TITLES = {PairedVerdict.BETTER: "Better", PairedVerdict.WORSE: "Worse", PairedVerdict.NOT_ENOUGH: "Not enough evidence"}


@dataclass(frozen=True)
class Piece:
    """Some words of two texts: ``same``, ``gone`` (only in the first) or ``new`` (only in the second)."""

    kind: str
    text: str


@dataclass(frozen=True)
class ExampleView:
    """One prompt with both answers as one text with its changes."""

    instruction: str
    reference: str
    before: str
    after: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class ComparedLine:
    """One measure, in words."""

    title: str
    first: str
    second: str
    difference: str
    interval: str


@dataclass(frozen=True)
class ReportView:
    """A paired report as pages show it.

    Attributes:
        key: Distinguishes reports on a page.
        level: The color's name.
        against: The first model's name inside a sentence.
        wins: The win rate; empty if every question was a tie.
        right: How many answers became right and wrong.
        smallest: The smallest difference that this many questions show.
        advice: How many questions would show the difference that was found; may be empty.
        details: The statistics by their names.
    """

    key: str
    first: str
    against: str
    second: str
    title: str
    level: str
    sentence: str
    lines: tuple[ComparedLine, ...]
    interval: str
    wins: str
    right: str
    smallest: str
    advice: str
    details: tuple[Line, ...]
    improved: tuple[ExampleView, ...]
    worsened: tuple[ExampleView, ...]


def of_run(services: Services, session_id: str) -> tuple[ReportView, ...]:
    """A run's own evaluation; empty if there is none."""
    made = services.evaluations.of_run(session_id)
    reward = services.runs.config(session_id).get("reward") if made else None
    return (report_view(made.report, reward=reward),) if made else ()


def report_view(report: PairedReport, key: str = "1", reward: Any = None) -> ReportView:
    """A report in words; ``reward`` is the section that scored."""
    whole = ((metric("reward"), report.score), (metric("solved"), report.solved))
    lines = [_line(one.title, compared, share=one.unit is Unit.SHARE) for one, compared in whole]
    lines += [_line(part_title(name, reward), compared, share=False) for name, compared in report.components.items()]
    return ReportView(
        key=key,
        first=headed(report.first),
        against=report.first,
        second=headed(report.second),
        title=TITLES[report.verdict],
        level=LEVELS[report.verdict],
        sentence=report.sentence,
        lines=tuple(lines),
        interval=f"{report.level * 100:.3g}%",
        wins=_won(report),
        right=_right(report),
        smallest=_smallest(report),
        advice=_advice(report),
        details=_details(report),
        improved=tuple(_example(example) for example in report.improved),
        worsened=tuple(_example(example) for example in report.worsened),
    )


def word_diff(before: str, after: str) -> tuple[Piece, ...]:
    """A word diff of two texts: what is the same, removed and added.

    >>> [(piece.kind, piece.text) for piece in word_diff("It is 41.", "It is 42.")]
    [('same', 'It is '), ('gone', '41'), ('new', '42'), ('same', '.')]
    """
    one, two = (_WORDS.findall(text)[: 2 * MOST_WORDS] for text in (before, after))
    pieces = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(Piece("same", "".join(one[a:b])))
            continue
        pieces += [Piece(kind, "".join(part)) for kind, part in (("gone", one[a:b]), ("new", two[c:d])) if part]
    return tuple(pieces)


def _line(title: str, compared: Compared, *, share: bool) -> ComparedLine:
    def written(value: float) -> str:
        return f"{decimals(value * 100, 0)}%" if share else num(value)

    def moved(value: float) -> str:
        sign = "+" if value > 0 else "\u2212" if value < 0 else ""
        return f"{sign}{decimals(abs(value) * 100, 0)} points" if share else signed(value)

    interval = f"{moved(compared.low)} to {moved(compared.high)}"
    return ComparedLine(title, written(compared.first), written(compared.second), moved(compared.difference), interval)


def _right(report: PairedReport) -> str:
    return (
        f"{report.only_second} newly right, {report.only_first} newly wrong, {report.both} right in "
        f"both, {report.neither} wrong in both."
    )


def _won(report: PairedReport) -> str:
    """The win rate in words, '' if every question was a tie."""
    if (wins := report.wins) is None:
        return ""
    differing = wins.first + wins.second
    low, high = (f"{decimals(100 * bound, 0)}%" for bound in (wins.low, wins.high))
    ties = report.pairs - differing
    return (
        f"Win rate of {report.second}: {wins.second} of {differing} question{'' if differing == 1 else 's'} with a "
        f"difference ({decimals(100 * wins.rate, 0)}%, {report.level * 100:.3g}% interval {low} to {high})"
        f"{f', {ties} ties' if ties > 1 else ', 1 tie' if ties else ''}."
    )


def _smallest(report: PairedReport) -> str:
    if report.smallest_effect is None:
        few = report.pairs < fewest_changes(report.level)
        return f"{report.pairs} questions are too few to show any difference." if few else ""
    return f"{report.pairs} questions usually show a difference in reward of {num(report.smallest_effect)} or more."


def _advice(report: PairedReport) -> str:
    """How many questions would suffice; '' if the difference is significant, or there is none."""
    if report.verdict is not PairedVerdict.NOT_ENOUGH:
        return ""
    if report.smallest_effect is None:
        if report.pairs >= fewest_changes(report.level):
            return ""
        share = smallest_share(ENOUGH, level=report.level)
        return f"Use at least {ENOUGH}: they usually show a difference if {share:.0%} of the answers change one way."
    moved = abs(report.score.difference)
    if moved <= ROUNDING:
        return ""
    # The interval narrows with the root of the number of questions.
    needed = report.pairs * (report.smallest_effect / moved) ** 2
    if needed > MOST_PROMPTS:
        return f"To confirm {signed(report.score.difference)}, more than {MOST_PROMPTS:,} questions would be needed."
    rounded = math.ceil(needed / 10) * 10
    return f"To confirm {signed(report.score.difference)}, about {rounded:,} questions would be needed."


def _details(report: PairedReport) -> tuple[Line, ...]:
    """The tests by their names."""
    smallest = report.smallest_effect
    detectable = f"{num(smallest)} in reward, with {POWER:.0%} power" if smallest is not None else ""
    return (
        Line("Reward, sign-flip test", _chance(report.p_value)),
        Line("Right and wrong, McNemar's exact test", _chance(report.mcnemar)),
        Line("Intervals", f"{report.level * 100:.3g}%, bootstrap over {report.pairs} question pairs"),
        *([Line("Smallest detectable difference", detectable)] if detectable else []),
    )


def _chance(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _example(example: Example) -> ExampleView:
    pieces = word_diff(example.before, example.after)
    return ExampleView(
        example.instruction, example.reference, num(example.before_score), num(example.after_score), pieces
    )
