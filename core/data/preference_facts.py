"""Counts over the pairs and ratings of a dataset, for the checks before a start and the dataset's report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from core.config import DatasetSection
from core.data.preferences import FIRST, winner
from core.data.rows import asked_text
from core.dataset import Row, Shape
from core.preferences import Preferences
from core.text import excerpt


def preferences_of(
    rows: Sequence[Row], dataset: DatasetSection, left_out: Mapping[str, int], *, whole: bool = True
) -> Preferences | None:
    """The counts, or None if the dataset has neither pairs nor ratings.

    Args:
        rows: Mapped rows.
        dataset: Their section.
        left_out: Rows that could not be used, by reason.
        whole: Whether these are all rows.
    """
    shapes = {part.shape for part in dataset.mix or (dataset,)}
    if shapes == {Shape.EXAMPLES}:
        return None
    rated = [row for row in rows if "rated" in row]
    pairs = [row for row in rows if Shape.PAIRS in shapes and "rated" not in row and "rejected" in row]
    lengths = [len(row["chosen"]) - len(row["rejected"]) for row in pairs]
    against = _contradictory(pairs, rated)
    sides = [winner(row.get(dataset.winner_field), dataset) for row in pairs] if dataset.winner_field else []
    firsts = sum(side == FIRST for side in sides)
    good = sum(row["label"] is True for row in rated)
    return Preferences(
        whole=whole,
        pairs=len(pairs),
        longer=sum(more > 0 for more in lengths),
        shorter=sum(more < 0 for more in lengths),
        good=good,
        bad=len(rated) - good,
        contradictory=len(against),
        contradiction=excerpt(str(against[0]["instruction"])) if against else "",
        first=firsts,
        second=len(sides) - firsts,
        left_out=dict(left_out),
    )


def _contradictory(pairs: Sequence[Row], rated: Sequence[Row]) -> list[Row]:
    """Rows that another row contradicts, in their order."""
    said: dict[tuple[str, ...], set[str | bool]] = defaultdict(set)
    keyed = [(row, (asked_text(row), *sorted((row["chosen"], row["rejected"]))), row["chosen"]) for row in pairs]
    keyed += [(row, (asked_text(row), row["rated"]), row["label"]) for row in rated]
    for _, key, choice in keyed:
        said[key].add(choice)
    return [row for row, key, _ in keyed if len(said[key]) > 1]
