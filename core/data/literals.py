"""Lists and objects in the cells of CSV and TSV files: as JSON, or as Python and numpy print them.

This is decided per column: every filled cell can be parsed, or all stay text.
Nothing is evaluated: a small parser reads the text once, with limits on length and depth.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from core.data.nested import MAX_DEPTH, decoded, too_deep
from core.text import whole

LONGEST = 1 << 20
"""Longest cell that is parsed, in characters."""
_STRING = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_WORDS = {"None": None, "null": None, "nan": None, "True": True, "true": True, "False": False, "false": False}
_WORD = re.compile(r"[A-Za-z]+")
_GAP = re.compile(r"\s*")
_DTYPE = re.compile(r"\s*,\s*dtype=[\w<>'|]+\s*\)|\s*\)")
_CLOSES = {"[": "]", "(": ")", "{": "}"}


class _NoLiteral(Exception):
    """The text is not a literal."""


def structured(cell: str) -> list[Any] | dict[str, Any] | None:
    r"""The list or object in a cell's text, or None if it is plain text.

    >>> structured('["a", 1]'), structured("['a', 'it\\'s']"), structured("['a' 'b']"), structured("[see below]")
    (['a', 1], ['a', "it's"], ['a', 'b'], None)
    >>> structured(r'["\ud800"]'), structured(r'["\u00e9"]')
    (None, ['é'])
    >>> structured("{'text': array(['x', 'y'], dtype=object), 'label': array(['A', 'B'], dtype=object)}")
    {'text': ['x', 'y'], 'label': ['A', 'B']}
    """
    text = cell.strip()
    if len(text) > LONGEST or not text or _CLOSES.get(text[0]) != text[-1] or text[0] == "(":
        return None
    value = decoded(text)
    if not isinstance(value, list | dict):
        try:
            value, end = _value(text, 0, 0)
        except (_NoLiteral, ValueError, SyntaxError):
            return None
        if end != len(text) or too_deep(value):
            return None
    # Escapes can spell a lone surrogate, which UTF-8 cannot encode: then the cell stays text.
    spelled = json.dumps(value, ensure_ascii=False) if "\\" in text else ""
    return value if whole(spelled) == spelled else None


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at a position, and where it ends."""
    if depth > MAX_DEPTH or at >= len(text):
        raise _NoLiteral
    if text[at] in "[(":
        return _items(text, at, depth)
    if text[at] == "{":
        return _pairs(text, at, depth)
    if match := _STRING.match(text, at):
        return ast.literal_eval(match[0]), match.end()
    if match := _NUMBER.match(text, at):
        return _int_or_float(match[0]), match.end()
    return _word(text, at, depth)


def _int_or_float(text: str) -> float:
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _word(text: str, at: int, depth: int) -> tuple[Any, int]:
    match = _WORD.match(text, at)
    if match and match[0] in _WORDS:
        return _WORDS[match[0]], match.end()
    if match and match[0] == "array" and text.startswith("(", match.end()):
        value, end = _value(text, match.end() + 1, depth + 1)
        if closed := _DTYPE.match(text, end):
            return value, closed.end()
    raise _NoLiteral


def _items(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    """A list; numpy writes white space where Python writes commas."""
    closes, found, at = _CLOSES[text[at]], [], _skip(text, at + 1)
    while not text.startswith(closes, at):
        item, end = _value(text, at, depth + 1)
        found.append(item)
        at = _skip(text, end)
        if text.startswith(",", at):
            at = _skip(text, at + 1)
        elif at == end and not text.startswith(closes, at):
            raise _NoLiteral
    return found, at + 1


def _pairs(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _skip(text, at + 1)
    while not text.startswith("}", at):
        name, at = _value(text, at, depth + 1)
        at = _skip(text, at)
        if not isinstance(name, str | int | float) or not text.startswith(":", at):
            raise _NoLiteral
        found[str(name)], at = _value(text, _skip(text, at + 1), depth + 1)
        at = _skip(text, at)
        if text.startswith(",", at):
            at = _skip(text, at + 1)
        elif not text.startswith("}", at):
            raise _NoLiteral
    return found, at + 1


def _skip(text: str, at: int) -> int:
    match = _GAP.match(text, at)
    return match.end() if match else at


class StructuredColumns:
    """Which columns of a CSV or TSV file hold lists or objects in every filled cell.

    A single plain-text cell anywhere makes the whole column text.
    """

    def __init__(self) -> None:
        self._ruled_out: set[str] = set()
        self._held: set[str] = set()

    def see(self, row: Mapping[str, Any]) -> None:
        for name, cell in row.items():
            if name in self._ruled_out or not isinstance(cell, str) or not cell.strip():
                continue
            if structured(cell) is None:
                self._ruled_out.add(name)
            else:
                self._held.add(name)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._held - self._ruled_out)


def converted(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """A row with these columns parsed into lists and objects; empty cells become None."""
    return dict(row) | {name: structured(row[name]) for name in names if isinstance(row.get(name), str)}
