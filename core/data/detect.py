"""Detects which column is the question and which the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.data import detect_preferences as preferences
from core.data.cells import text_of
from core.data.extract import TITLES, Extraction, by_path, propose
from core.data.names import ANSWERS, CHOICES, QUESTIONS, first_known, folded, never_answer
from core.data.rows import turns
from core.data.tables import is_conversation
from core.dataset import FieldGuess

SAMPLE = 50
"""Rows that are examined."""
Rows = Sequence[Mapping[str, Any]]
CHOOSE = "Choose the column with the correct answers."


@dataclass(frozen=True)
class _Shape:
    """A well-known pair of column names."""

    instruction: str
    response: str
    confidence: float
    context: str = ""
    """A column that belongs to the question."""
    before: bool = True
    """Whether the context comes before the question."""
    path: str = ""
    """Path of the reference in the answer's value; the shape does not match if nothing is there."""


_SHAPES = (
    _Shape("question", "answers", 0.95, context="context", path="text[0]"),
    _Shape("question", "answers", 0.95, context="context", path="[0].text"),
    _Shape("question", "answer", 0.95, context="context"),
    _Shape("question", "answer", 0.95, context="passage"),
    _Shape("question", "answer", 0.95, context="article"),
    _Shape("question", "correct_answer", 0.95, context="support"),
    _Shape("instruction", "output", 0.95, context="input", before=False),
    _Shape("instruction", "response", 0.95, context="context"),
    _Shape("prompt", "reward_model", 0.95, path="ground_truth"),
    _Shape("question", "answer", 0.95),
    _Shape("problem", "answer", 0.95),
    _Shape("problem", "solution", 0.9),
    _Shape("instruction", "response", 0.95),
    _Shape("instruction", "output", 0.9),
    _Shape("prompt", "canonical_solution", 0.9),
    _Shape("prompt", "completion", 0.9),
    _Shape("prompt", "answer", 0.9),
    _Shape("prompt", "response", 0.9),
    _Shape("prompt", "chosen", 0.8),
    _Shape("question", "response", 0.85),
    _Shape("input", "output", 0.8),
    _Shape("text", "label", 0.6),
    _Shape("text", "code", 0.8),
    _Shape("prompt", "code", 0.8),
    _Shape("source", "target", 0.7),
)
_CONVERSATIONS = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "chosen", "prompt")
_LETTERS = (
    ("a", "b", "c", "d", "e"),
    *(tuple(f"{name}{letter}" for letter in "abcde") for name in ("option_", "op", "choice_")),
)
"""One column for each choice: A, B, C, D or option_a, …"""


def guess_fields(rows: Rows) -> FieldGuess:
    """The most likely mapping of some rows' columns.

    Tries published shapes, known names, conversations, then the cells' content: the column with the most question
    marks or the longest text is the question. If several columns could be the answer, none is chosen and ``ask`` says
    what the user has to choose. Pairs and ratings of answers are recognized by the names of their columns, and only if
    the cells are answers and ratings.

    >>> guess_fields([{"id": 1, "Question": "2+2?", "Answer": "4"}]).instruction
    'Question'
    >>> guess_fields([{"question": "2+2?", "thinking": "Two and two.", "correct_answer": "4"}]).response
    'correct_answer'
    """
    rows = rows[:SAMPLE]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        return FieldGuess(instruction=None, response=None, confidence=0.0, why="There are no columns.")
    filled = [name for name in columns if name.strip() and any(text_of(row.get(name)).strip() for row in rows)]
    two = preferences.names_of_pair(filled, rows)
    found = preferences.pairs(filled, rows, _of_columns([name for name in filled if name not in two], rows))
    return found or _with_choices(_answered(filled, rows), filled, rows)


def _answered(columns: Sequence[str], rows: Rows) -> FieldGuess:
    """Question and answer, and the rating of the answer if there is one."""
    found = _of_columns(columns, rows)
    rating = preferences.rating_column(columns, rows)
    if found.response is None and rating:
        # It is not one of the columns that could be the answer.
        found = _of_columns([name for name in columns if name != rating], rows)
    if found.response is None and (words := preferences.undecided(columns, rows)):
        found = found.model_copy(update={"ask": words})
    return preferences.rated(found, columns, rows)


def _of_columns(columns: Sequence[str], rows: Rows) -> FieldGuess:
    return (
        _by_shape(columns, rows)
        or _by_conversation(columns, rows)
        or _by_name(columns, rows)
        or _by_content(columns, rows)
    )


