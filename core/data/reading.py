"""Reads the rows of an uploaded file one at a time, each with its line number.

The parsers are the standard library's ``json`` and ``csv`` and Arrow's Parquet reader; this module walks through the
file in constant memory, and reports the line and the reason for every row that is unusable. A row is never larger
than :data:`MAX_ROW`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from core.data.formats import BROKEN_STREAM, Detected, open_bytes
from core.data.nested import TOO_DEEP, too_deep
from core.data.tables import CONTAINERS, CUT, Uneven, is_conversation, rows_in, unwrapped
from core.errors import InvalidInput

MAX_ROW = 1 << 24
"""Characters in one row or cell."""
MAX_COLUMNS = 1000
"""Columns of a row, and of all rows of a dataset together."""
MAX_NAME = 200
"""Characters of a column's name."""
MAX_TABLE = 1 << 26
"""Characters of a JSON value that must be in memory as a whole: a table by columns."""

csv.field_size_limit(MAX_ROW)


@dataclass(frozen=True)
class Bad:
    """An unusable row; ``final`` if nothing after it can be read either."""

    reason: str
    final: bool = False


@dataclass(frozen=True)
class Aside:
    """A remark on the file that is not about a row."""

    words: str


Found = tuple[int, "dict[str, Any] | Bad | Aside"]
"""Line number from 1, and the row, what is wrong with it, or a remark on the file."""


def read_rows(
    path: Path, detected: Detected, *, limit: int, progress: Callable[[int], None] | None = None
) -> Iterator[Found]:
    """Every row of a text format, good or bad.

    Args:
        path: JSON, JSON Lines, CSV or TSV.
        limit: Most bytes after decompression.
        progress: Called with the position in the file periodically.

    Raises:
        TooLarge: More than ``limit`` bytes come out of a compressed file.
    """
    with open_bytes(path, detected.compression, limit=limit, progress=progress) as stream:
        place = [0]
        try:
            for place[0], found in _reader(detected)(stream, detected):
                yield place[0], found
        except (*BROKEN_STREAM, OSError) as error:
            if not isinstance(error, BROKEN_STREAM) and detected.compression == "none":
                raise
            yield (
                place[0] + 1,
                Bad(
                    f"the {detected.compression} file ends here unexpectedly ({error}); nothing after this can be read",
                    final=True,
                ),
            )


def _reader(detected: Detected) -> Callable[[io.BufferedReader, Detected], Iterator[Found]]:
    return {"jsonl": _json_lines, "json": _json, "csv": _table, "tsv": _table}[detected.format]


def parse_line(line: bytes) -> dict[str, Any] | Bad:
    """One line of JSON Lines in UTF-8.

    >>> parse_line(b'[1]')
    Bad(reason='this is a list, not an object like {"question": …}', final=False)
    """
    if len(line) > MAX_ROW:
        return Bad(f"this line is longer than {MAX_ROW // 2**20} MB")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Bad(f"byte {error.start + 1} of this line is not UTF-8")
    return _parse(text)


def _parse(text: str) -> dict[str, Any] | Bad:
    try:
        return check_row(json.loads(text, parse_constant=_no_number))
    except json.JSONDecodeError as error:
        return Bad(f"this line is not valid JSON: {error.msg} at character {error.pos + 1}")
    except RecursionError:
        return Bad(TOO_DEEP)
    except ValueError:
        return Bad("it contains a number that is too long")


def check_row(value: Any) -> dict[str, Any] | Bad:
    """A decoded value as a row, or the reason that it is not one."""
    if not isinstance(value, dict):
        return Bad(f'this is {_kind(value)}, not an object like {{"question": …}}')
    if not value:
        return Bad("the object is empty")
    if len(value) > MAX_COLUMNS:
        return Bad(f"it has {len(value)} fields; the limit is {MAX_COLUMNS}")
    if any(len(name) > MAX_NAME for name in value):
        return Bad(f"a field name is longer than {MAX_NAME} characters")
    if too_deep(value):
        return Bad(TOO_DEEP)
    return value


