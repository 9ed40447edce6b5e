"""Mapped rows as pages show them: the question, and the answer, both answers of a pair, or an answer and its rating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.data.preferences import unusable_pair
from core.dataset import Shape
from core.differences import Part, marked

HOLDS = {
    Shape.EXAMPLES: "a question and an answer (examples)",
    Shape.PAIRS: "a question, a better and a worse answer (pairs)",
    Shape.RATINGS: "a question, an answer and its rating (ratings)",
}
MOST = 600
"""Characters of a text."""


@dataclass(frozen=True)
class Answer:
    """One answer; ``tag`` is a word about it and its level, such as ('Rated good', 'good')."""

    title: str
    parts: tuple[Part, ...]
    tag: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class MappedRow:
    """One row; ``note`` says why training leaves it out, if it does."""

    question: str
    answers: tuple[Answer, ...]
    note: str = ""

    def json(self) -> dict[str, Any]:
        """JSON data: parts as ``[text, differs]``."""
        return asdict(self)


def mapped_rows(rows: Sequence[Mapping[str, Any]], shape: Shape) -> tuple[MappedRow, ...]:
    """Rows by their mapped names, as from :func:`core.data.rows.map_row`.

    Args:
        shape: Of the mapping: other columns keep their names, which may be those of a pair.
    """
    return tuple(_row(row, shape) for row in rows)


def _row(row: Mapping[str, Any], shape: Shape) -> MappedRow:
    question = _short(str(row.get("instruction") or ""))
    if shape is Shape.PAIRS:
        return _pair(question, row)
    answer = Answer("Answer", (Part(_short(str(row.get("response") or "")) or "No answer found", False),))
    if shape is not Shape.RATINGS:
        return MappedRow(question, (answer,))
    tags = {True: ("Rated good", "good"), False: ("Rated bad", "bad")}
    rated = Answer(answer.title, answer.parts, tags.get(row["label"], ("Rating not readable", "watch")))
    return MappedRow(question, (rated,))


def _pair(question: str, row: Mapping[str, Any]) -> MappedRow:
    better, worse = marked(str(row["chosen"]), str(row["rejected"]), MOST)
    reason = unusable_pair(dict(row))
    empty = (Part("No answer found", False),)
    return MappedRow(
        question,
        (Answer("Better answer", better or empty), Answer("Worse answer", worse or empty)),
        f"Training leaves this row out: {reason}." if reason else "",
    )


def _short(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}…"
