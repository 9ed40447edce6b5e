"""Preferences in rows: pairs of a better and a worse answer, two answers with a winner, and answers with a rating."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.config import SourceFields
from core.data.cells import text_of
from core.data.conversation import answer_in, read_reply, thought_in
from core.dataset import Row, Shape
from core.reward import THOUGHTS

NO_ANSWER = "the answer is empty"
NO_REJECTED = "the worse answer is empty"
NO_RATING = "the rating is neither good nor bad"
RATED_BAD = "the answer is rated bad"
SAME = "both answers are the same"
TIE = "neither answer is better"
NO_WINNER = "the winner column does not say which answer is better"
GOOD = frozenset({"true", "1", "yes", "good", "like", "up", "thumbs-up", "positive", "desirable", "chosen", "👍"})
BAD = frozenset(
    {"false", "0", "-1", "no", "bad", "dislike", "down", "thumbs-down", "negative", "undesirable", "rejected", "👎"}
)
"""Ratings of an answer, in lower case and with hyphens between words."""
FIRST, SECOND, EQUAL = "first", "second", "equal"
_NAMES = {FIRST: ("a", "first", "left"), SECOND: ("b", "second", "right")}
WINNERS = {
    **{name: side for side, names in _NAMES.items() for name in names},
    **{
        f"{what}-{names[0]}": side
        for side, names in _NAMES.items()
        for what in ("model", "response", "answer", "assistant", "completion")
    },
    **dict.fromkeys(("tie", "tie-(bothbad)", "both-bad", "bothbad", "both", "neither", "none", "equal", "same"), EQUAL),
}
"""Which of two answers is better, written like the ratings. Numbers are not here: some datasets count from 0."""


def preference(raw: Mapping[str, Any], dataset: SourceFields) -> Row:
    """What a pair or a rating has besides the reference."""
    if dataset.shape is Shape.PAIRS:
        better, worse = pair_columns(raw, dataset)
        pair = {"chosen": full_answer(raw.get(better)), "rejected": full_answer(raw.get(worse))}
        side = winner(raw.get(dataset.winner_field), dataset) if dataset.winner_field else FIRST
        return pair if side in {FIRST, SECOND} else pair | {"unranked": TIE if side == EQUAL else NO_WINNER}
    if dataset.shape is Shape.RATINGS:
        return {
            "label": rating(raw.get(dataset.label_field)),
            "rated": full_answer(raw.get(dataset.response_field)),
        }
    return {}


def rated_bad(row: Mapping[str, Any]) -> bool:
    """Whether a mapped row has a rating, and it is bad."""
    return "rated" in row and row["label"] is False


def full_answer(cell: Any) -> str:
    """The text of an answer with its reasoning: of a cell with text, or of a conversation's last reply.

    >>> full_answer([{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": " 4"}])
    '4'
    >>> full_answer({"role": "assistant", "content": "4", "reasoning_content": "2 and 2"})
    '<think>\\n2 and 2\\n</think>\\n\\n4'
    """
    messages = read_reply(cell)
    if messages is None:
        return text_of(cell).strip()
    said = next((one for one in reversed(messages) if one["role"] == "assistant"), None)
    if said is None:
        return ""
    answer, thought = answer_in(said).strip(), thought_in(said).strip()
    opens, closes = THOUGHTS[0]
    return f"{opens}\n{thought}\n{closes}\n\n{answer}" if thought else answer


def rating(cell: Any) -> bool | None:
    """Whether an answer is good, or None if the cell does not say.

    >>> rating(1), rating("False"), rating(" thumbs up "), rating(0.5)
    (True, False, True, None)
    """
    text = _plain(cell)
    return True if text in GOOD else False if text in BAD else None


def pair_columns(raw: Mapping[str, Any], dataset: SourceFields) -> tuple[str, str]:
    """The columns of a row's better and worse answer. Without a winner, as they are named."""
    named = (dataset.chosen_field, dataset.rejected_field)
    second = bool(dataset.winner_field) and winner(raw.get(dataset.winner_field), dataset) == SECOND
    return (named[1], named[0]) if second else named


def winner(cell: Any, dataset: SourceFields) -> str | None:
    """Which answer is better: :data:`FIRST`, :data:`SECOND`, :data:`EQUAL`, or None if the cell does not say.

    A cell may also name one of the two columns.
    """
    text = _plain(cell)
    columns = {_plain(dataset.chosen_field): FIRST, _plain(dataset.rejected_field): SECOND}
    return columns.get(text) or WINNERS.get(text)


def _plain(cell: Any) -> str:
    return "-".join(text_of(cell).casefold().replace("_", " ").split())


def unusable_pair(row: Row) -> str | None:
    """Why a pair cannot be learned from, or None."""
    if "unranked" in row:
        return str(row["unranked"])
    if not row["chosen"]:
        return NO_ANSWER
    if not row["rejected"]:
        return NO_REJECTED
    return SAME if row["chosen"] == row["rejected"] else None
