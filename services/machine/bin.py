"""The trash: deleted items that can be restored, in ``trash/<id>/`` in the home folder.

``entry.json`` describes the item; ``content`` is the file or folder itself, moved by one rename. The order of steps
makes crashes harmless: the entry is written before the content moves, and removed before the content is deleted
permanently. So content without an entry can be deleted, and an entry without content refers to something that is
still, or again, in its original place.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from core.disk import disk_full, disk_words
from core.errors import Conflict, NotFound, TunesmithError, Unavailable
from core.job import ID_PATTERN, check_id, new_id
from core.job_dir import read_model, remove_folder, write_json
from core.moment import now
from core.settings import Home

ENTRY, CONTENT = "entry.json", "content"
BESIDE = ".trash-"
"""Prefix of content that is on another disk than the trash and therefore stayed in its folder."""
FOLDERS = {
    "run": "outputs",
    "probe": "outputs",
    "evaluation": "outputs",
    "export": "exports",
    "dataset": "uploads",
    "preset": "configs",
    "reward": "configs/rewards",
}
"""Kind to folder. An entry has only a name, so that it cannot point elsewhere."""
_NAMED_BY_HAND = frozenset({"preset", "reward"})


class Entry(BaseModel):
    """One deleted item.

    Attributes:
        id: The entry's id.
        kind: A key of :data:`FOLDERS`; ``unknown`` if the entry cannot be read.
        file: The name of its file or folder.
        name: Its name for users.
        deleted_at: ISO 8601, UTC.
        size: Bytes.
        row: A job's row in the catalog.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    kind: str
    file: str = Field(min_length=1, max_length=255, pattern=r"^[^/\\\x00]+$")
    name: str
    deleted_at: str
    size: int = 0
    row: dict[str, Any] | None = None


