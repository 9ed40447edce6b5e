"""Uploaded files on disk: ``uploads/<id>/`` with ``data.jsonl``, ``index.json`` and ``info.json``.

Whatever was uploaded is stored as JSON lines. The folder appears by one rename when everything in it is
complete; before that it is ``<id>.partial``, which a refused or broken upload removes.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

from core.data.detect import SAMPLE, guess_fields
from core.data.files import MAX_COLUMNS, Source, encode, records
from core.dataset import UploadInfo
from core.errors import InvalidInput, Unavailable
from core.run import ID_PATTERN, new_id
from core.run_dir import read_json, write_json

DATA, INFO, INDEX = "data.jsonl", "info.json", "index.json"
EVERY = 1000
"""Rows between two entries of the index."""
PARTIAL = ".partial"
FORGOTTEN = 24 * 3600.0
"""Seconds after which a partial folder cannot belong to an upload that still runs."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def store(stream: IO[bytes], filename: str, uploads: Path, limit: int) -> UploadInfo:
    """Read an upload to its end, check every row and keep it.

    Args:
        stream: The file's bytes.
        filename: As the sender calls it; shown, never used as a path.
        uploads: Folder of all uploads.
        limit: Most bytes.

    Returns:
        What is stored. Its id is new.

    Raises:
        InvalidInput: The file cannot be used; nothing is kept.
        TooLarge: It is larger than ``limit``.
        Unavailable: The disk is full.
    """
    upload_id = new_id()
    partial = uploads / f"{upload_id}{PARTIAL}"
    try:
        partial.mkdir(parents=True)
        info = _fill(partial, upload_id, Source(stream, limit), shown_name(filename))
        partial.rename(uploads / upload_id)
    except OSError as error:
        if error.errno in _FULL:
            raise Unavailable(
                "The disk is full. Nothing was kept of the upload; free some space and send it again."
            ) from None
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return info


def _fill(folder: Path, upload_id: str, source: Source, name: str) -> UploadInfo:
    kind, rows = records(source, name)
    columns: dict[str, None] = {}
    sample: list[dict[str, Any]] = []
    offsets: list[int] = []
    count = place = 0
    with (folder / DATA).open("wb") as file:
        for line, row, kept in rows:
            columns.update(dict.fromkeys(row))
            if len(columns) > MAX_COLUMNS:
                raise InvalidInput(f"By line {line} the rows have more than {MAX_COLUMNS} different fields.")
            if count < SAMPLE:
                sample.append(row)
            if count % EVERY == 0:
                offsets.append(place)
            place += file.write((kept or encode(row)) + b"\n")
            count += 1
    if not count:
        raise InvalidInput("The file has no rows, only column names." if kind == "csv" else "The list is empty.")
    guess = guess_fields(sample)
    if guess.instruction is None:
        raise InvalidInput(
            f"The file has no usable column: {guess.why[:1].lower()}{guess.why[1:]} "
            f"Found: {', '.join(columns)[:300] or 'none'}. "
            "A dataset needs a column with questions and one with answers."
        )
    info = UploadInfo(
        id=upload_id,
        name=name,
        format=kind,
        size=source.size,
        rows=count,
        columns=tuple(_on_disk(columns)),
        sha256=source.sha256,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        fields=guess,
    )
    write_json(folder / INDEX, {"every": EVERY, "offsets": offsets})
    write_json(folder / INFO, info.model_dump(mode="json"))
    return info


def _on_disk(columns: dict[str, None]) -> list[str]:
    """Column names as they are on disk (see :func:`core.data.files.encode`)."""
    return list(dict.fromkeys(name.encode("utf-8", "replace").decode() for name in columns))


def shown_name(filename: str) -> str:
    """The last part of a file name, printable, for showing only.

    >>> shown_name("../../etc/passwd"), shown_name("C:\\\\data\\\\x.csv"), shown_name("")
    ('passwd', 'x.csv', 'upload')
    """
    last = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable()).strip()[-120:] or "upload"


def read_info(folder: Path) -> UploadInfo | None:
    """What is known of an upload, or None where the folder is not a complete one."""
    data = read_json(folder / INFO)
    return UploadInfo.model_validate(data) if data else None


def every(uploads: Path) -> list[UploadInfo]:
    """All complete uploads, newest first."""
    folders = [path for path in uploads.iterdir() if ID_PATTERN.fullmatch(path.name)] if uploads.is_dir() else []
    found = [info for info in map(read_info, folders) if info]
    return sorted(found, key=lambda info: (info.created_at, info.id), reverse=True)


def page(folder: Path, offset: int, limit: int) -> list[dict[str, Any]]:
    """Some rows from the middle, without reading those before them.

    Args:
        folder: A complete upload.
        offset: Number of the first row, from 0.
        limit: Most rows.
    """
    index = read_json(folder / INDEX) or {"every": 1, "offsets": [0]}
    block = min(offset // index["every"], len(index["offsets"]) - 1)
    with (folder / DATA).open("rb") as file:
        file.seek(index["offsets"][block])
        skip = offset - block * index["every"]
        return [json.loads(line) for line in islice(file, skip, skip + limit)]


def iter_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Every row of an upload, one at a time."""
    with (folder / DATA).open("rb") as file:
        for line in file:
            yield json.loads(line)


def sweep(uploads: Path) -> None:
    """Remove what uploads left behind that were cut off by a crash of the server."""
    for path in uploads.glob(f"*{PARTIAL}"):
        if time.time() - path.stat().st_mtime > FORGOTTEN:
            shutil.rmtree(path, ignore_errors=True)