def _by_shape(columns: Sequence[str], rows: Rows) -> FieldGuess | None:
    known: dict[str, str] = {}
    for name in columns:
        known.setdefault(folded(name), name)
    for shape in sorted(_SHAPES, key=lambda shape: (not (shape.context or shape.path), -shape.confidence)):
        names = {shape.instruction, shape.response} | ({shape.context} if shape.context else set())
        if names <= known.keys() and (not shape.path or _has_path(known[shape.response], shape.path, rows)):
            return _of_shape(shape, known, rows)
    return None


def _of_shape(shape: _Shape, known: Mapping[str, str], rows: Rows) -> FieldGuess:
    question, answer, template = known[shape.instruction], known[shape.response], None
    why = f"The columns are named {question!r} and {answer!r}."
    if shape.context:
        context = known[shape.context]
        order = (context, question) if shape.before else (question, context)
        template = "\n\n".join(f"{{{name}}}" for name in order)
        why = f"The columns are named {question!r}, {context!r} and {answer!r}. The first two form the question."
    guess = FieldGuess(
        instruction=question, response=answer, confidence=shape.confidence, why=why, template=template,
        columns=_further(known),
    )  # fmt: skip
    return _with_rule(guess, rows, shape.path)


def _with_rule(guess: FieldGuess, rows: Rows, path: str = "") -> FieldGuess:
    """With the rule that extracts the reference from the answer column, if its cells suggest one."""
    answer = guess.response or ""
    rule = Extraction("json_path", path) if path else propose(_answer_text(row.get(answer)) for row in rows)
    if rule.rule == "none":
        return guess
    why = f" The answer is extracted from {answer!r}: {_rule_words(rule)}."
    return guess.model_copy(update={"extraction": rule.rule, "pattern": rule.pattern, "why": guess.why + why})


def _rule_words(rule: Extraction) -> str:
    title = TITLES[rule.rule].partition(", such as")[0]
    return f"{title[0].lower()}{title[1:]}" + (f" ({rule.pattern})" if rule.pattern else "")


def _has_path(answer: str, path: str, rows: Rows) -> bool:
    return any(by_path(row.get(answer), path) is not None for row in rows)


def _answer_text(value: Any) -> str:
    talk = turns(value)
    return next((text for role, text in reversed(talk) if role == "assistant"), "") if talk else text_of(value)


_FURTHER = {"tests": ("tests", "test_list", "test", "unit_tests")}
"""Column names in rewards, and their names in datasets."""


