"""Detects the format, compression, encoding and delimiter of an uploaded file from its content."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from core.data.headings import LOOKED_AT, Heading, heading_of
from core.errors import InvalidInput, TooLarge

Format = Literal["jsonl", "json", "csv", "tsv", "parquet"]
Compression = Literal["none", "gzip", "zstd"]
SAMPLE = 1 << 18
"""Bytes that are examined."""
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
BROKEN_STREAM = (EOFError, zlib.error, gzip.BadGzipFile)
"""What the decompressors raise on a truncated or damaged file; zstd raises OSError."""

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Detected(BaseModel):
    """What was found, shown to the user.

    Attributes:
        encoding: Python's name for it; ``utf-8-sig`` is UTF-8 with a byte-order mark. Empty for Parquet.
        delimiter: For CSV and TSV, the character between cells.
        heading: For CSV and TSV, whether the first line is a header row.
    """

    model_config = ConfigDict(frozen=True)

    format: Format
    compression: Compression = "none"
    encoding: str = ""
    delimiter: str = ""
    heading: Heading = ""

    @property
    def words(self) -> str:
        """``CSV, gzip, cp1252, semicolon between cells``."""
        parts = [{"jsonl": "JSON Lines", "json": "JSON", "parquet": "Parquet"}.get(self.format, self.format.upper())]
        parts += [self.compression] if self.compression != "none" else []
        parts += [self.encoding.upper().replace("-SIG", " with a byte-order mark")] if self.encoding else []
        parts += [f"{DELIMITERS.get(self.delimiter, self.delimiter)}-separated"] if self.delimiter else []
        parts += ["no header row"] if self.heading == "no" else []
        return ", ".join(parts)


_FOREIGN = (
    (b"%pdf-", "a PDF document"),
    (b"<!doctype html", "a web page, perhaps the one that links to the file you meant"),
    (b"<html", "a web page, perhaps the one that links to the file you meant"),
    (b"\x89png", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"gguf", "a model"),
)
"""First bytes of files that would otherwise pass for text with one column."""


def detect(path: Path, name: str) -> Detected:
    """Examine a file's content; the name decides only if the content is ambiguous.

    Raises:
        InvalidInput: It is empty, damaged or unsupported.
    """
    compression = _compression(path)
    if compression == "none" and _starts(path) == b"PK\x03\x04":
        raise InvalidInput("This is a zip archive or a spreadsheet. Unzip it, or save the sheet as CSV.", field="file")
    sample = _head(path, compression)
    if not sample.strip(b"\0\t\r\n \xef\xbb\xbf"):
        raise InvalidInput("The file is empty. Choose a file that contains rows.", field="file")
    if foreign := next((what for start, what in _FOREIGN if sample.lstrip()[:16].lower().startswith(start)), ""):
        raise InvalidInput(f"This is {foreign}. Upload the rows themselves as JSON, CSV or Parquet.", field="file")
    endings = [part.casefold() for part in Path(name).suffixes]
    if sample[:4] == b"PAR1":
        return Detected(format="parquet", compression=compression)
    encoding = _encoding(sample)
    text = _text(sample, encoding)
    return Detected(compression=compression, encoding=encoding, **_text_format(text, endings))


def open_bytes(
    path: Path, compression: Compression, *, limit: int, progress: Callable[[int], None] | None = None
) -> io.BufferedReader:
    """Open a file, decompressing it as it is read.

    Args:
        limit: Most decompressed bytes; a small file can unpack to terabytes.
        progress: Called with the position in the file on disk periodically.
    """
    return io.BufferedReader(_Counted(path, compression, limit, progress), 1 << 18)


class _Counted(io.RawIOBase):
    """Decompresses and counts the bytes, up to the limit."""

    def __init__(
        self, path: Path, compression: Compression, limit: int, progress: Callable[[int], None] | None
    ) -> None:
        self._disk = path.open("rb")
        self._inner: Any = self._disk
        if compression == "gzip":
            self._inner = gzip.GzipFile(fileobj=self._disk)
        elif compression == "zstd":
            import pyarrow as pa

            self._inner = pa.CompressedInputStream(self._disk, "zstd")
        self._gzip = compression == "gzip"
        self._piece = 1 << 13 if compression == "zstd" else 1 << 18
        self._left = limit
        self._progress = progress
        self._calls = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # Only the damaged piece of a stream is lost.
        data = self._inner.read1(len(buffer)) if self._gzip else self._inner.read(min(len(buffer), self._piece))
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge(
                "Once decompressed, the file exceeds the upload limit. Split it, or raise MAX_UPLOAD_GB.", field="file"
            )
        self._calls += 1
        if self._progress and self._calls % 16 == 0:
            self._progress(self._disk.tell())
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            if self._inner is not self._disk:
                self._inner.close()
            self._disk.close()
        super().close()


def _starts(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _compression(path: Path) -> Compression:
    magic = _starts(path)
    return "gzip" if magic[:2] == b"\x1f\x8b" else "zstd" if magic == b"\x28\xb5\x2f\xfd" else "none"


def _head(path: Path, compression: Compression) -> bytes:
    try:
        with open_bytes(path, compression, limit=1 << 40) as stream:
            return _some(stream)
    except (*BROKEN_STREAM, OSError) as error:
        raise InvalidInput(
            f"The {compression} file is damaged or incomplete: {error}. Upload it again.", field="file"
        ) from None


def _some(stream: io.BufferedReader) -> bytes:
    """The readable part of the sample; damage further on is reported when the rows are read."""
    found = b""
    try:
        while len(found) < SAMPLE and (piece := stream.read1(SAMPLE - len(found))):
            found += piece
    except (*BROKEN_STREAM, OSError):
        if not found:
            raise
    return found


def _encoding(sample: bytes) -> str:
    for bom, name in _BOMS:
        if sample.startswith(bom):
            return name
    if _is_utf8(sample):
        return "utf-8"
    zeros = sample[:2000].count(0)
    if zeros > len(sample[:2000]) // 4:
        return "utf-16-le" if sample[1:2000:2].count(0) > sample[0:2000:2].count(0) else "utf-16-be"
    from charset_normalizer import from_bytes

    best = from_bytes(
        sample[: 1 << 15],
        cp_isolation=["cp1252", "iso8859_15", "cp1250", "cp1251", "gb18030", "shift_jis", "euc_kr", "big5"],
    ).best()
    if best is None or "cp1252" in best.could_be_from_charset:
        return "cp1252"
    return best.encoding.replace("_", "-")


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=len(sample) < SAMPLE)
    except UnicodeDecodeError as error:
        # One bad byte in a long text is a bad row, not another encoding.
        return error.start > 0 and sample.decode("utf-8", "replace").count("\ufffd") * 200 < sum(
            byte >= 128 for byte in sample
        )
    return True


def _text(sample: bytes, encoding: str) -> str:
    return codecs.getincrementaldecoder(encoding)("replace").decode(sample)


def _text_format(text: str, endings: list[str]) -> dict[str, Any]:
    start = text.lstrip()
    table: Format | None = "csv" if ".csv" in endings else "tsv" if {".tsv", ".tab"} & set(endings) else None
    if start[:1] == "[" and not table and not (_lines_of_json(start) and {".jsonl", ".ndjson"} & set(endings)):
        return {"format": "json"}
    if start[:1] == "{" and not table:
        return {"format": "json" if _is_one_value(start, endings) else "jsonl"}
    if {".jsonl", ".ndjson"} & set(endings):
        return {"format": "jsonl"}
    if ".json" in endings:
        return {"format": "json"}
    delimiter = _delimiter(text, "\t" if table == "tsv" else ",")
    found = heading_of(_table_rows(text, delimiter, LOOKED_AT + 1))
    return {"format": "tsv" if delimiter == "\t" else "csv", "delimiter": delimiter, "heading": found}


def _lines_of_json(text: str) -> bool:
    return len(text.splitlines()) > 1 and _parses(text.splitlines()[0])


_BY_COLUMNS = re.compile(r'\s*\{\s*"[^"\\]*"\s*:\s*(?:\[|\{\s*"0"\s*:)')


def _is_one_value(text: str, endings: list[str]) -> bool:
    """Whether a text that begins with a brace is one JSON value rather than one per line."""
    lines = bool({".jsonl", ".ndjson"} & set(endings))
    first, _, rest = text.partition("\n")
    if rest.strip() and not _parses(first):
        # A first line that is not a value: a pretty-printed file, or a broken line of JSON Lines.
        return not lines and (".json" in endings or first.strip() in {"{", "{ "})
    if rest.strip():
        return False
    # A single line. It is one row of JSON Lines, unless pandas' to_json() was called without lines=True.
    return not lines or bool(_BY_COLUMNS.match(first))


def _parses(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _delimiter(text: str, default: str) -> str:
    """The character that splits the sample into rows of equal length, preferring more cells."""
    scores = {}
    for candidate in DELIMITERS:
        widths = _widths(text, candidate)
        if widths and widths[0] > 1:
            scores[candidate] = (Counter(widths)[widths[0]] / len(widths), candidate == default, widths[0])
    return max(scores, key=lambda key: scores[key]) if scores else default


def _table_rows(text: str, delimiter: str, most: int) -> list[list[str]]:
    """The first rows of a sample that are not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[list[str]] = []
    with contextlib.suppress(csv.Error):  # only the rows before it can be used
        found.extend(islice((row for row in reader if any(cell.strip() for cell in row)), most))
    return found


def _widths(text: str, delimiter: str) -> list[int]:
    found = [len(row) for row in _table_rows(text, delimiter, 200)]
    return found[:-1] if len(found) > 1 and len(text) >= SAMPLE // 4 else found
