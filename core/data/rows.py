"""From raw rows to mapped rows, and the share that is held out."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from core.config import DatasetSection, EvaluationSection
from core.dataset import Row
from core.errors import InvalidInput

NO_QUESTION = "the question is empty"
NO_ANSWER = "the answer is empty"


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

    Reads ``[{"role", "content"}]`` and ShareGPT's ``[{"from", "value"}]``, also as JSON text.

    >>> turns([{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}])
    [('user', '2+2?'), ('assistant', '4')]
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
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


def map_row(raw: Mapping[str, Any], dataset: DatasetSection) -> Row:
    """One row by its mapped names: ``instruction``, ``response`` and every further column by its own.

    A conversation in the question's column gives its last question; in the answer's, its last answer.
    A column that is itself called ``instruction`` or ``response`` but mapped to nothing is replaced.
    """
    mapped = {dataset.instruction_field, dataset.response_field}
    row = {name: value for name, value in raw.items() if name not in mapped}
    row["instruction"] = _cell(raw.get(dataset.instruction_field), "user")
    row["response"] = _cell(raw.get(dataset.response_field), "assistant") if dataset.response_field else ""
    return row


def _cell(value: Any, role: str) -> str:
    talk = turns(value)
    if talk is None:
        return text_of(value).strip()
    return next((text for speaker, text in reversed(talk) if speaker == role), "").strip()


def check_columns(columns: Iterable[str], dataset: DatasetSection) -> None:
    """Refuse a mapping to a column that is not there.

    Raises:
        InvalidInput: With the field's path and the columns there are.
    """
    known = list(columns)
    for field in ("instruction_field", "response_field"):
        name = getattr(dataset, field)
        if name and name not in known:
            raise InvalidInput(
                f"The dataset has no column {name!r}. Its columns are: {', '.join(known) or 'none'}.",
                field=f"dataset.{field}",
            )


def map_rows(rows: Iterable[Mapping[str, Any]], dataset: DatasetSection) -> tuple[list[Row], dict[str, int]]:
    """Map every row and leave out those that cannot be asked or scored.

    Args:
        rows: As :func:`core.data.sources.load_rows` gives them.
        dataset: Its mapping; ``max_samples`` counts rows that are kept.

    Returns:
        The mapped rows, and how many were left out for each reason.

    Raises:
        InvalidInput: A mapped column is not there, or no row is left.
    """
    kept: list[Row] = []
    left_out: Counter[str] = Counter()
    columns: dict[str, None] = {}
    for raw in rows:
        columns.update(dict.fromkeys(raw))
        row = map_row(raw, dataset)
        if not row["instruction"]:
            left_out[NO_QUESTION] += 1
        elif dataset.response_field and not row["response"]:
            left_out[NO_ANSWER] += 1
        else:
            kept.append(row)
        if len(kept) == dataset.max_samples:
            break
    check_columns(columns, dataset)
    if not kept:
        why = "; ".join(f"{count} rows: {reason}" for reason, count in left_out.items()) or "it has no rows"
        raise InvalidInput(
            f"No row of the dataset can be used ({why}). Choose other columns.", field="dataset.instruction_field"
        )
    return kept, dict(left_out)


def content_hash(row: Mapping[str, Any]) -> str:
    """Of a mapped row's question and answer: the same row has the same hash in every file and order."""
    text = json.dumps([row["instruction"], row["response"]], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def split_holdout(rows: list[Row], evaluation: EvaluationSection, seed: int) -> tuple[list[Row], list[Row]]:
    """Set rows aside that are never trained on.

    A row's side depends on its content and the seed alone, not on its place. Equal rows go to the
    same side, so that nothing held out is also trained on.

    Args:
        rows: Mapped rows.
        evaluation: Share and upper limit.
        seed: Another seed holds out other rows.

    Returns:
        Rows to train on and rows held out, each in the order given; at least one to train on.
    """
    wanted = min(int(len(rows) * evaluation.holdout_fraction), evaluation.max_rows)
    if evaluation.holdout_fraction and not wanted and len(rows) > 1:
        wanted = 1
    keys = [hashlib.sha256(f"{seed}:{content_hash(row)}".encode()).hexdigest() for row in rows]
    counts = Counter(keys)
    held: set[str] = set()
    total = 0
    for key in sorted(counts):
        if total + counts[key] <= wanted:
            held.add(key)
            total += counts[key]
        if total >= wanted:
            break
    train = [row for row, key in zip(rows, keys, strict=True) if key not in held]
    return train, [row for row, key in zip(rows, keys, strict=True) if key in held]
