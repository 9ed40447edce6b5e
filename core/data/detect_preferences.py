"""Detects pairs of a better and a worse answer, and ratings of answers, in a dataset's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.config import DatasetSection
from core.data.cells import text_of
from core.data.conversation import Message, read_messages
from core.data.names import QUESTIONS, first_known, folded
from core.data.preferences import full_answer, rating, winner
from core.dataset import FieldGuess

Rows = Sequence[Mapping[str, Any]]

PAIRS = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("better", "worse"),
    ("better_answer", "worse_answer"),
    ("better_response", "worse_response"),
    ("preferred", "dispreferred"),
    ("preferred", "rejected"),
    ("preferred_response", "dispreferred_response"),
    ("preferred_answer", "rejected_answer"),
    ("preferred_output", "non_preferred_output"),
    ("accepted", "rejected"),
    ("winner", "loser"),
    ("good_answer", "bad_answer"),
)
"""Names of the better and the worse answer."""
TWO_ANSWERS = (
    *((f"{name}_{first}", f"{name}_{second}")
      for name in ("response", "answer", "completion", "output")
      for first, second in (("0", "1"), ("1", "2"), ("a", "b"))),
)  # fmt: skip
"""Names that do not say which answer is better: another column has to."""
DECIDERS = ("better_response_id", "better_answer_id", "better", "preferred", "preference", "winner", "chosen")
RATINGS = (
    "label", "rating", "thumb", "thumbs", "thumbs_up", "thumb_up", "feedback", "vote", "upvoted", "liked", "kto_tag",
    "good", "is_good", "desirable", "is_desirable", "acceptable", "accepted",
)  # fmt: skip
_RATED = ("completion", "response", "reply", "answer", "output")
"""Names of answers that a column called label can rate."""
CONTEXTS = (
    ("instruction", "input", "{instruction}\n\n{input}"),
    ("question", "context", "{context}\n\n{question}"),
    ("prompt", "context", "{context}\n\n{prompt}"),
)
"""Questions that two columns form, and their templates."""


def pairs(columns: Sequence[str], rows: Rows, rest: FieldGuess) -> FieldGuess | None:
    """The mapping of rows with a better and a worse answer; None for other rows.

    Args:
        columns: Those that are not empty.
        rows: Some rows.
        rest: The guess without the answers' columns, which may know the question.
    """
    found = _pair(columns, rows)
    if found is None:
        return None
    better, worse = found
    says = f"{better!r} has the better and {worse!r} the worse answers"
    if _holds_the_prompt(better, columns, rows):
        why = f"The columns {better!r} and {worse!r} contain conversations: the last reply is the better or the worse "
        why += "answer, and everything before it is the question."
        return FieldGuess(instruction=better, response=better, rejected=worse, confidence=0.9, why=why)
    named = first_known([name for name in columns if name not in found], QUESTIONS)
    question = named or rest.instruction
    if question is None:
        ask = "Choose the column with the questions."
        return FieldGuess(instruction=None, response=better, rejected=worse, confidence=0.3, why=f"{says}.", ask=ask)
    known = {folded(name): name for name in columns}
    template = next(
        (
            text.replace(f"{{{first}}}", f"{{{known[first]}}}").replace(f"{{{second}}}", f"{{{known[second]}}}")
            for first, second, text in CONTEXTS
            if known.get(first) == question and second in known
        ),
        None,
    )
    sure = bool(named) or all(read_messages(row.get(question)) for row in rows)
    why = f"{says}; {question!r} is the question."
    return FieldGuess(
        instruction=question, response=better, rejected=worse, confidence=0.95 if sure else 0.6, why=why,
        template=template, ask="" if sure else f"Check the columns: is {question!r} the question?",
    )  # fmt: skip


def names_of_pair(columns: Sequence[str], rows: Rows) -> tuple[str, ...]:
    """The columns of a pair's answers; empty if there is none."""
    return _pair(columns, rows) or ()


