"""Reading strangers' files: JSON lines, CSV and JSON lists, row by row, in memory that does not grow.

Nothing here holds more than one row and a buffer of the same order. Every refusal names the line.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import math
from collections.abc import Iterator
from typing import IO, Any, Literal, NoReturn

from core.errors import InvalidInput, TooLarge

Format = Literal["jsonl", "csv", "json"]
Record = tuple[int, dict[str, Any], bytes | None]
"""Line number (in a JSON list: number of the item), the row, and its own JSON bytes where they can be kept."""

MAX_ROW = 8 * 1024 * 1024
"""Bytes. A row that is longer is not text for a language model, and would have to fit in memory several times."""
MAX_COLUMNS = 1000
_CHUNK = 1 << 16
_DELIMITERS = (",", "\t", ";", "|")
_FOREIGN = (
    (b"\x1f\x8b", "It is compressed with gzip. Unpack it first."),
    (b"PK\x03\x04", "It is a zip archive or a spreadsheet. Unpack it, or save the sheet as CSV."),
    (b"\x28\xb5\x2f\xfd", "It is compressed with zstd. Unpack it first."),
    (b"PAR1", "It is a Parquet file. Save it as JSONL or CSV."),
    (b"\xff\xfe", "It is written in UTF-16. Save it as UTF-8."),
    (b"\xfe\xff", "It is written in UTF-16. Save it as UTF-8."),
)


class Source:
    """Bytes as they arrive: counted, hashed, held to a limit, and cut into lines.

    Args:
        stream: A binary file or request body; read once, forwards.
        limit: Most bytes.

    Raises:
        TooLarge: While reading, when the limit is passed.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._hash = hashlib.sha256()
        self.size = 0
        self.line = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def read(self, size: int) -> bytes:
        return self._seen(self._stream.read(size))

    def readline(self) -> bytes:
        """The next line with its end, at most one byte more than a row may have; empty at the end."""
        line = self._seen(self._stream.readline(MAX_ROW + 1))
        self.line += bool(line)
        return line

    def _seen(self, data: bytes) -> bytes:
        self.size += len(data)
        if self.size > self._limit:
            raise TooLarge(
                f"The file is larger than {self._limit / 1024**3:.3g} GiB, the limit of this server. Nothing was kept. "
                "Upload a part of it, or raise MAX_UPLOAD_GB."
            )
        self._hash.update(data)
        return data


def records(source: Source, name: str) -> tuple[Format, Iterator[Record]]:
    """Find a file's format and read its rows.

    Args:
        source: At its beginning.
        name: The file's name, for its ending only.

    Returns:
        The format and the rows as they are read.

    Raises:
        InvalidInput: Here or while iterating: what is wrong, and on which line.
    """
    first = source.readline()
    while first and not first.removeprefix(codecs.BOM_UTF8).strip():
        first = source.readline()
    if not first:
        raise InvalidInput(
            "The file is empty. Choose a file with at least one row."
            if not source.size
            else "The file holds only blank lines."
        )
    for magic, words in _FOREIGN:
        if first.startswith(magic):
            raise InvalidInput(f"The file cannot be read. {words}")
    first = first.removeprefix(codecs.BOM_UTF8)
    if name.lower().endswith((".csv", ".tsv")):
        return "csv", _csv_rows(source, first)
    opening = first.lstrip()[:1]
    if opening == b"[":
        return "json", _list_rows(source, first)
    if opening == b"{" or name.lower().endswith((".jsonl", ".ndjson", ".json")):
        return "jsonl", _json_lines(source, first)
    raise InvalidInput("The file's format is not known. Upload JSONL, a JSON list, or CSV with the ending .csv.")


def _json_lines(source: Source, line: bytes) -> Iterator[Record]:
    while line:
        text = _decoded(line, source.line)
        if text.strip():
            try:
                row = _DECODER.decode(text)
            except (ValueError, RecursionError) as error:
                raise InvalidInput(f"Line {source.line} is not valid JSON: {_words(error, text)}") from None
            yield source.line, _an_object(row, f"Line {source.line}"), _kept(line)
        line = source.readline()


