"""The rows of a dataset on disk: random access by page, iteration in constant memory.

There are two formats: ``data.jsonl`` with ``data.idx``, the byte offset of every 64th row, so that page 10,000 takes
one seek; and ``data.parquet``, which has row groups for that. Every upload ends up as one of them.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, Any, Protocol

from core.data.cells import text_of
from core.data.reading import unique
from core.errors import Damaged, InvalidInput
from core.job_dir import is_any, read_row

STRIDE = 64
"""Rows between two entries of the index."""
SEARCH_SECONDS = 3.0
DATA = "data.jsonl"
INDEX = "data.idx"
PARQUET = "data.parquet"


class Store(Protocol):
    """Rows by number from 0, and all of them in order."""

    def __len__(self) -> int: ...

    def rows(self, start: int = 0) -> Iterator[dict[str, Any]]: ...


@dataclass(frozen=True)
class Hits:
    """What a search found.

    Attributes:
        rows: (row number from 0, row).
        searched: Rows looked at, counted from the first row of all.
        done: Whether the whole dataset has been searched.
    """

    rows: list[tuple[int, dict[str, Any]]]
    searched: int
    done: bool


class JsonlStore:
    """Rows in ``data.jsonl``."""

    def __init__(self, folder: Path, total: int) -> None:
        self._path = folder / DATA
        self._total = total
        self._index = self._offsets(folder / INDEX)

    def _offsets(self, path: Path) -> array[int]:
        """The index; rebuilt if it is missing or does not match the rows."""
        kept, size = array("q"), 0
        try:
            size = self._path.stat().st_size
            kept.frombytes(path.read_bytes())
        except (OSError, ValueError):  # it is missing, or ends with half an entry
            kept = array("q")
        if len(kept) == -(-self._total // STRIDE) and all(a < b for a, b in pairwise([-1, *kept, size])):
            return kept
        return self._indexed()

    def _indexed(self) -> array[int]:
        made = IndexWriter()
        with self._opened() as file:
            offset = 0
            for line in file:
                if not line.isspace():
                    made.add(offset)
                offset += len(line)
        if made.rows == self._total:
            with suppress(OSError):  # disk full: rebuilt next time
                made.write(self._path.parent)
        return made.offsets

    def _place(self, file: IO[bytes], row: int) -> int:
        """Byte offset of an indexed row; an entry that points into a line does not match these rows."""
        for again in (False, True):
            self._index = self._indexed() if again else self._index
            if row // STRIDE < len(self._index):
                place = self._index[row // STRIDE]
                file.seek(max(0, place - 1))
                if not place or file.read(1) == b"\n":
                    return place
        raise _ends_early(row)

    def _opened(self) -> IO[bytes]:
        try:
            return self._path.open("rb")
        except OSError as error:
            raise Damaged(f"{DATA} of this dataset cannot be read: {error.strerror}. {_REPLACE}") from None

    def __len__(self) -> int:
        return self._total

    def rows(self, start: int = 0) -> Iterator[dict[str, Any]]:
        for number, line in self.lines(start):
            yield _row(number, line)

    def lines(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """(row number, line), starting at a row."""
        if start >= self._total:
            return
        with self._opened() as file:
            file.seek(self._place(file, start))
            number = start - start % STRIDE
            for line in file:
                if line.isspace():
                    continue
                if number >= start:
                    yield number, line
                number += 1
            if number < self._total:
                raise _ends_early(number)


_REPLACE = "Delete the dataset, then upload or import it again."


def _row(number: int, line: bytes) -> dict[str, Any]:
    """Raises Damaged if the data on disk is not what was validated on import."""
    row = read_row(line, is_any)
    if row is None:
        raise Damaged(f"{DATA} of this dataset is damaged at row {number + 1:,}. {_REPLACE}")
    return row


def _ends_early(rows: int) -> Damaged:
    return Damaged(f"{DATA} of this dataset is damaged: it ends after row {rows:,}. {_REPLACE}")


class ParquetStore:
    """Rows of a Parquet file, decoded a thousand at a time."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as parquet

        self._path = path
        with _explained(), parquet.ParquetFile(self._path) as file:
            self._starts, total = [], 0
            for group in range(file.metadata.num_row_groups):
                self._starts.append(total)
                total += file.metadata.row_group(group).num_rows
        self._total = total

    def __len__(self) -> int:
        return self._total

    def rows(self, start: int = 0) -> Iterator[dict[str, Any]]:
        if start >= self._total:
            return
        import pyarrow.parquet as parquet

        first = max(group for group, begins in enumerate(self._starts) if begins <= start)
        skip = start - self._starts[first]
        with _explained(), parquet.ParquetFile(self._path, buffer_size=1 << 20, pre_buffer=False) as file:
            for batch in file.iter_batches(
                batch_size=1000, row_groups=list(range(first, len(self._starts))), use_threads=False
            ):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                names = unique(batch.schema.names)
                part = batch.slice(skip)
                skip = 0
                columns = [column.to_pylist() for column in part.columns]
                for cells in zip(*columns, strict=True):
                    yield {name: plain(cell) for name, cell in zip(names, cells, strict=True)}


