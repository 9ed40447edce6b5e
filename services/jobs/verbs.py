"""Operations on any kind of job: queue, stop, resume, delete."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import time
from typing import Any

from core.errors import Conflict, NotFound
from core.job import ACTIVE, ENDED, RESUMABLE, Control, JobKind, JobState, check_id
from core.job_dir import JobDir, new_folder, write_json
from core.moment import now
from core.settings import Home
from services.jobs.database import Database, Job, new_job
from services.jobs.events import Events
from services.jobs.in_use import needing
from services.jobs.kinds import KINDS
from services.jobs.launcher import NO_WORKER
from services.jobs.rebuild import row_of
from services.machine.bin import Bin, Entry

FRESH = {"error": None, "ended_at": None, "stop_now_at": None, "message": "", "phase": "", "worker": NO_WORKER}
"""Columns reset when a job is queued again."""


class Jobs:
    """Operations on the jobs of one kind. Each change is published and wakes the watcher.

    Args:
        kind: Which.
        home: Location of their directories.
        database: The list of jobs.
        events: Receives every change.
        wake: Called after a change that the watcher should act on.
    """

    def __init__(self, kind: JobKind, home: Home, database: Database, events: Events, wake: Callable[[], None]) -> None:
        self._name, self._kind = kind, KINDS[kind]
        self._parent = self._kind.parent(home)
        self._bin = Bin(home)
        self._database = database
        self._events = events
        self._wake = wake

    # --- look at ---

    def get(self, job_id: str) -> Job:
        """One job with its configuration.

        Raises:
            InvalidInput: The id is malformed.
            NotFound: There is none of this id and kind.
        """
        return self._database.job(check_id(job_id), self._name)

    def files(self, job_id: str) -> JobDir:
        """Its directory, for reading; if it was deleted, it reads as empty."""
        return JobDir.known(self._parent, job_id)

    # --- change ---

    def queue(
        self, job_id: str, content: dict[str, Any], fill: Callable[[JobDir], None] = lambda run_dir: None
    ) -> None:
        """Create a job's directory, which is sufficient to rebuild the database, and queue the job.

        Args:
            job_id: Its id.
            content: Its ``config.json``, with ``kind`` and ``created_at``.
            fill: Writes other files that the job needs.

        Raises:
            FileExistsError: There is a job with this id.
        """
        with new_folder(self._parent / job_id) as run_dir:
            fill(run_dir)
            write_json(run_dir.config, content)
            run_dir.write_control(Control())
            self._database.add(new_job(job_id, content))
        self.announce(job_id)

    def stop(self, job_id: str, *, at_once: bool = True) -> None:
        """Stop a job: a queued one is removed from the queue, a running one gets a request.

        Repeated calls stop it once. If the job's folder was deleted, its worker cannot receive requests: it
        is ended as after 'stop now'.

        Args:
            job_id: Which.
            at_once: Without finishing its step and saving a checkpoint.

        Raises:
            Conflict: It has already ended.
        """
        self._stop(self.get(job_id), at_once=at_once)
        self.announce(job_id)

    def _stop(self, job: Job, *, at_once: bool) -> None:
        if job.job_state is JobState.STOPPED:
            return
        ended = Conflict("This has already ended, so there is nothing to stop.")
        if job.job_state in ENDED:
            raise ended
        # Requested before checking the state again: a worker that starts in between reads the request.
        heard = self._ask(job.id, at_once=at_once)
        # A verification that was only queued leaves a completed export.
        end = JobState.COMPLETED if self.files(job.id).made else JobState.STOPPED
        if self._database.move(job.id, to=end, only_from=[JobState.QUEUED], ended_at=now(), message=""):
            return
        # It is no longer queued. The watcher clears control.json just before it takes a job out of the queue, so it may
        # have deleted the request above. From here on nobody clears it, so a second request stays.
        heard = self._ask(job.id, at_once=at_once) and heard
        values = {"stop_now_at": job.stop_now_at or time()} if at_once or not heard else {}
        moved = self._database.move(job.id, to=JobState.STOPPING, only_from=ACTIVE, **values)
        # A quick worker may have followed the request by now, and the watcher recorded that.
        if not moved and self.get(job.id).job_state != JobState.STOPPED:
            raise ended

    def _ask(self, job_id: str, *, at_once: bool) -> bool:
        """Returns whether there is a folder for the request."""
        run_dir = self.files(job_id)
        asked = run_dir.read_control()
        try:
            run_dir.write_control(Control(stop=True, now=at_once or (asked.stop and asked.now)))
        except FileNotFoundError:
            return False
        return True

    def resume(self, job_id: str) -> None:
        """Queue a job again that ended early. Repeated calls resume it once: a queued or running job is not changed.

        Raises:
            Conflict: It is stopping or completed, or its folder was deleted.
        """
        job = self.get(job_id)
        try:
            JobDir.open(self._parent, job.id)
        except NotFound:
            raise Conflict("Its folder was deleted, so it cannot be resumed. Start a new one.") from None
        self._resume(job.id)
        self.announce(job_id)

    def _resume(self, job_id: str) -> None:
        # The state is compared when it is changed: of two simultaneous clicks, one moves the job, and the other finds
        # it queued.
        if self.requeue(job_id, only_from=tuple(RESUMABLE)):
            return
        if self.get(job_id).job_state in {JobState.STOPPING, JobState.COMPLETED}:
            raise Conflict(f"Only {self._kind.one()} that was stopped, failed or crashed can be resumed.")

    def requeue(self, job_id: str, *, only_from: Sequence[JobState], **values: Any) -> bool:
        """Put a job at the end of the queue with a clean state; False if it is in another state.

        Publishes nothing: :meth:`announce` does that.
        """
        return self._database.move(job_id, to=JobState.QUEUED, only_from=only_from, **{**FRESH, **values})

    def delete(self, job_id: str, refuse: Callable[[Path], None] = lambda path: None) -> Entry | None:
        """Move a job with all its files to the trash.

        Args:
            job_id: Which.
            refuse: Called with its directory; raises if it must not be deleted.

        Returns:
            The trash entry to restore it; None if it had no files.

        Raises:
            Conflict: It is running or queued, or an unfinished job needs its results.
            Unavailable: Its files cannot be moved.
        """
        job = self.get(job_id)
        if job.job_state not in ENDED:
            raise Conflict(self._kind.unfinished)
        path, word = self._parent / job.id, self._kind.word
        refuse(path)
        reference = f"{self._kind.reference}:{job.id}"
        if self._kind.reference and (needs := needing(self._database, reference, path)):
            raise Conflict(
                f"This {word} is in use by {needs}. Wait until that ends, or stop it, then delete the {word}."
            )
        # Files first: a row without files can be deleted again, files without a row would reappear in a rebuild.
        entry = self._bin.put(path, kind=word, name=job.name, row=row_of(job)) if os.path.lexists(path) else None
        try:
            self._database.delete(job.id)
        except BaseException:
            if entry:
                self._bin.take_out(entry)
                self._bin.drop(entry)
            raise
        self._events.publish(self._kind.event, {**self._kind.payload(job.facts()), "status": "deleted"})
        return entry

    def announce(self, job_id: str) -> None:
        """Publish a job's state and wake the watcher."""
        # Published before the watcher runs: its own events come after.
        self._events.publish(self._kind.event, self._kind.payload(self.get(job_id).facts()))
        self._wake()
