"""From uploaded bytes to a dataset on disk, in one pass and constant memory.

Valid JSON Lines and Parquet are kept unchanged; everything else is written as JSON Lines. Unusable rows are listed
with their line and the reason, and the caller decides beforehand whether they are skipped or stop the import. The
dataset exists once its ``info.json`` does, which is written last: a crash before that leaves no dataset.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from core.data.detect import SAMPLE, guess_fields
from core.data.formats import BROKEN_STREAM, Detected, detect, open_bytes
from core.data.jobs import INFO, PARTIAL
from core.data.literals import StructuredColumns, converted
from core.data.reading import MAX_COLUMNS, Aside, Bad, check_row, lines_of, parse_line, read_rows, unique, whole_unicode
from core.data.store import DATA, PARQUET, IndexWriter, ParquetStore
from core.data.tables import is_conversation
from core.dataset import BadRow, FieldGuess, UploadInfo
from core.disk import disk_words
from core.errors import Conflict, InvalidInput, Unavailable
from core.job_dir import read_json, write_json
from core.moment import now

OnBad = Literal["stop", "skip"]
HeadingChoice = Literal["auto", "yes", "no"]
"""The user's choice about a table's first line; ``auto`` goes by its cells, and asks if they are unclear."""
LISTED = 100
"""Bad rows that are listed; the others are only counted."""
KINDS_FROM = 2000
"""Rows sampled to find out what a column holds."""
Progress = Callable[[int, int], None]
"""Called with (bytes of the file read, rows found) periodically."""


class BadRows(InvalidInput):
    """Some rows are unusable and must not be skipped. ``bad`` lists the first of them."""

    code = "bad_rows"

    def __init__(self, bad: list[BadRow], count: int, good: int) -> None:
        self.bad, self.count, self.good = bad, count, good
        shown = "; ".join(f"line {row.line}: {row.reason}" for row in bad[:3])
        more = f"; and {count - 3:,} more" if count > 3 else ""
        way = f", or skip unusable rows and keep the remaining {_rows(good)}." if good else " and upload it again."
        super().__init__(f"{_rows(count)} cannot be used ({shown}{more}). Fix the file{way}", field="file")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


class HeadingUnsure(InvalidInput):
    """It is unclear whether a table's first line has column names, and the caller has not said."""

    code = "heading"

    def __init__(self) -> None:
        super().__init__(
            "The file seems to have no header row. Choose whether its first line holds column names or data.",
            field="heading",
        )


class AlreadyHere(Conflict):
    """The same content is already stored as the dataset ``info``."""

    code = "already_here"

    def __init__(self, info: UploadInfo) -> None:
        self.info = info
        super().__init__(
            f"You already have this file: {info.name}, {info.rows:,} rows. It was not stored again.", field="file"
        )


@dataclass
class _Survey:
    """Statistics collected while reading the rows."""

    good: int = 0
    count: int = 0
    bad: list[BadRow] = field(default_factory=list)
    columns: dict[str, set[str]] = field(default_factory=dict)
    sample: list[dict[str, Any]] = field(default_factory=list)
    asides: list[str] = field(default_factory=list)
    structured: StructuredColumns | None = None
    """For CSV and TSV: which columns hold lists or objects."""

    def refuse(self, line: int, bad: Bad) -> None:
        self.count += 1
        if len(self.bad) < LISTED:
            self.bad.append(BadRow(line=line, reason=bad.reason))

    def see(self, row: dict[str, Any]) -> None:
        """Record a good row.

        Raises:
            InvalidInput: The rows so far have more columns than a dataset may have.
        """
        self.good += 1
        if not row.keys() <= self.columns.keys():
            for name in row:
                self.columns.setdefault(name, set())
            if len(self.columns) > MAX_COLUMNS:
                raise InvalidInput(
                    f"The first {self.good:,} rows have more than {MAX_COLUMNS:,} different columns, the limit. "
                    "If the column names are data, such as ids, put them in cells instead.",
                    field="file",
                )
        if self.good <= KINDS_FROM:
            for name, cell in row.items():
                if cell is not None and cell != "":
                    self.columns[name].add(_kind(cell))
            if self.good <= SAMPLE:
                self.sample.append(row)
        if self.structured:
            self.structured.see(row)


