"""From raw rows to mapped rows, and the share that is held out."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from core.config import DatasetSection, EvaluationSection, SourceFields
from core.data.extract import Extraction
from core.data.names import CHOICES, folded
from core.data.nested import decoded
from core.data.transcripts import transcript
from core.dataset import Row
from core.errors import InvalidInput

NO_QUESTION = "the question is empty"
NO_ANSWER = "the answer is empty"
NOT_EXTRACTED = "the rule finds no answer in the answer column"


def text_of(value: Any) -> str:
    """A cell as the model and the rewards read it.

    >>> text_of(None), text_of(7.0), text_of(True), text_of(["a", 1]), text_of({"é": None})
    ('', '7', 'true', '["a", 1]', '{"é": null}')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return json.dumps(value, ensure_ascii=False, default=str)


def plain(value: Any) -> Any:
    """The value with nothing in it that JSON cannot hold: dates and the like become text, NaN becomes null.

    >>> plain({"a": float("nan"), 1: (b"x", 2)})
    {'a': None, '1': ['x', 2]}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def message_text(value: Any) -> str:
    """The text of a message's content, which may be a list of parts as vision models have it."""
    if isinstance(value, list):
        return "".join(text_of(part.get("text")) if isinstance(part, Mapping) else text_of(part) for part in value)
    return text_of(value)


