"""Which column is the question and which the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.data.extract import TITLES, Extraction, by_path, propose
from core.data.rows import text_of, turns
from core.dataset import FieldGuess

SAMPLE = 50
"""Rows that are looked at."""


@dataclass(frozen=True)
class _Shape:
    """A pair of column names that is common enough to be known."""

    instruction: str
    response: str
    confidence: float
    context: str = ""
    """A column that belongs to the question."""
    before: bool = True
    """Whether the context stands before the question."""
    path: str = ""
    """Where in the answer's value the reference stands."""


_SHAPES = (
    _Shape("question", "answers", 0.95, context="context", path="text[0]"),
    _Shape("question", "answer", 0.95, context="context"),
    _Shape("question", "answer", 0.95, context="passage"),
    _Shape("instruction", "output", 0.95, context="input", before=False),
    _Shape("instruction", "response", 0.95, context="context"),
    _Shape("question", "answer", 0.95),
    _Shape("problem", "solution", 0.9),
    _Shape("problem", "answer", 0.9),
    _Shape("instruction", "output", 0.9),
    _Shape("instruction", "response", 0.95),
    _Shape("prompt", "completion", 0.9),
    _Shape("prompt", "response", 0.9),
    _Shape("prompt", "answer", 0.9),
    _Shape("prompt", "chosen", 0.7),
    _Shape("question", "response", 0.85),
    _Shape("question", "solution", 0.85),
    _Shape("question", "final_answer", 0.9),
    _Shape("query", "response", 0.85),
    _Shape("query", "answer", 0.85),
    _Shape("input", "output", 0.8),
    _Shape("input", "target", 0.8),
    _Shape("source", "target", 0.7),
    _Shape("text", "label", 0.6),
    _Shape("text", "code", 0.6),
)
_CONVERSATIONS = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat")


def guess_fields(rows: Sequence[Mapping[str, Any]]) -> FieldGuess:
    """The likeliest mapping of some rows' columns.

    Known names come first, then conversations, then what the cells look like: the column with the most
    question marks or the longest text asks, a short one answers.

    >>> guess_fields([{"id": 1, "Question": "2+2?", "Answer": "4"}]).instruction
    'Question'
    """
    rows = rows[:SAMPLE]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        return FieldGuess(instruction=None, response=None, confidence=0.0, why="There are no columns.")
    filled = [name for name in columns if name.strip() and any(text_of(row.get(name)).strip() for row in rows)]
    return _by_name(filled, rows) or _by_conversation(filled, rows) or _by_content(filled, rows)


def _by_name(columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> FieldGuess | None:
    known = {name.strip().casefold(): name for name in columns}
    for shape in sorted(_SHAPES, key=lambda shape: (not shape.context, -shape.confidence)):
        names = {shape.instruction, shape.response} | ({shape.context} if shape.context else set())
        if names <= known.keys():
            return _of_shape(shape, known, rows)
    return None


def _of_shape(shape: _Shape, known: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> FieldGuess:
    question, answer, template = known[shape.instruction], known[shape.response], None
    why = f"The columns are called {question!r} and {answer!r}."
    if shape.context:
        context = known[shape.context]
        order = (context, question) if shape.before else (question, context)
        template = "\n\n".join(f"{{{name}}}" for name in order)
        why = f"The columns are called {question!r}, {context!r} and {answer!r}; the first two make the question."
    rule = Extraction("json_path", shape.path) if shape.path and _has_path(answer, shape.path, rows) else None
    rule = rule or propose(_answer_text(row.get(answer)) for row in rows)
    if rule.rule != "none":
        why += f" The answer is taken out of {answer!r}: {TITLES[rule.rule].lower()} ({rule.pattern or 'by itself'})."
    return FieldGuess(
        instruction=question, response=answer, confidence=shape.confidence, why=why, template=template,
        extraction=rule.rule, pattern=rule.pattern, columns=_further(known),
    )  # fmt: skip


def _has_path(answer: str, path: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(by_path(row.get(answer), path) is not None for row in rows)


def _answer_text(value: Any) -> str:
    talk = turns(value)
    return next((text for role, text in reversed(talk) if role == "assistant"), "") if talk else text_of(value)


_FURTHER = {"tests": ("tests", "test_list", "test", "unit_tests")}
"""What rewards call a column, and what datasets call it."""


def _further(known: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, others in _FURTHER.items():
        column = next((known[other] for other in others if other in known), None)
        if column and column != name:
            found[name] = column
    return found


def _by_conversation(columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> FieldGuess | None:
    columns = list(columns)
    for name in sorted(columns, key=lambda name: name.casefold() not in _CONVERSATIONS):
        found = [turns(row.get(name)) for row in rows]
        if not all(found):
            continue
        why = f"The column {name!r} holds conversations: the last question is asked, the last answer is the reference."
        answered = all(any(role == "assistant" for role, _ in talk) for talk in found if talk)
        return FieldGuess(
            instruction=name, response=name if answered else None, confidence=0.85 if answered else 0.5, why=why
        )
    return None


def _by_content(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> FieldGuess:
    texts = {name: [text_of(row.get(name)).strip() for row in rows] for name in columns}
    speaking = [name for name in columns if any(any(map(str.isalpha, text)) for text in texts[name])]
    if not speaking:
        return FieldGuess(
            instruction=None, response=None, confidence=0.0, why="No column holds text that could be a question."
        )

    def asks(name: str) -> tuple[float, float]:
        return sum(text.endswith("?") for text in texts[name]) / len(rows), sum(map(len, texts[name])) / len(rows)

    question = max(speaking, key=asks)
    rest = [name for name in columns if name != question and not _counts(texts[name])]
    if not rest:
        return FieldGuess(
            instruction=question,
            response=None,
            confidence=0.3,
            why=f"{question!r} reads most like a question; no column looks like its answer.",
        )
    answer = rest[columns.index(question)] if len(rest) > columns.index(question) else rest[-1]
    sure = asks(question)[0] > 0.5
    marks = " (it ends in question marks)" if sure else ""
    return FieldGuess(
        instruction=question,
        response=answer,
        confidence=0.6 if sure else 0.4,
        why=f"{question!r} reads most like a question{marks}, and {answer!r} could be its answer. Please check.",
    )


def _counts(texts: Sequence[str]) -> bool:
    """Whether a column only numbers its rows: 0, 1, 2 … or 1, 2, 3 …"""
    return len(texts) > 1 and any(texts == [str(start + i) for i in range(len(texts))] for start in (0, 1))