def _csv_rows(source: Source, line: bytes) -> Iterator[Record]:
    csv.field_size_limit(MAX_ROW)
    header_line = _decoded(line, source.line)
    delimiter = max(_DELIMITERS, key=header_line.count)
    pending = 0

    def lines() -> Iterator[str]:
        nonlocal line, pending
        while line:
            pending += len(line)
            if pending > MAX_ROW:
                raise InvalidInput(
                    f"The row that reaches line {source.line} is longer than {MAX_ROW >> 20} MiB. "
                    "Is a double quote left open?"
                )
            yield _decoded(line, source.line)
            line = source.readline()

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    try:
        header = _header(next(reader))
        pending = 0
        for cells in reader:
            pending = 0
            if not cells:
                continue
            if len(cells) != len(header):
                raise InvalidInput(
                    f"Line {source.line} has {len(cells)} cells, the first line has {len(header)}. "
                    "Put a cell that contains the separator between double quotes."
                )
            yield source.line, dict(zip(header, cells, strict=True)), None
    except csv.Error as error:
        words = str(error).partition(" - ")[0]  # the rest is advice to programmers
        raise InvalidInput(f"Line {source.line} is not valid CSV: {words}.") from None


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    empty = [str(place) for place, name in enumerate(names, 1) if not name]
    if empty:
        raise InvalidInput(f"The first line must name every column; column {', '.join(empty[:20])} has no name.")
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise InvalidInput(
            f"Two columns have the same name: {', '.join(double)[:300]}. Rename one of them in the first line."
        )
    return names


def _list_rows(source: Source, first: bytes) -> Iterator[Record]:
    text = _Text(source, first)
    text.take("[")
    number = 0
    while text.peek() != "]":
        if number:
            text.take(",", f"item {number}")
        number += 1
        if text.peek() != "{":
            raise InvalidInput(f"Item {number} of the list is not an object with named fields.")
        yield number, text.row(number), None
    text.take("]")
    if text.peek():
        raise InvalidInput("Something follows the end of the JSON list. Remove it.")


class _Text:
    """A JSON text that is decoded as it is needed."""

    def __init__(self, source: Source, first: bytes) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at, self._ended = "", 0, False
        self._add(first)

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\r\n":
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, expected: str, after: str = "its beginning") -> None:
        found = self.peek()
        if found != expected:
            there = f"found {found!r}" if found else "the file ends"
            raise InvalidInput(f"The JSON list is broken after {after}: expected {expected!r}, {there}.")
        self._at += 1

    def row(self, number: int) -> dict[str, Any]:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise InvalidInput(f"Item {number} of the list is not valid JSON: {_words(error, '')}") from None
            except ValueError as error:
                if len(self._text) - self._at > MAX_ROW:
                    raise self._too_long(number) from None
                if self._more():
                    continue
                raise InvalidInput(
                    f"Item {number} of the list is not valid JSON: {_words(error, self._text)}"
                ) from None
            if end - self._at > MAX_ROW:
                raise self._too_long(number)
            self._at = end
            return _an_object(value, f"Item {number} of the list")

    @staticmethod
    def _too_long(number: int) -> InvalidInput:
        return InvalidInput(
            f"Item {number} of the list is longer than {MAX_ROW >> 20} MiB, or one of its braces is left open."
        )

    def _more(self) -> bool:
        """Read as much again as is waiting, so that a long row is tried a few times only."""
        if self._ended:
            return False
        self._text, self._at = self._text[self._at :], 0
        data = self._source.read(max(_CHUNK, len(self._text)))
        self._ended = not data
        self._add(data, final=self._ended)
        return True

    def _add(self, data: bytes, *, final: bool = False) -> None:
        try:
            self._text += self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            at = self._source.size - len(data) + error.start
            raise InvalidInput(
                f"The file is not UTF-8: byte {max(at, 0)} is 0x{error.object[error.start]:02x}. Save it as UTF-8."
            ) from None


def _decoded(line: bytes, number: int) -> str:
    if len(line) > MAX_ROW:
        raise InvalidInput(f"Line {number} is longer than {MAX_ROW >> 20} MiB. Each row must be on a line of its own.")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"Line {number} is not UTF-8: its byte {error.start + 1} is 0x{line[error.start]:02x}. "
            "Save the file as UTF-8."
        ) from None


def _an_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")
        raise InvalidInput(
            f'{where} is {kind}. Each row must be an object with named fields, such as {{"question": …}}.'
        )
    if len(value) > MAX_COLUMNS:
        raise InvalidInput(f"{where} has {len(value)} fields; the limit is {MAX_COLUMNS}.")
    return value


def _kept(line: bytes) -> bytes | None:
    """The line as it can be stored, or None where it must be written anew to be safe for every reader."""
    line = line.strip()
    return None if b"\r" in line or b"\\u" in line else line


def encode(row: dict[str, Any]) -> bytes:
    """A row as one line of JSON. Halves of surrogate pairs, which no file can hold, become question marks."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")


def _words(error: Exception, text: str) -> str:
    if isinstance(error, json.JSONDecodeError):
        if error.msg == "Extra data":
            return f"something follows the object at column {error.colno}. Put each row on a line of its own."
        if not text[error.pos :].strip():
            return "it ends too early. Each row must be whole and on one line."
        return f"{error.msg} (column {error.colno})."
    if isinstance(error, RecursionError):
        return "its values are nested too deeply."
    return f"{error}."


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is too large a number")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a value of JSON; write null")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)