def turns(value: Any) -> list[tuple[str, str]] | None:
    """(role, text) pairs of a cell that holds a conversation, or None where it holds none.

    Reads ``[{"role", "content"}]`` and ShareGPT's ``[{"from", "value"}]``, also as JSON text, and transcripts.

    >>> turns([{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}])
    [('user', '2+2?'), ('assistant', '4')]
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = decoded(value)
    if isinstance(value, str):
        return transcript(value)
    if not isinstance(value, list) or not value or not all(isinstance(turn, Mapping) for turn in value):
        return None
    found = []
    for turn in value:
        role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        if not isinstance(role, str) or content is None:
            return None
        found.append((_ROLES.get(role, role), message_text(content)))
    return found


_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}


def map_row(raw: Mapping[str, Any], dataset: SourceFields) -> Row:
    """One row by its mapped names: ``instruction``, ``response`` and every further column by its own.

    A conversation in the question's column gives its last question; in the answer's, its last answer.
    A column that is itself called ``instruction`` or ``response`` but mapped to nothing is replaced.
    Where a rule takes the answer out of a longer text, ``full_response`` keeps the text for the warm-up.
    """
    mapped = {dataset.instruction_field, dataset.response_field}
    row = {name: value for name, value in raw.items() if name not in mapped}
    row |= {name: raw.get(column) for name, column in dataset.columns.items()}
    row["instruction"] = _question(raw, dataset)
    given = raw.get(dataset.response_field) if dataset.response_field else None
    row["response"] = _cell(given, "assistant")
    if dataset.extraction != "none":
        rule = Extraction(dataset.extraction, dataset.extraction_pattern)
        row["full_response"] = row["response"]
        row["response"] = rule(given if dataset.extraction == "json_path" else row["response"]) or ""
    return row


_COLUMN = re.compile(r"\{([^{}]{1,200})\}")


def _question(raw: Mapping[str, Any], dataset: SourceFields) -> str:
    """The question, put together by the template where there is one; empty without its own column."""
    asked = _cell(raw.get(dataset.instruction_field), "user")
    if not dataset.instruction_template or not asked:
        return asked

    def cell(match: re.Match[str]) -> str:
        name = match[1]
        if name == dataset.instruction_field:
            return asked
        return choices(raw[name], lettered=folded(name) in CHOICES) if name in raw else match[0]

    return _COLUMN.sub(cell, dataset.instruction_template).strip()


def choices(value: Any, *, lettered: bool = False) -> str:
    """A cell inside a question: a list of choices becomes a line each, with a letter where it has no label.

    >>> choices({"text": ["red", "blue"], "label": ["A", "B"]})
    'A) red\\nB) blue'
    >>> choices(["A)125", "B)150"], lettered=True)
    'A)125\\nB)150'
    >>> choices(["red", "blue"], lettered=True)
    'A) red\\nB) blue'
    """
    if isinstance(value, Mapping) and isinstance(value.get("text"), list) and isinstance(value.get("label"), list):
        pairs = zip(value["label"], value["text"], strict=False)
        return "\n".join(f"{text_of(label)}) {text_of(text)}" for label, text in pairs)
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        lines = [text_of(item) for item in value]
        if lettered and len(lines) <= len(ascii_uppercase) and not all(map(_LABELLED.match, lines)):
            lines = [f"{letter}) {line}" for letter, line in zip(ascii_uppercase, lines, strict=False)]
        return "\n".join(lines)
    return _cell(value, "user")


_LABELLED = re.compile(r"\s*[(\[]?[A-Za-z0-9]{1,2}[)\].:]")


def _cell(value: Any, role: str) -> str:
    talk = turns(value)
    if talk is None:
        return text_of(value).strip()
    return next((text for speaker, text in reversed(talk) if speaker == role), "").strip()


def check_columns(columns: Iterable[str], dataset: SourceFields) -> None:
    """Refuse a mapping to a column that is not there.

    Raises:
        InvalidInput: With the field's path and the columns there are.
    """
    known = list(columns)
    wanted = [(field, getattr(dataset, field)) for field in ("instruction_field", "response_field")]
    for field, name in [*wanted, *((f"columns.{name}", column) for name, column in dataset.columns.items())]:
        if name and name not in known:
            raise InvalidInput(
                f"The dataset has no column {name!r}. Its columns are: {', '.join(known) or 'none'}.",
                field=f"dataset.{field}",
            )


def map_rows(rows: Iterable[Mapping[str, Any]], dataset: SourceFields) -> tuple[list[Row], dict[str, int]]:
    """Map every row and leave out those that cannot be asked or scored.

    Args:
        rows: As :func:`core.data.sources.load_rows` gives them. A mixture's rows are mapped already.
        dataset: Its mapping; ``max_samples`` counts rows that are kept.

    Returns:
        The mapped rows, and how many were left out for each reason.

    Raises:
        InvalidInput: A mapped column is not there, or no row is left.
    """
    kept: list[Row] = []
    left_out: Counter[str] = Counter()
    columns: dict[str, None] = {}
    mixed = isinstance(dataset, DatasetSection) and bool(dataset.mix)
    Extraction(dataset.extraction, dataset.extraction_pattern).check()
    for raw in rows:
        columns.update(dict.fromkeys(raw))
        row = dict(raw) if mixed else map_row(raw, dataset)
        reason = None if mixed else _unusable(row, dataset)
        if reason:
            left_out[reason] += 1
        else:
            kept.append(row)
        if len(kept) == dataset.max_samples:
            break
    if not mixed:
        check_columns(columns, dataset)
    if not kept:
        why = "; ".join(f"{count} rows: {reason}" for reason, count in left_out.items()) or "it has no rows"
        raise InvalidInput(
            f"No row of the dataset can be used ({why}). Choose other columns.", field="dataset.instruction_field"
        )
    return kept, dict(left_out)


def _unusable(row: Row, dataset: SourceFields) -> str | None:
    if not row["instruction"]:
        return NO_QUESTION
    if dataset.response_field and not row["response"]:
        # A checker of its own, such as reasoning-gym's, may need no reference.
        if row.get("reasoning_gym"):
            return None
        return NOT_EXTRACTED if row.get("full_response") else NO_ANSWER
    return None


def content_hash(row: Mapping[str, Any]) -> str:
    """Of a mapped row's question and answer: the same row has the same hash in every file and order."""
    text = json.dumps([row["instruction"], row["response"]], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Split:
    """Rows by what they are for; no row, and no two equal rows, are on two sides.

    Attributes:
        train: To train on.
        holdout: To score while training, at most ``max_rows``.
        test: Kept for a test afterwards.
        spare: Held out above ``max_rows``: neither trained on nor scored, so that a dataset that grows
            moves no row across.
    """

    train: list[Row]
    holdout: list[Row]
    test: list[Row]
    spare: list[Row]


def split_rows(rows: list[Row], evaluation: EvaluationSection, seed: int) -> Split:
    """Put every row on its side by its content and the seed alone.

    A row's place is a number from 0 to 1 made of its content. The lowest ones are for the test, those
    above them are held out. Rows that are added later get places of their own and change nobody's side.
    Where no row falls among the held-out ones, as happens with a few dozen rows, the lowest is held out.
    """
    test_below = evaluation.test_fraction
    held_below = test_below + evaluation.holdout_fraction
    sides: dict[str, list[tuple[float, Row]]] = {"train": [], "holdout": [], "test": []}
    for row in rows:
        place = _place(row, seed)
        side = "test" if place < test_below else "holdout" if place < held_below else "train"
        sides[side].append((place, row))
    _not_empty(sides, evaluation)
    limit = sorted(place for place, _ in sides["holdout"])[: evaluation.max_rows]
    scored = set(limit)
    return Split(
        train=[row for _, row in sides["train"]],
        holdout=[row for place, row in sides["holdout"] if place in scored][: evaluation.max_rows],
        test=[row for _, row in sides["test"]],
        spare=[row for place, row in sides["holdout"] if place not in scored],
    )


def _not_empty(sides: dict[str, list[tuple[float, Row]]], evaluation: EvaluationSection) -> None:
    """Move rows where a side that is needed came out empty."""
    if not sides["train"]:
        other = "holdout" if sides["holdout"] else "test"
        last = max((place for place, _ in sides[other]), default=None)
        _move(sides, other, "train", last)
    places = {place for place, _ in sides["train"]}
    if evaluation.holdout_fraction and not sides["holdout"] and len(places) > 1:
        _move(sides, "train", "holdout", min(places))


def _move(sides: dict[str, list[tuple[float, Row]]], source: str, target: str, place: float | None) -> None:
    sides[target] += [pair for pair in sides[source] if pair[0] == place]
    sides[source] = [pair for pair in sides[source] if pair[0] != place]


def _place(row: Row, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{content_hash(row)}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def split_holdout(rows: list[Row], evaluation: EvaluationSection, seed: int) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows to score. See :func:`split_rows`."""
    split = split_rows(rows, evaluation, seed)
    return split.train, split.holdout