class Bin:
    """Moves files into and out of the trash. It does not use the catalog.

    Args:
        home: Location of the trash.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def put(self, path: Path, *, kind: str, name: str, row: dict[str, Any] | None = None) -> Entry:
        """Move a file or folder into the trash.

        Args:
            path: Its path, directly in its kind's folder.
            kind: A key of :data:`FOLDERS`.
            name: Its name for users.
            row: What else is needed to restore it.

        Raises:
            Unavailable: It could not be moved, and stays in place.
        """
        entry = Entry(id=new_id(), kind=kind, file=path.name, name=name, deleted_at=now(), size=size_of(path), row=row)
        folder = self._folder(entry.id)
        try:
            folder.mkdir(parents=True)
            write_json(folder / ENTRY, entry.model_dump(), private=True)
            _move(path, folder / CONTENT, beside=path.with_name(f"{BESIDE}{entry.id}"))
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise Unavailable(f"The {kind} could not be deleted and is still there. {_why(error)}".strip()) from None
        return entry

    def list(self) -> list[Entry]:
        """Everything in the trash, last deleted first."""
        found = [self._read(folder) for folder in self._folders() if (folder / ENTRY).exists()]
        return sorted(found, key=lambda entry: (entry.deleted_at, entry.id), reverse=True)

    def get(self, entry_id: str) -> Entry:
        """One entry. Raises InvalidInput or NotFound."""
        folder = self._folder(check_id(entry_id))
        if not (folder / ENTRY).is_file():
            raise NotFound("This is no longer in the trash. It was restored, or deleted for good.")
        return self._read(folder)

    def place(self, entry: Entry) -> Path:
        """Its original path, to which it is restored.

        Raises:
            Conflict: It is unknown.
        """
        if entry.kind not in FOLDERS:
            raise Conflict(
                "This cannot be restored, because the record of what it was is damaged. Its files are still in the "
                "trash."
            )
        return self._home.root / FOLDERS[entry.kind] / entry.file

    def content(self, entry: Entry) -> Path | None:
        """Its current path; None if it is not in the trash."""
        places = [self._folder(entry.id) / CONTENT]
        if entry.kind in FOLDERS:
            places.append(self._home.root / FOLDERS[entry.kind] / f"{BESIDE}{entry.id}")
        return next((path for path in places if _exists(path)), None)

    def take_out(self, entry: Entry) -> Path:
        """Move the content back to its original path, or next to it if a file with that name was created since.

        The entry stays until :meth:`drop`.

        Raises:
            Conflict: Something else is at its path.
            Unavailable: It could not be moved, and is still in the trash.
        """
        content, place = self.content(entry), self.place(entry)
        if content is None:
            raise NotFound("Its files are no longer in the trash.")
        if _exists(place):
            if entry.kind not in _NAMED_BY_HAND:
                raise Conflict(f"There is another {entry.kind} in its place. Delete that one first, then restore this.")
            place = _free_name(place)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            content.rename(place)
        except OSError as error:
            raise Unavailable(f"It could not be restored and is still in the trash. {_why(error)}".strip()) from None
        return place

    def keep_beside(self, folder: Path) -> None:
        """Move what was deleted from a folder of the home back into it, under a hidden name, to go where that goes."""
        for entry in self.list():
            content = self._folder(entry.id) / CONTENT
            if FOLDERS.get(entry.kind) == folder.name:
                with suppress(OSError):  # it is beside already, or cannot be restored as it is either
                    content.rename(folder / f"{BESIDE}{entry.id}")

    def drop(self, entry: Entry) -> None:
        """Remove the entry of restored content."""
        shutil.rmtree(self._folder(entry.id), ignore_errors=True)

    def purge(self, entry: Entry) -> None:
        """Delete something permanently.

        Raises:
            Unavailable: Some of it remains; it can no longer be restored, and is removed at the next start.
        """
        folder, content = self._folder(entry.id), self.content(entry)
        (folder / ENTRY).unlink(missing_ok=True)
        for path in (content, folder):
            if path is not None:
                remove_folder(path, f"The {entry.kind}")

    def sweep(self) -> None:
        """Remove what an interrupted deletion left: content whose entry is gone."""
        if not self._home.trash.is_dir():  # None yet, or a link to a disk that is away, with the entries.
            return
        for folder in self._folders():
            if not (folder / ENTRY).exists():
                shutil.rmtree(folder, ignore_errors=True)
        for parent in {self._home.root / name for name in FOLDERS.values()}:
            for path in parent.glob(f"{BESIDE}*"):
                if not (self._folder(path.name.removeprefix(BESIDE)) / ENTRY).exists():
                    with suppress(TunesmithError):
                        remove_folder(path, "It")

    def _folders(self) -> Iterator[Path]:
        if self._home.trash.is_dir():
            yield from (path for path in self._home.trash.iterdir() if ID_PATTERN.fullmatch(path.name))

    def _folder(self, entry_id: str) -> Path:
        return self._home.trash / entry_id

    def _read(self, folder: Path) -> Entry:
        entry = read_model(folder / ENTRY, Entry)
        if entry and entry.id == folder.name and entry.kind in FOLDERS and entry.file not in {".", ".."}:
            return entry
        return Entry(id=folder.name, kind="unknown", file=folder.name, name=folder.name, deleted_at="")


def size_of(path: Path, *, copied: bool = False) -> int:
    """Bytes of a file or of all files in a folder, without links and unreadable files.

    Args:
        path: The file or folder.
        copied: Whether to count what a copy would take: a file with several names, such as a checkpoint's weights that
            are also the run's latest, counts once, but a copy has each of them.
    """
    total, waiting = 0, [path]
    seen: set[tuple[int, int]] = set()
    while waiting:
        one = waiting.pop()
        try:
            if one.is_symlink():
                continue
            if one.is_dir():
                waiting.extend(one.iterdir())
            else:
                found = one.stat()
                place = (found.st_dev, found.st_ino)
                total += found.st_size if place not in seen else 0
                seen |= {place} if found.st_nlink > 1 and not copied else set()
        except OSError:
            continue
    return total


def _move(path: Path, target: Path, *, beside: Path) -> None:
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        path.rename(beside)


def _free_name(place: Path) -> Path:
    """The name with the first free number: 'strict-2.json'."""
    numbers = (place.with_name(f"{place.stem}-{number}{place.suffix}") for number in range(2, 10_000))
    return next(path for path in numbers if not _exists(path))


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _why(error: OSError) -> str:
    if disk_full(error):
        return "The disk is full: empty the trash or the caches on the Storage page, then try again."
    return disk_words(error)
