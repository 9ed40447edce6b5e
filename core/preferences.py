"""What pairs and ratings have in common over a whole dataset, and what speaks against learning from them.

Pure: :func:`core.data.preference_facts.preferences_of` counts, and the readiness list and a dataset's report show the
concerns. The bounds and their reasons are in ``docs/decisions/preferences.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from core.statistics import share_interval

LONGER = 0.75
"""Share of pairs above which the better answer is the longer one too often; below ``1 - LONGER`` too rarely."""
FIRST = 0.6
"""The same for the answer that is named first."""
FEW = 0.05
"""Share of contradictions below which they are only mentioned: people disagree at times."""
MANY = 0.2
"""Share of rows that may be left out without a warning."""


@dataclass(frozen=True)
class Preferences:
    """Counts over the examined rows.

    Attributes:
        whole: Whether these are all rows.
        pairs: Pairs of two different answers.
        longer, shorter: Of them, pairs whose better answer has more, or fewer, characters.
        good, bad: Single answers with each rating.
        contradictory: Pairs that another pair turns around, or rated answers that are also rated the other way.
        contradiction: The question of the first of them.
        first, second: Rows whose better answer is the one named first, or second. Both are 0 if the dataset has no
            column that says which of two answers is better: then nothing is known about their order.
        left_out: Rows that cannot be used, by reason.
    """

    whole: bool = True
    pairs: int = 0
    longer: int = 0
    shorter: int = 0
    good: int = 0
    bad: int = 0
    contradictory: int = 0
    contradiction: str = ""
    first: int = 0
    second: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def rows(self, noun: str, count: int) -> str:
        """'the 200 pairs', or 'the first 200 pairs' if there are more."""
        return f"the {count:,} {noun}" if self.whole else f"the first {count:,} {noun}"


class Concern(NamedTuple):
    """Something that speaks against learning from the rows.

    Attributes:
        level: A severity of the readiness list.
        field: Path of the setting to change.
        message: Whole sentences: what it is, and what to do.
        share: Of the rows, 0 to 1.
        fix: A change that a button makes: its label, and values by field path.
    """

    level: Literal["blocks", "warns", "note"]
    field: str
    message: str
    share: float
    fix: tuple[str, Mapping[str, Any]] | None = None


def concerns_of(facts: Preferences) -> tuple[Concern, ...]:
    """What holds for every method that learns from pairs or ratings."""
    return (*_left_out(facts), *_one_kind(facts), *_contradictions(facts), *_length(facts), *_position(facts))


def _left_out(facts: Preferences) -> Iterator[Concern]:
    examined = facts.pairs + facts.good + facts.bad + sum(facts.left_out.values())
    for reason, count in facts.left_out.items():
        yield Concern(
            "warns" if count > MANY * examined else "note",
            "dataset.label_field" if facts.good + facts.bad else "dataset.chosen_field",
            f"{count:,} of {facts.rows('rows', examined)} cannot be used and {'is' if count == 1 else 'are'} left out: "
            f"{reason}.",
            count / examined,
        )  # fmt: skip


def _one_kind(facts: Preferences) -> Iterator[Concern]:
    count = facts.good + facts.bad
    if count and not (facts.good and facts.bad):
        kind, other = ("good", "bad") if facts.good else ("bad", "good")
        yield Concern(
            "blocks" if facts.whole else "warns",
            "dataset.label_field",
            f"All of {facts.rows('ratings', count)} are {kind}. Learning from ratings needs both kinds: add answers "
            f"that are rated {other}, or check that the rating column is the right one.",
            1.0,
        )


def _contradictions(facts: Preferences) -> Iterator[Concern]:
    if not facts.contradictory:
        return
    count = facts.pairs + facts.good + facts.bad
    share = facts.contradictory / count
    what = (
        f"{facts.rows('pairs', count)} contradict each other: of the same two answers to the same question, one pair "
        "prefers the one and another pair the other"
        if facts.pairs
        else f"{facts.rows('ratings', count)} contradict each other: the same answer to the same question is rated "
        "both good and bad"
    )
    yield Concern(
        "warns" if share > FEW else "note",
        "dataset.chosen_field" if facts.pairs else "dataset.label_field",
        f"{facts.contradictory:,} of {what}, as for '{facts.contradiction}'. They cancel each other out; remove them, "
        "or keep what most people chose.",
        share,
    )


def _length(facts: Preferences) -> Iterator[Concern]:
    count = facts.longer + facts.shorter
    if not _skewed(facts.longer, count, LONGER):
        return
    longer = facts.longer > facts.shorter
    share = max(facts.longer, facts.shorter) / count
    than, learns, wanted = ("longer", "more", "shorter") if longer else ("shorter", "less", "longer")
    yield Concern(
        "warns",
        "dataset.chosen_field",
        f"The better answer is the {than} one in {share:.0%} of the pairs ({_interval(count * share, count)}), so the "
        f"model may just learn to write {learns}. Add pairs in which the better answer is the {wanted} one, or remove "
        "some of the others.",
        share,
    )


def _position(facts: Preferences) -> Iterator[Concern]:
    count = facts.first + facts.second
    if not _skewed(facts.first, count, FIRST):
        return
    place, better = ("first", facts.first) if facts.first > facts.second else ("second", facts.second)
    yield Concern(
        "warns",
        "dataset.winner_field",
        f"The answer named {place} is the better one in {better / count:.0%} of the rows ({_interval(better, count)}). "
        "If people always saw it in that place, they may have preferred the place. Check that the order was random, "
        "or that each column always holds the answers of the same model.",
        better / count,
    )


def _skewed(count: int, of: int, most: float) -> bool:
    """Whether a share is above ``most`` or below ``1 - most``, and chance does not explain that it is not a half."""
    if not of or 1 - most <= count / of <= most:
        return False
    low, high = share_interval(count, of)
    return low > 0.5 or high < 0.5


def _interval(count: float, of: int) -> str:
    low, high = share_interval(round(count), of)
    return f"95% interval {low:.0%} to {high:.0%}"
