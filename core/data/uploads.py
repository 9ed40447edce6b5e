"""Datasets on disk: ``uploads/<id>/`` with the rows and ``info.json``.

The folder appears by a rename once everything in it is complete; before that it is ``<id>.partial``
(see :mod:`core.data.jobs`), which a rejected or failed upload removes.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from core.data.ingest import HeadingChoice, OnBad, ingest
from core.data.jobs import INFO, PART, PARTIAL
from core.data.store import Hits, Store, open_store
from core.data.store import page as page_of
from core.data.store import search as search_in
from core.dataset import Damage, UploadInfo
from core.disk import disk_words
from core.errors import Damaged, NotFound, TooLarge, Unavailable
from core.job import ID_PATTERN, new_id
from core.job_dir import read_model, write_json

_DAMAGED = (
    "The dataset {} is damaged: its info.json is missing or unreadable. Delete it from the list of datasets, then "
    "upload or import it again."
)
ABANDONED_AFTER = 7 * 24 * 3600.0
"""Seconds after which an unfinished upload or download counts as abandoned."""
_PIECE = 1 << 20


def store(
    stream: BinaryIO,
    filename: str,
    uploads: Path,
    limit: int,
    on_bad: OnBad = "stop",
    *,
    heading: HeadingChoice = "auto",
    once: bool = False,
) -> UploadInfo:
    """Read an upload to its end, check every row and store it.

    Args:
        stream: The file's bytes.
        filename: The sender's name for it; shown, never used as a path.
        uploads: The folder of all uploads.
        limit: Most bytes.
        on_bad: Whether unusable rows are skipped or cause the file to be rejected.
        heading: Whether a table's first line is a header row.
        once: Reject content that is already stored.

    Returns:
        The stored dataset, with a new id.

    Raises:
        AlreadyHere: ``once`` is set, and a dataset has the same content.
        InvalidInput: The file cannot be used; nothing is kept.
        TooLarge: It is larger than ``limit``.
        Unavailable: The disk is full.
    """
    upload_id = new_id()
    partial = uploads / f"{upload_id}{PARTIAL}"
    try:
        partial.mkdir(parents=True)
        _receive(stream, partial / PART, limit)
        name = shown_name(filename)
        info = ingest(
            partial / PART,
            partial,
            upload_id=upload_id,
            name=name,
            on_bad=on_bad,
            heading=heading,
            once=once,
            limit=limit,
        )
        partial.rename(uploads / upload_id)
    except OSError as error:
        if words := disk_words(error):
            raise Unavailable(f"The upload was not saved. {words}") from None
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return info


def _receive(stream: BinaryIO, target: Path, limit: int) -> None:
    left = limit
    with target.open("wb") as file:
        while piece := stream.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise TooLarge(
                    f"The file exceeds this server's limit of {limit / 1024**3:.3g} GiB and was not saved. "
                    "Upload part of it, or raise MAX_UPLOAD_GB."
                )
            file.write(piece)


def shown_name(filename: str) -> str:
    """The last part of a file name, printable; for display only.

    >>> shown_name("../../etc/passwd"), shown_name("C:\\\\data\\\\x.csv"), shown_name("")
    ('passwd', 'x.csv', 'upload')
    """
    last = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable()).strip()[-120:] or "upload"


def read_info(folder: Path) -> UploadInfo | None:
    """A dataset's metadata, or None if the folder is not a complete dataset."""
    return read_model(folder / INFO, UploadInfo)


def is_dataset(folder: Path) -> bool:
    """Whether it holds a dataset, even a damaged one; otherwise it never existed or is deleted."""
    return folder.is_dir() and any(folder.iterdir())


def whole_info(folder: Path) -> UploadInfo:
    """A dataset's metadata.

    Raises:
        NotFound: There is none.
        Damaged: Its ``info.json`` cannot be read.
    """
    info = read_info(folder)
    if info is not None:
        return info
    if not folder.is_dir():
        raise NotFound(f"There is no dataset {folder.name}. It may have been deleted.", field="dataset.source")
    raise Damaged(_DAMAGED.format(folder.name), field="dataset.source")


def damaged(uploads: Path) -> list[Damage]:
    """Folders that should be datasets but are damaged, by name."""
    found = (path.name for path in _folders(uploads) if not read_info(path))
    return [Damage(id=name, message=_DAMAGED.format(name)) for name in found]


def write_info(folder: Path, info: UploadInfo) -> None:
    """Store what a user changed: its name or its mapping."""
    write_json(folder / INFO, info.model_dump(mode="json"))


def every(uploads: Path) -> list[UploadInfo]:
    """All complete datasets, newest first."""
    found = [info for info in map(read_info, _folders(uploads)) if info]
    return sorted(found, key=lambda info: (info.created_at, info.id), reverse=True)


def _folders(uploads: Path) -> list[Path]:
    if not uploads.is_dir():
        return []
    return sorted(path for path in uploads.iterdir() if ID_PATTERN.fullmatch(path.name) and path.is_dir())


def names(uploads: Path) -> dict[str, str]:
    """Names of all datasets by id; shared ones are followed by the start of the content hash."""
    infos = every(uploads)
    counts = Counter(info.name for info in infos)
    return {info.id: info.name if counts[info.name] == 1 else f"{info.name} ({info.short_hash})" for info in infos}


def opened(folder: Path) -> Store:
    """The rows of a complete dataset.

    Raises:
        NotFound: It has been deleted.
        Damaged: Its metadata or its index cannot be read.
    """
    return open_store(folder, whole_info(folder).rows)


def page(folder: Path, offset: int, limit: int) -> list[dict[str, Any]]:
    """A page of rows, without reading those before it.

    Args:
        folder: A complete dataset.
        offset: Number of the first row, from 0.
        limit: Most rows.
    """
    return page_of(opened(folder), offset, limit)


def search(folder: Path, text: str, *, start: int = 0, limit: int = 20) -> Hits:
    """Only rows with a cell that contains a text. See :func:`core.data.store.search`."""
    return search_in(opened(folder), text, start=start, limit=limit)


def iter_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Every row of a dataset, one at a time."""
    yield from opened(folder).rows()


def sweep(uploads: Path) -> None:
    """Delete uploads and imports abandoned a week ago."""
    for path in uploads.glob(f"*{PARTIAL}"):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(path, ignore_errors=True)
