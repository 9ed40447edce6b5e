"""The trash: restores deleted items with their catalog rows, or deletes them permanently."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from core.errors import Conflict, TunesmithError
from core.job import JobKind
from core.job_dir import JobDir
from core.settings import Home
from services.jobs.database import Database, Job
from services.jobs.events import Events
from services.jobs.kinds import KINDS
from services.jobs.rebuild import job_from_row, read_job
from services.machine.bin import Bin, Entry

log = logging.getLogger(__name__)
EVERY = 3600.0
"""Seconds between checks for expired items."""
_OF_JOBS = {kind.word: name for name, kind in KINDS.items()}


class Trash:
    """Operations on deleted items.

    Args:
        home: Location of the trash.
        database: The catalog of jobs.
        events: Receives restored jobs.
        keep_days: Days that an item stays; 0 until the trash is emptied.
    """

    def __init__(self, home: Home, database: Database, events: Events, keep_days: Callable[[], int]) -> None:
        self._bin, self._database, self._events = Bin(home), database, events
        self._keep_days = keep_days
        self._lock = threading.Lock()
        self._ending = threading.Event()

    def list(self) -> list[Entry]:
        """Everything in it, last deleted first."""
        return self._bin.list()

    def gone_on(self, entry: Entry) -> datetime | None:
        """When an entry is deleted permanently; None for never."""
        days = self._keep_days()
        deleted = _moment(entry)
        return deleted + timedelta(days=days) if days and deleted else None

    def restore(self, entry_id: str) -> Entry:
        """Restore an item, with its row in the catalog.

        Raises:
            NotFound: It is no longer in the trash.
            Conflict: Something else is at its path, or its entry cannot be read.
            Unavailable: It cannot be moved; it stays in the trash.
        """
        with self._lock:
            entry = self._bin.get(entry_id)
            kind = _OF_JOBS.get(entry.kind)
            if kind and self._database.exists(entry.file):
                raise Conflict(f"There is another {entry.kind} with this id. Delete that one first.")
            place = self._bin.take_out(entry)
            job = self._adopt(entry, JobDir(place)) if kind else None
            self._bin.drop(entry)
        if job and kind:
            self._events.publish(KINDS[kind].event, KINDS[kind].payload(job.facts()))
        return entry

    def _adopt(self, entry: Entry, run_dir: JobDir) -> Job | None:
        """Add a job's row as it was at deletion, else from its files."""
        job = job_from_row(entry.row) or read_job(run_dir)
        return self._database.add(job) if job else None

    def purge(self, entry_id: str) -> None:
        """Delete one item permanently. Raises NotFound, or Unavailable if some of it remains."""
        with self._lock:
            self._bin.purge(self._bin.get(entry_id))

    def empty(self) -> int:
        """Delete everything in it permanently. Returns the number of freed bytes.

        Raises:
            Unavailable: Something could not be deleted; the rest is gone.
        """
        freed, failed = 0, None
        for entry in self.list():
            try:
                self.purge(entry.id)
                freed += entry.size
            except TunesmithError as error:
                failed = error
        if failed:
            raise failed
        return freed

    # --- automatic ---

    def start(self) -> None:
        """Finish interrupted deletions, then permanently delete expired entries, now and every hour."""
        self._bin.sweep()
        self.recover()
        threading.Thread(target=self._loop, name="trash", daemon=True).start()

    def close(self) -> None:
        """End the thread."""
        self._ending.set()

    def _loop(self) -> None:
        while True:
            try:
                self.expire()
            except Exception:
                log.exception("the trash could not be checked")
            if self._ending.wait(EVERY):
                return

    def recover(self) -> None:
        """Finish deletions and restores that were interrupted between two steps; nothing is lost either way."""
        for entry in self.list():
            kind = _OF_JOBS.get(entry.kind)
            if self._bin.content(entry) is not None:
                if kind and not self._bin.place(entry).exists():
                    self._database.delete(entry.file)
            elif entry.kind != "unknown":
                self._finish(entry, kind)

    def _finish(self, entry: Entry, kind: JobKind | None) -> None:
        place = self._bin.place(entry)
        if not place.exists():  # Its disk may be away: content whose entry is gone would be deleted when it is back.
            return
        if kind and place.is_dir() and not self._database.exists(entry.file):
            self._adopt(entry, JobDir(place))
        self._bin.drop(entry)

    def expire(self, now: datetime | None = None) -> None:
        """Permanently delete expired entries."""
        now = now or datetime.now(UTC)
        for entry in self.list():
            limit = self.gone_on(entry)
            if limit and limit <= now:
                with suppress(TunesmithError):
                    self.purge(entry.id)


def _moment(entry: Entry) -> datetime | None:
    try:
        moment = datetime.fromisoformat(entry.deleted_at)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