def ingest(
    source: Path,
    folder: Path,
    *,
    upload_id: str,
    name: str,
    on_bad: OnBad = "stop",
    heading: HeadingChoice = "auto",
    once: bool = False,
    limit: int,
    progress: Progress | None = None,
    origin: str = "upload",
) -> UploadInfo:
    """Turn an uploaded file into the dataset ``folder``; the file is moved or deleted.

    Args:
        source: The uploaded bytes, on the same disk as ``folder``.
        folder: An existing folder for this dataset only.
        name: The uploaded file's name.
        heading: Whether a table's first line is a header row.
        once: Reject content that a dataset beside ``folder`` already holds.
        limit: Most bytes after decompression.

    Raises:
        AlreadyHere: The same bytes, read the same way, are already a dataset.
        HeadingUnsure: ``heading`` is ``auto`` and the first line is ambiguous; the source is kept.
        BadRows: Some rows are unusable and ``on_bad`` is ``stop``; the source is kept for another try.
        InvalidInput: The file cannot be read, or none of its rows.
        Unavailable: The disk is full.
    """
    try:
        size = source.stat().st_size
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if once and (same := _same(folder.parent, digest, on_bad, heading)):
            raise AlreadyHere(same)
        detected = _with_heading(detect(source, name), heading)
        survey = _take(source, folder, detected, on_bad, limit, progress or (lambda _bytes, _rows: None))
    except OSError as error:
        if words := disk_words(error):
            raise Unavailable(f"The file could not be saved. {words}") from None
        raise
    guess = _guess(folder, survey)
    if guess.instruction is None:
        raise InvalidInput(
            f"The file has no usable column. {guess.why} "
            f"Found: {', '.join(survey.columns)[:300] or 'none'}. "
            "A dataset needs one column with questions and one with answers.",
            field="file",
        )
    info = UploadInfo(
        id=upload_id,
        name=name,
        size=size,
        rows=survey.good,
        columns=tuple(survey.columns),
        sha256=digest,
        kinds={column: ", ".join(sorted(kinds)) or "empty" for column, kinds in survey.columns.items()},
        created_at=now(),
        fields=guess,
        bad_rows=survey.count,
        bad=tuple(survey.bad),
        origin=origin,
        notes=tuple(survey.asides[:LISTED]),
        **detected.model_dump(),
    )
    write_json(folder / INFO, info.model_dump(mode="json"))
    source.unlink(missing_ok=True)  # Last: a process that is killed before it can read the file again.
    return info


def _with_heading(detected: Detected, heading: HeadingChoice) -> Detected:
    if detected.heading == "unsure" and heading == "auto":
        raise HeadingUnsure
    return detected.model_copy(update={"heading": heading}) if detected.heading and heading != "auto" else detected


def _same(uploads: Path, digest: str, on_bad: OnBad, heading: HeadingChoice) -> UploadInfo | None:
    """The existing dataset that reading the same bytes in this way would duplicate."""
    for path in uploads.glob(f"*/{INFO}"):
        if path.parent.name.endswith(PARTIAL):
            continue
        try:
            info = UploadInfo.model_validate(read_json(path) or {})
        except ValueError:
            continue  # damaged datasets are reported elsewhere
        alike = info.sha256 == digest and info.origin == "upload" and (on_bad == "skip" or not info.bad_rows)
        if alike and (heading == "auto" or not info.heading or info.heading == heading):
            return info
    return None


def _take(source: Path, folder: Path, detected: Detected, on_bad: OnBad, limit: int, progress: Progress) -> _Survey:
    if detected.format == "parquet":
        survey = _take_parquet(source, folder, detected, limit)
    elif detected.format == "jsonl" and detected.compression == "none" and detected.encoding == "utf-8":
        survey = _take_lines(source, folder, detected, on_bad, limit, progress)
    else:
        survey = _rewrite(source, folder, detected, limit, progress)
    if not survey.good:
        raise (
            BadRows(survey.bad, survey.count, 0)
            if survey.count
            else InvalidInput("The file has no rows.", field="file")
        )
    if survey.count and on_bad == "stop":
        (folder / DATA).unlink(missing_ok=True)
        raise BadRows(survey.bad, survey.count, survey.good)
    return survey


def _take_lines(
    source: Path, folder: Path, detected: Detected, on_bad: OnBad, limit: int, progress: Progress
) -> _Survey:
    """JSON Lines: kept unchanged if every line is good."""
    survey, index, offset = _Survey(), IndexWriter(), 0
    with source.open("rb") as file:
        for number, (line, size) in enumerate(lines_of(file), 1):
            if not line.isspace():
                row = _whole(parse_line(line), line)
                if isinstance(row, Bad):
                    survey.refuse(number, row)
                else:
                    index.add(offset)
                    survey.see(row)
            offset += size
            if number % 4096 == 0:
                progress(offset, survey.good)
    if survey.count:
        return _rewrite(source, folder, detected, limit, progress) if on_bad == "skip" and survey.good else survey
    source.rename(folder / DATA)
    index.write(folder)
    return survey