def rated(guess: FieldGuess, columns: Sequence[str], rows: Rows) -> FieldGuess:
    """The guess with the column that rates its answers, if there is one.

    The labels of a classification are answers, not ratings: only a column beside the answer rates it.
    """
    label, answer = rating_column(columns, rows, besides=(guess.instruction,)), guess.response
    if label is None or guess.rejected or not guess.instruction:
        return guess
    if answer == label:
        left = [name for name in columns if name not in {label, guess.instruction}]
        answer = first_known(left, _RATED)
    if answer is None:
        return guess
    changes = {"response": answer, "label": label, "why": f"{guess.why} {label!r} says whether an answer is good."}
    if answer != guess.response:
        changes["why"] = f"{guess.instruction!r} is the question, and {label!r} says whether {answer!r} is good."
    return guess.model_copy(update=changes)


def rating_column(columns: Sequence[str], rows: Rows, besides: Sequence[str | None] = ()) -> str | None:
    """The column that says of every row whether it is good."""
    return first_known([name for name in columns if name not in besides and _rates(name, rows)], RATINGS)


def undecided(columns: Sequence[str], rows: Rows) -> str:
    """What to do about two answers of which another column says, row by row, which is better; '' for other rows."""
    known = {folded(name): name for name in columns}
    two = next((two for two in TWO_ANSWERS if set(two) <= known.keys()), None)
    decider = next((known[name] for name in DECIDERS if name in known), None)
    if two is None or decider is None or _decided(two, known, rows):
        return ""
    first, second = (known[name] for name in two)
    says = f"Each row has two answers, {first!r} and {second!r}, and {decider!r} says which is better."
    named = DatasetSection(source="x", chosen_field=first, rejected_field=second)
    if all(winner(row.get(decider), named) for row in rows):
        return (
            f"{says} To learn from both, choose a method for pairs, both columns, and {decider!r} as the winner column."
        )
    return (
        f"{says} To learn from both, make one column with the better and one with the worse answers, and upload the "
        "file again."
    )


def _pair(columns: Sequence[str], rows: Rows) -> tuple[str, str] | None:
    known: dict[str, str] = {}
    for name in columns:
        known.setdefault(folded(name), name)
    for better, worse in PAIRS:
        if better in known and worse in known and _answers((known[better], known[worse]), rows):
            return known[better], known[worse]
    for two in TWO_ANSWERS:
        if set(two) <= known.keys() and (order := _decided(two, known, rows)):
            return order
    return None


def _answers(two: tuple[str, str], rows: Rows) -> bool:
    """Whether two columns hold texts or messages that differ: not numbers, and not the position of an answer."""
    cells = [row.get(name) for row in rows for name in two if row.get(name) not in (None, "")]
    if not cells or not all(isinstance(cell, str | list | Mapping) for cell in cells):
        return False
    return any(full_answer(row.get(two[0])) != full_answer(row.get(two[1])) for row in rows)


def _decided(two: tuple[str, str], known: Mapping[str, str], rows: Rows) -> tuple[str, str] | None:
    """The better and the worse of two answers, if a column names the same one as better in every row."""
    decider = next((known[name] for name in DECIDERS if name in known), None)
    first, second = known[two[0]], known[two[1]]
    if decider is None or not _answers((first, second), rows):
        return None
    said = {text_of(row.get(decider)).strip().casefold() for row in rows}
    names = [(folded(name), folded(name).rpartition("_")[2]) for name in (first, second)]
    if len(said) != 1:
        return None
    word = folded(next(iter(said)))
    return (first, second) if word in names[0] else (second, first) if word in names[1] else None


def _holds_the_prompt(better: str, columns: Sequence[str], rows: Rows) -> bool:
    """Whether the better answers are conversations that know more of the prompt than a column with questions."""
    talks = [read_messages(row.get(better)) or () for row in rows if row.get(better)]
    if not talks or not all(_asks(talk) for talk in talks):
        return False
    if first_known([name for name in columns if name != better], QUESTIONS) is None:
        return True
    return any(len(talk) > 2 for talk in talks)


def _asks(talk: Sequence[Message]) -> bool:
    return len(talk) > 1 and talk[-1]["role"] == "assistant" and any(one["role"] == "user" for one in talk)


def _rates(name: str, rows: Rows) -> bool:
    """Whether every cell of a column rates something as good or bad."""
    cells = [row.get(name) for row in rows if row.get(name) not in (None, "")]
    return bool(cells) and all(not isinstance(cell, list | Mapping) and rating(cell) is not None for cell in cells)