def whole_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: JSON's ``\\ud800`` escapes allow lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _no_number(_name: str) -> None:
    """NaN and Infinity are not JSON; they become empty cells."""


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _kind(value: Any) -> str:
    names = {
        list: "a list",
        str: "text",
        int: "a number",
        float: "a number",
        bool: "true or false",
        type(None): "null",
    }
    return names.get(type(value), "a value")


# --- JSON Lines ---


def _json_lines(stream: io.BufferedReader, detected: Detected) -> Iterator[Found]:
    if detected.encoding not in {"utf-8", "utf-8-sig"}:
        yield from _other_lines(stream, detected.encoding)
        return
    for number, (raw, _) in enumerate(lines_of(stream), 1):
        line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
        if line.strip():
            yield number, parse_line(line)


def lines_of(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Each line and its size in bytes. Only the beginning of an overlong line is kept."""
    while line := stream.readline(MAX_ROW + 1):
        size = len(line)
        if size > MAX_ROW and not line.endswith(b"\n"):
            while rest := stream.readline(MAX_ROW):
                size += len(rest)
                if rest.endswith(b"\n"):
                    break
        yield line, size


def _other_lines(stream: io.BufferedReader, encoding: str) -> Iterator[Found]:
    for number, line in enumerate(_text_lines(stream, encoding), 1):
        if line.strip():
            yield (
                number,
                (_parse(line) if whole_unicode(line) else Bad(f"it contains a character that is not {encoding}")),
            )


def _text_lines(stream: io.BufferedReader, encoding: str) -> Iterator[str]:
    """Lines in any encoding; an invalid byte becomes a lone surrogate, for which its row is rejected."""
    errors = (
        "surrogateescape"
        if encoding.startswith(("utf-8", "ascii"))
        else "replace"
        if encoding.startswith("utf")
        else "surrogateescape"
    )
    text = io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="")
    number = 0
    while line := text.readline(MAX_ROW):
        number += 1
        if len(line) >= MAX_ROW and not line.endswith(("\n", "\r")):
            raise InvalidInput(
                f"Line {number} is longer than {MAX_ROW // 2**20} MB. This does not look like a text table.",
                field="file",
            )
        yield line


# --- CSV and TSV ---


def _table(stream: io.BufferedReader, detected: Detected) -> Iterator[Found]:
    reader = csv.reader(_text_lines(stream, detected.encoding), delimiter=detected.delimiter or ",", strict=True)
    names: list[str] = []
    for line, cells in _records(reader):
        if isinstance(cells, Bad):
            yield line, cells
        elif not any(cell.strip() for cell in cells):
            continue
        elif not names and detected.heading != "no":
            names = unique(limited(cells))
        elif names and len(cells) != len(names):
            first = "first row" if detected.heading == "no" else "header row"
            yield line, Bad(f"it has {_cells(len(cells))}, but the {first} has {len(names)}")
        elif not all(map(whole_unicode, cells)):
            yield line, Bad(f"it contains a byte that is not {detected.encoding}")
        else:
            names = names or unique(limited([""] * len(cells)))
            yield line, dict(zip(names, cells, strict=True))


def _records(reader: Any) -> Iterator[tuple[int, list[str] | Bad]]:
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            words = "a quotation mark is never closed" if "end of data" in str(error) else str(error)
            yield line, Bad(f"this line is not valid CSV: {words}")


def limited(names: Sequence[str]) -> Sequence[str]:
    """The names, if there are not too many for a table.

    Raises:
        InvalidInput: There are too many.
    """
    if len(names) > MAX_COLUMNS:
        raise InvalidInput(f"The header row has {len(names)} columns; the limit is {MAX_COLUMNS}.", field="file")
    return names


def unique(names: Iterable[Any]) -> list[str]:
    """Column names made nonempty and unique, in linear time.

    >>> unique([" a", "a", "", "b"])
    ['a', 'a (2)', 'column 3', 'b']
    """
    found: dict[str, None] = {}
    counts: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        plain = _name(name) or f"column {place}"
        free = plain
        while free in found:
            # Continues from the last number of this name: starting at 2 each time would be quadratic.
            counts[plain] = counts.get(plain, 1) + 1
            free = f"{plain} ({counts[plain]})"
        found[free] = None
    return list(found)


def _name(name: Any) -> str:
    text = str(name).strip()[:MAX_NAME]
    return "".join(letter if whole_unicode(letter) else "\ufffd" for letter in text).strip()


# --- JSON ---


class _Broken(Exception):
    """The text is not valid JSON from here on."""


class _TooLong(_Broken):
    """It may be JSON but is too long to hold."""


class _Window:
    """A sliding window over a long JSON text: values are decoded one at a time by ``json`` itself."""

    def __init__(self, text: Iterator[str]) -> None:
        self._text = text
        self._buffer = ""
        self._pos = 0
        self._decode = json.JSONDecoder(parse_constant=_no_number).raw_decode
        self.line = 1
        self.seen = 0
        """Characters of the values so far."""

    def peek(self) -> str:
        """The next non-whitespace character, or '' at the end."""
        while True:
            while self._pos < len(self._buffer) and self._buffer[self._pos] in " \t\r\n\ufeff":
                self.take()
            if self._pos < len(self._buffer):
                return self._buffer[self._pos]
            if not self._grow():
                return ""

    def take(self) -> None:
        """Consume one character."""
        self.line += self._buffer[self._pos] == "\n"
        self._pos += 1

    def value(self, most: int | None = None) -> Any:
        """Decode one value of at most :data:`MAX_ROW` characters, or ``most``. Raises _Broken if there is none."""
        most = most or MAX_ROW
        self.peek()
        wanted = 1 << 16
        while True:
            try:
                value, end = self._decode(self._buffer, self._pos)
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated string") or error.pos >= len(self._buffer) - 16
                if not cut_off or not self._grow(wanted):
                    raise _Broken(f"{error.msg}") from None
            except (RecursionError, ValueError) as error:
                raise _Broken("it contains a value that is nested too deeply, or a number that is too long") from error
            else:
                # A number at the window's edge may continue beyond it.
                if end < len(self._buffer) or isinstance(value, dict | list | str) or not self._grow():
                    self.line += self._buffer.count("\n", self._pos, end)
                    self.seen += end - self._pos
                    self._pos = end
                    return value
            wanted = 2 * (len(self._buffer) - self._pos)
            if wanted > 2 * most:
                raise _TooLong(_too_long(most))

    def _grow(self, wanted: int = 1) -> bool:
        self._buffer = self._buffer[self._pos :]
        self._pos = 0
        pieces, size = [self._buffer], len(self._buffer)
        for piece in self._text:
            pieces.append(piece)
            size += len(piece)
            if size >= wanted:
                break
        self._buffer = "".join(pieces)
        return len(pieces) > 1


def _json(stream: io.BufferedReader, detected: Detected) -> Iterator[Found]:
    text = io.TextIOWrapper(stream, encoding=detected.encoding, errors="replace", newline="")
    window = _Window(iter(lambda: text.read(1 << 16), ""))
    first = True
    try:
        while window.peek():
            if window.peek() == "[":
                yield from _list(window)
            elif window.peek() == "{":
                yield from _object(window, first=first)
            else:
                line = window.line
                yield line, check_row(window.value())
            first = False
    except _Broken as error:
        why = "the file ends unexpectedly" if not window.peek() else f"this is not valid JSON: {error}"
        why = str(error) if isinstance(error, _TooLong) else why
        yield window.line, Bad(f"{why}; nothing after this can be read", final=True)


def _elements(window: _Window) -> Iterator[tuple[int, Any]]:
    """Line number and value of each element of a list."""
    window.take()
    closed = window.peek() == "]"
    while not closed:
        window.peek()
        line = window.line
        yield line, window.value()
        if window.peek() not in {",", "]"}:
            raise _Broken("a comma or the end of the list is missing")
        closed = window.peek() == "]"
        if not closed:
            window.take()
    window.take()


def _list(window: _Window) -> Iterator[Found]:
    yield from _rows(_elements(window))


def _rows(elements: Iterable[tuple[int, Any]], names: list[str] | None = None) -> Iterator[Found]:
    """Elements of a list as rows; lists of cells are table rows, possibly with a header."""
    for line, value in elements:
        if is_conversation(value):
            yield line, check_row({"messages": value})
        elif isinstance(value, list) and value:
            names = names or unique(limited([""] * len(value)))
            yield line, _table_row(names, value)
        else:
            yield from ((line, _row_or_cut(row)) for row in unwrapped(value))


def _row_or_cut(row: Any) -> dict[str, Any] | Bad:
    return (
        Bad("Hugging Face's rows service cut off some of its cells; import the dataset itself")
        if row == CUT
        else check_row(row)
    )


def _table_row(names: list[str], cells: list[Any]) -> dict[str, Any] | Bad:
    if len(cells) != len(names):
        return Bad(f"it has {_cells(len(cells))}, but the table has {len(names)} columns")
    return check_row(dict(zip(names, cells, strict=True)))


def _object(window: _Window, *, first: bool) -> Iterator[Found]:
    """One object: its data field has the rows; without one it is a table by columns, or itself a row."""
    line, taken = window.line, ""
    row: dict[str, Any] = {}
    before = window.seen
    window.take()
    while window.peek() != "}":
        name = window.value()
        if not isinstance(name, str) or window.peek() != ":":
            raise _Broken("expected a name and a colon")
        window.take()
        if window.peek() == "[" and name.casefold() in CONTAINERS:
            elements = _elements(window)
            head = list(islice(elements, 1))
            if taken:
                more = len(head) + sum(1 for _ in elements)
                yield window.line, Aside(f"Only the rows under '{taken}' were read. '{name[:80]}' has {more:,} more.")
            elif head and (isinstance(head[0][1], dict) or (isinstance(head[0][1], list) and "columns" in row)):
                taken = name[:80]
                yield from _rows(chain(head, elements), _names(row.get("columns")))
            else:
                row[name] = _held(window, chain(head, elements), before)
        else:
            row[name] = window.value(max(1, MAX_TABLE - (window.seen - before)))
        if window.peek() not in {",", "}"}:
            raise _Broken("a comma or the end of the object is missing")
        if window.peek() == ",":
            window.take()
    window.take()
    if not taken:
        yield from _whole_object(line, row, alone=first and not window.peek())


def _held(window: _Window, elements: Iterable[tuple[int, Any]], before: int) -> list[Any]:
    """Elements that must be in memory all at once, up to the limit of the object that began at ``before``."""
    found = []
    for _, value in elements:
        found.append(value)
        if window.seen - before > MAX_TABLE:
            raise _TooLong(_too_long(MAX_TABLE))
    return found


def _too_long(most: int) -> str:
    return f"a value is longer than {max(1, most >> 20)} MB; save the rows as JSON Lines, one per line"


def _names(columns: Any) -> list[str] | None:
    return unique(limited(columns)) if isinstance(columns, list) else None


def _whole_object(line: int, value: dict[str, Any], *, alone: bool) -> Iterator[Found]:
    """An object without a list of rows."""
    try:
        rows = rows_in(value) if alone and value else None
    except Uneven as error:
        yield line, Bad(f"its columns differ in length ({error})", final=True)
        return
    if rows is not None:
        yield from _rows((line, row) for row in rows)
    elif any(isinstance(cell, str) and len(cell) > MAX_ROW for cell in value.values()):
        yield line, Bad(f"a value is longer than {MAX_ROW // 2**20} MB")
    else:
        yield line, check_row(value)