class _explained:  # noqa: N801 - used like a function
    """Convert what Arrow raises on a damaged file."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if (
            kind is None
            or issubclass(kind, InvalidInput | GeneratorExit | MemoryError)
            or not issubclass(kind, Exception)
        ):
            return
        if issubclass(
            kind, OSError | ValueError | LookupError | NotImplementedError | OverflowError
        ) or kind.__module__.startswith("pyarrow"):
            raise InvalidInput(
                f"The Parquet file is damaged: {str(error)[:200].rstrip('. ')}. Export it again, then upload it.",
                field="file",
            ) from None


def open_store(folder: Path, rows: int) -> Store:
    """The store in a dataset's folder, in either format."""
    parquet = folder / PARQUET
    return ParquetStore(parquet) if parquet.is_file() else JsonlStore(folder, rows)


def page(store: Store, start: int, count: int) -> list[dict[str, Any]]:
    """Rows ``start`` up to ``start + count``; fewer at the end."""
    return list(islice(store.rows(start), count))


def search(store: Store, text: str, *, start: int = 0, limit: int = 20, seconds: float = SEARCH_SECONDS) -> Hits:
    """Rows with a cell that contains a text, ignoring case.

    Stops after ``limit`` hits or ``seconds``, so that no page waits long for a large dataset; continue
    with ``start=searched``.
    """
    needle = text.casefold()
    until = time.monotonic() + seconds
    hits: list[tuple[int, dict[str, Any]]] = []
    number = start - 1
    for number, row in _candidates(store, needle, start):
        if row is not None and any(needle in text_of(cell).casefold() for cell in row.values()):
            hits.append((number, row))
            if len(hits) == limit:
                break
        if time.monotonic() > until:  # Checked after every row: one may have 16 MB.
            break
    searched = min(number + 1, len(store))
    return Hits(hits, searched, searched >= len(store))


def _candidates(store: Store, needle: str, start: int) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Every row's number, with the row if it may contain the text: most lines are ruled out without decoding."""
    if not isinstance(store, JsonlStore) or not (needle.isascii() and needle.replace(" ", "").isalnum()):
        yield from enumerate(store.rows(start), start)
        return
    raw = needle.encode()
    for number, line in store.lines(start):
        yield (
            number,
            _row(number, line) if raw in line.lower() or b"\\u" in line else None,
        )


class IndexWriter:
    """Records the offset of every 64th row while rows are read or written."""

    def __init__(self) -> None:
        self.offsets = array("q")
        self.rows = 0

    def add(self, offset: int) -> None:
        if self.rows % STRIDE == 0:
            self.offsets.append(offset)
        self.rows += 1

    def write(self, folder: Path) -> None:
        (folder / INDEX).write_bytes(self.offsets.tobytes())


def plain(value: Any) -> Any:
    """An Arrow value as JSON data: dates as ISO text, decimals as text, bytes as text or base64.

    Nulls inside objects are left out: Arrow gives every object in a column the keys of all others.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(cell) for name, cell in value.items() if cell is not None}
    if isinstance(value, list | tuple):
        return [plain(cell) for cell in value]
    if isinstance(value, bytes):
        return _of_bytes(value)
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return str(value)


def _of_bytes(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(value[:3000]).decode() + ("…" if len(value) > 3000 else "")
