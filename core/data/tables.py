"""Rows in a JSON object instead of a list: the layouts in which tables are written as one object.

pandas' ``to_json`` writes by columns by default, dictionaries of lists are usual in Python, and Hugging Face's rows
API wraps each row. They are recognized by their structure, never by a file's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.data.names import known_question
from core.data.nested import decoded

CONTAINERS = frozenset(
    {
        "data",
        "rows",
        "examples",
        "train",
        "items",
        "records",
        "instances",
        "dataset",
        "samples",
        "questions",
        "results",
        "entries",
        "test",
        "validation",
    }
)
"""Fields whose list has the rows of a file with one object."""
CUT = "cut"
"""Stands for a row that Hugging Face's rows API truncated."""
_SERVICE = {"row_idx", "row", "truncated_cells"}


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of messages with roles, or such a list as JSON text.

    >>> is_conversation([{"role": "assistant", "content": None, "tool_calls": []}]), is_conversation([{"text": "a"}])
    (True, False)
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = decoded(value)
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, Mapping) and isinstance(turn.get("role", turn.get("from")), str) for turn in value)
    )


class Uneven(ValueError):
    """Columns of different lengths; the text names them."""


def rows_in(value: Mapping[str, Any]) -> list[Any] | None:
    """The rows of the only object in a file, or None if it is itself a row.

    Raises:
        Uneven: It is a table whose columns differ in length.

    >>> rows_in({"question": ["a?", "b?"], "answer": ["1", "2"]})
    [{'question': 'a?', 'answer': '1'}, {'question': 'b?', 'answer': '2'}]
    >>> rows_in({"question": {"0": "a?", "1": "b?"}, "answer": {"0": "1", "1": "2"}}) == _
    True
    >>> rows_in({"q1": {"question": "a?", "answer": "1"}, "q2": {"question": "b?", "answer": "2"}})[1]
    {'id': 'q2', 'question': 'b?', 'answer': '2'}
    >>> rows_in({"columns": ["question", "answer"], "data": [["a?", "1"]]})
    [{'question': 'a?', 'answer': '1'}]
    >>> rows_in({"version": 2, "train": {"question": ["a?"], "answer": ["1"]}})
    [{'question': 'a?', 'answer': '1'}]
    >>> rows_in({"question": "a?", "choices": ["1", "2"], "answer": "1"}) is None
    True
    """
    if _is_split(value):
        return list(table_rows(value["columns"], value["data"]))
    cells = list(value.values())
    if all(isinstance(cell, list) for cell in cells):
        return _from_lists(value)
    if all(isinstance(cell, Mapping) and cell for cell in cells):
        return _from_objects(value)
    return _wrapped(value)


def _is_split(value: Mapping[str, Any]) -> bool:
    """Whether it is in pandas' ``orient="split"`` layout."""
    names, rows = value.get("columns"), value.get("data")
    return isinstance(names, list) and isinstance(rows, list) and all(isinstance(row, list) for row in rows)


def table_rows(names: Sequence[Any], rows: Sequence[Any]) -> Iterator[Any]:
    """Lists of cells as rows; one of another width is returned unchanged, for the reader to reject."""
    for cells in rows:
        fits = isinstance(cells, list) and len(cells) == len(names)
        yield dict(zip(map(str, names), cells, strict=True)) if fits else cells


def _from_lists(value: Mapping[str, list[Any]]) -> list[Any] | None:
    if any(is_conversation(cell) for cell in value.values()):
        return None  # a conversation is one row, possibly with its tools
    lengths = {name: len(cell) for name, cell in value.items()}
    name, only = next(iter(value.items()))
    if len(value) == 1 and (name.casefold() in CONTAINERS or all(isinstance(item, Mapping) for item in only)):
        return only
    if len(set(lengths.values())) > 1:
        raise Uneven(", ".join(f"{name} {length:,}" for name, length in list(lengths.items())[:10]))
    return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]


def _from_objects(value: Mapping[str, Mapping[str, Any]]) -> list[Any] | None:
    """Objects of objects: by columns if the inner keys are row numbers, else one row per key."""
    inner = list(next(iter(value.values())))
    if _numbers(inner) and not _numbers(list(value)):
        return [{name: column.get(key) for name, column in value.items()} for key in inner]
    if len(value) < 2 or not all(set(inner) & row.keys() for row in value.values()):
        return _wrapped(value)
    if _numbers(list(value)):
        return list(value.values())
    return [({} if "id" in row else {"id": key}) | dict(row) for key, row in value.items()]


def _numbers(names: Sequence[str]) -> bool:
    return all(name.isdecimal() for name in names)


def _wrapped(value: Mapping[str, Any]) -> list[Any] | None:
    """The table in the only field with one, next to a version, a license and the like."""
    inside = [cell for name, cell in value.items() if isinstance(cell, Mapping) and name.casefold() in CONTAINERS]
    lists = [cell for cell in value.values() if isinstance(cell, list)]
    if len(inside) == 1 and not lists:
        return rows_in(inside[0])
    objects = len(lists) == 1 and len(lists[0]) > 1 and all(isinstance(item, Mapping) for item in lists[0])
    if objects and not is_conversation(lists[0]) and not known_question(value) and known_question(lists[0][0]):
        return lists[0]
    return None


def unwrapped(value: Any) -> Iterator[Any]:
    """The rows in one element of a list: itself, inside the wrapper of Hugging Face's rows API, or in SQuAD's
    paragraphs.

    >>> list(unwrapped({"row_idx": 0, "row": {"question": "a?"}, "truncated_cells": []}))
    [{'question': 'a?'}]
    >>> list(unwrapped({"title": "T", "paragraphs": [{"context": "C.", "qas": [{"question": "a?", "id": "1"}]}]}))
    [{'title': 'T', 'context': 'C.', 'question': 'a?', 'id': '1'}]
    """
    if isinstance(value, Mapping) and value.keys() <= _SERVICE and isinstance(value.get("row"), Mapping):
        yield CUT if value.get("truncated_cells") else value["row"]
    elif isinstance(value, Mapping) and _is_article(value):
        rest = {name: cell for name, cell in value.items() if name != "paragraphs"}
        for paragraph in value["paragraphs"]:
            above = rest | {name: cell for name, cell in paragraph.items() if name != "qas"}
            yield from (above | asked for asked in paragraph["qas"])
    else:
        yield value


def _is_article(value: Mapping[str, Any]) -> bool:
    """SQuAD's original format: an article with paragraphs, each with its questions."""
    paragraphs = value.get("paragraphs")
    return (
        isinstance(paragraphs, list)
        and bool(paragraphs)
        and all(
            isinstance(one, Mapping)
            and isinstance(one.get("qas"), list)
            and all(isinstance(asked, Mapping) for asked in one["qas"])
            for one in paragraphs
        )
    )
