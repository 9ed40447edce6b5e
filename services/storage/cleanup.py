"""Frees disk space. Never removes what a running or queued job needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from core.errors import Conflict, NotFound
from core.job_dir import remove_checkpoint, remove_folder
from core.settings import Home
from services.jobs.database import Database
from services.machine.bin import size_of
from services.storage.usage import cache_folders, download_folders, downloads, old_checkpoints


class Cleanup:
    """Operations that free disk space; each returns the number of bytes.

    Args:
        home: The home folder.
        database: Knows which jobs are unfinished.
        fetching: Whether a model or dataset is being downloaded right now.
        changed: Called after each, to measure again.
    """

    def __init__(
        self, home: Home, database: Database, fetching: Callable[[], bool], changed: Callable[[], None]
    ) -> None:
        self._home, self._database = home, database
        self._fetching, self._changed = fetching, changed

    def checkpoints(self) -> int:
        """Delete all but the newest checkpoint of every ended run."""
        freed = 0
        for _, path in list(old_checkpoints(self._home, self._database)):
            size = size_of(path)
            with suppress(FileNotFoundError):  # Its run was deleted meanwhile.
                remove_checkpoint(path)
                freed += size
        self._changed()
        return freed

    def download(self, name: str) -> int:
        """Delete a model or dataset downloaded from Hugging Face; it is downloaded again when needed.

        Raises:
            NotFound: It is not on this machine.
            Conflict: An unfinished job needs it, or something is being downloaded.
        """
        folders = [folder for folder, _, found in download_folders(self._home) if found == name]
        if not folders:
            raise NotFound(f"{name} is not among the downloads.")
        job = next((one.needed_by for one in downloads(self._home, self._database) if one.name == name), "")
        if job:
            raise Conflict(f"{name} is needed by {job}. Wait until it ends or stop it, then try again.")
        if self._fetching():
            raise Conflict("A model or dataset is being downloaded. Wait until that ends, then try again.")
        return self._remove(folders, name)

    def caches(self) -> int:
        """Delete what is recreated when needed.

        Raises:
            Conflict: A job is running or queued, or something is being downloaded.
        """
        self._check_idle("the caches")
        return self._remove(cache_folders(self._home), "The cache")

    def all_downloads(self) -> int:
        """Delete everything downloaded from Hugging Face, and rows made from it. Raises Conflict as :meth:`caches`."""
        self._check_idle("the downloads")
        folders = [folder for folder, _, _ in download_folders(self._home)]
        made = [self._home.cache / "hub" / "datasets", self._home.cache / "prepared"]
        return self._remove([*folders, *made], "The cache")

    def _check_idle(self, what: str) -> None:
        job = next(iter(self._database.unfinished()), None)
        if job is not None:
            raise Conflict(
                f"The {job.of_kind.word} '{job.name}' is running or waiting and may need {what}. "
                "Delete them when it has ended."
            )
        if self._fetching():
            raise Conflict(f"A model or dataset is being downloaded. Delete {what} when that has ended.")

    def _remove(self, folders: list[Path], what: str) -> int:
        freed = 0
        try:
            for folder in folders:
                size = size_of(folder)
                remove_folder(folder, what)
                freed += size
        finally:
            self._changed()
        return freed