def _further(known: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, others in _FURTHER.items():
        column = next((known[other] for other in others if other in known), None)
        if column and column != name:
            found[name] = column
    return found


def _by_name(columns: Sequence[str], rows: Rows) -> FieldGuess | None:
    """Columns with usual names for a question and an answer."""
    question = first_known(columns, QUESTIONS)
    answer = first_known([name for name in columns if name != question], ANSWERS)
    if not question or not answer:
        return None
    why = f"The columns are named {question!r} and {answer!r}."
    guess = FieldGuess(
        instruction=question, response=answer, confidence=0.85, why=why, columns=_further(_known(columns))
    )
    path = next((path for path in ("text[0]", "[0]") if _all_have_path(answer, path, rows)), "")
    return _with_rule(guess, rows, path)


def _known(columns: Sequence[str]) -> dict[str, str]:
    return {folded(name): name for name in columns}


def _all_have_path(answer: str, path: str, rows: Rows) -> bool:
    held = [row[answer] for row in rows if row.get(answer) not in (None, "")]
    return all(not isinstance(cell, str) and by_path(cell, path) is not None for cell in held)


def _by_conversation(columns: Sequence[str], rows: Rows) -> FieldGuess | None:
    for name in sorted(columns, key=lambda name: _rank(folded(name), _CONVERSATIONS)):
        talks = [row.get(name) for row in rows]
        if all(_talk(cell) for cell in talks):
            return _of_conversation(name, columns, rows)
    return None


def _talk(cell: Any) -> bool:
    return is_conversation(cell) or bool(turns(cell))


def _rank(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def _of_conversation(name: str, columns: Sequence[str], rows: Rows) -> FieldGuess:
    """A conversation is the question; its last turn is the answer, or another column if it ends with a question."""
    roles = [[role for role, _ in turns(row.get(name)) or ()] for row in rows]
    readable = [role for role in roles if role]
    ends = [role[-1] == "assistant" for role in readable]
    why = f"The column {name!r} contains conversations"
    other = first_known([column for column in columns if column != name], ANSWERS)
    if readable and not any(ends) and other:
        guess = FieldGuess(
            instruction=name,
            response=other,
            confidence=0.85,
            why=f"{why} that end with a question; {other!r} answers it.",
        )
        return _with_rule(guess, rows)
    if not readable or any("assistant" in role for role in readable):
        sure = 0.85 if readable and all(ends) else 0.6
        return FieldGuess(
            instruction=name, response=name, confidence=sure,
            why=f"{why}: the last reply is the correct answer, and everything before it is the question.",
        )  # fmt: skip
    return FieldGuess(instruction=name, response=None, confidence=0.5, why=f"{why} without a reply.", ask=CHOOSE)


def _by_content(columns: Sequence[str], rows: Rows) -> FieldGuess:
    texts = {name: [text_of(row.get(name)).strip() for row in rows] for name in columns}
    speaking = [name for name in columns if any(any(map(str.isalpha, text)) for text in texts[name])]
    if not speaking:
        return FieldGuess(
            instruction=None, response=None, confidence=0.0, why="No column contains text that could be a question."
        )

    def asks(name: str) -> tuple[float, float]:
        return sum(text.endswith("?") for text in texts[name]) / len(rows), sum(map(len, texts[name])) / len(rows)

    answer = first_known(columns, ANSWERS)
    open_to = [name for name in speaking if name != answer and not never_answer(name)]
    open_to = open_to or [name for name in speaking if name != answer] or speaking
    question = first_known(open_to, QUESTIONS) or max(open_to, key=asks)
    why = f"{question!r} looks most like the question"
    if answer and answer != question:
        why = f"{why}, and {answer!r} is named like an answer."
        return _with_rule(FieldGuess(instruction=question, response=answer, confidence=0.7, why=why), rows)
    rest = [name for name in columns if name != question and not _counts(texts[name]) and not never_answer(name)]
    return _of_rest(question, rest, why, sure=asks(question)[0] > 0.5)


def _of_rest(question: str, rest: Sequence[str], why: str, *, sure: bool) -> FieldGuess:
    """The only remaining column is the answer; if there are several or none, the user chooses."""
    if not rest:
        return FieldGuess(
            instruction=question,
            response=None,
            confidence=0.3,
            why=f"{why}; no column looks like the answer.",
            ask=CHOOSE,
            text=question,
        )
    if len(rest) > 1:
        names = ", ".join(map(repr, rest[:6])) + (" or others" if len(rest) > 6 else "")
        return FieldGuess(
            instruction=question,
            response=None,
            confidence=0.3,
            why=f"{why}; the answer could be in {names}.",
            ask=CHOOSE,
        )
    marks = " (its cells end with question marks)" if sure else ""
    return FieldGuess(
        instruction=question, response=rest[0], confidence=0.6 if sure else 0.4,
        why=f"{why}{marks}, and {rest[0]!r} could be the answer.",
        ask=f"Check the columns: is {question!r} the question and {rest[0]!r} the answer?",
    )  # fmt: skip


def _counts(texts: Sequence[str]) -> bool:
    """Whether a column just numbers the rows: 0, 1, 2 … or 1, 2, 3 …"""
    return len(texts) > 1 and any(texts == [str(start + i) for i in range(len(texts))] for start in (0, 1))


def _with_choices(guess: FieldGuess, columns: Sequence[str], rows: Rows) -> FieldGuess:
    """With the choices below the question, if they have columns and the question does not contain them."""
    question = guess.instruction
    if not question or guess.template:
        return guess
    name = first_known([name for name in columns if name not in {question, guess.response}], CHOICES)
    if (
        name
        and all(_lists_choices(row.get(name)) for row in rows if row.get(name))
        and not _within(question, name, rows)
    ):
        further = {} if folded(name) in CHOICES[:2] else {"choices": name}
        return guess.model_copy(update={
            "template": f"{{{question}}}\n\n{{{name}}}", "columns": guess.columns | further,
            "why": f"{guess.why} The choices in {name!r} are shown below the question.",
        })  # fmt: skip
    known = _known(columns)
    lettered = next((names for names in _LETTERS if set(names[:3]) <= known.keys()), None)
    if lettered:
        lines = [f"{letter}) {{{known[one]}}}" for letter, one in zip("ABCDE", lettered, strict=True) if one in known]
        return guess.model_copy(update={
            "template": "\n".join([f"{{{question}}}\n", *lines]),
            "why": f"{guess.why} The choices are shown below the question.",
        })  # fmt: skip
    return guess


def _lists_choices(cell: Any) -> bool:
    return isinstance(cell, list) or (isinstance(cell, Mapping) and isinstance(cell.get("text"), list))


def _within(question: str, name: str, rows: Rows) -> bool:
    """Whether the question's text already contains its choices."""
    row = next((row for row in rows if row.get(name)), {})
    cell = row.get(name)
    texts = cell.get("text") if isinstance(cell, Mapping) else cell
    return all(text_of(text) in text_of(row.get(question)) for text in texts or ())