def _guess(folder: Path, survey: _Survey) -> FieldGuess:
    """The mapping, and the text columns whose cells become lists and objects.

    Questions and answers stay text, unless they are a conversation or the reference is nested in the value.
    """
    names = survey.structured.names if survey.structured else frozenset()
    sample = [converted(row, names) for row in survey.sample]
    guess = guess_fields(sample)
    mapped = {guess.instruction, guess.rejected} | ({guess.response} if guess.extraction != "json_path" else set())
    talks = {name for name in names & mapped if any(is_conversation(row.get(name)) for row in sample)}
    if names := names - mapped | talks:
        _convert(folder, names)
        survey.sample = [converted(row, names) for row in survey.sample]
        for name in names:
            survey.columns[name] = {_kind(row[name]) for row in survey.sample if row.get(name) is not None}
    return guess


def _convert(folder: Path, names: frozenset[str]) -> None:
    before, index = folder / f"{DATA}.text", IndexWriter()
    (folder / DATA).rename(before)
    with before.open("rb") as rows, (folder / DATA).open("wb") as out:
        for line in rows:
            _written(converted(json.loads(line), names), out, index)
    index.write(folder)
    before.unlink()


def _whole(row: dict[str, Any] | Bad, line: bytes) -> dict[str, Any] | Bad:
    """Reject lone surrogates, which JSON escapes allow and UTF-8 does not."""
    if b"\\u" in line and not isinstance(row, Bad) and not whole_unicode(json.dumps(row, ensure_ascii=False)):
        return Bad("it contains half a character (a lone surrogate)")
    return row


def _rewrite(source: Path, folder: Path, detected: Detected, limit: int, progress: Progress) -> _Survey:
    """Write the good rows out as JSON Lines."""
    survey, index, read = _Survey(), IndexWriter(), 0
    survey.structured = StructuredColumns() if detected.delimiter else None

    def note(position: int) -> None:
        nonlocal read
        read = position
        progress(read, survey.good)

    with (folder / DATA).open("wb") as out:
        for line, found in read_rows(source, detected, limit=limit, progress=note):
            if isinstance(found, Aside):
                survey.asides.append(found.words)
                continue
            row = found if isinstance(found, Bad) else _written(found, out, index)
            if isinstance(row, Bad):
                survey.refuse(line, row)
            else:
                survey.see(row)
    index.write(folder)
    return survey


def _written(row: dict[str, Any], out: BinaryIO, index: IndexWriter) -> dict[str, Any] | Bad:
    try:
        data = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return Bad("it contains half a character (a lone surrogate)")
    index.add(out.tell())
    out.write(data)
    return row


def write_rows(folder: Path, rows: Iterator[dict[str, Any]], survey: _Survey | None = None) -> _Survey:
    """Write rows that do not come from a file, such as an import, as a dataset."""
    survey, index = survey or _Survey(), IndexWriter()
    with (folder / DATA).open("wb") as out:
        for number, raw in enumerate(rows, 1):
            row = check_row(raw)
            row = row if isinstance(row, Bad) else _written(row, out, index)
            if isinstance(row, Bad):
                survey.refuse(number, row)
            else:
                survey.see(row)
    index.write(folder)
    return survey


def _take_parquet(source: Path, folder: Path, detected: Detected, limit: int) -> _Survey:
    """Parquet is kept unchanged once every row has been read."""
    if detected.compression != "none":
        _unpack(source, detected, limit)
    survey = _Survey()
    for row in ParquetStore(source).rows():
        survey.see(row)
    source.rename(folder / PARQUET)
    return survey


def _unpack(source: Path, detected: Detected, limit: int) -> None:
    beside = source.with_name(source.name + ".unpacked")
    try:
        with open_bytes(source, detected.compression, limit=limit) as packed, beside.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
        beside.replace(source)
    except (*BROKEN_STREAM, gzip.BadGzipFile) as error:
        raise InvalidInput(
            f"The {detected.compression} file is incomplete: {error}. Upload it again.", field="file"
        ) from None
    finally:
        beside.unlink(missing_ok=True)


def _kind(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true or false"
    if isinstance(cell, int | float):
        return "number"
    return "text" if isinstance(cell, str) else "list" if isinstance(cell, list) else "object"


__all__ = ["BadRows", "OnBad", "Progress", "ingest", "unique", "write_rows"]
