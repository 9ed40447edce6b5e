"""The watcher loop: start the next job, read what jobs append, record it, publish it.

Three parties write a job's state concurrently. The worker writes ``status.json`` and its rows; a request writes
``control.json`` and changes the state in the database; the watcher thread does the rest. If a step depends on an
earlier read, a comment says what may have happened in between, and a state is changed only if it is still the one that
was read (:meth:`services.jobs.database.Database.move`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from core.disk import disk_full, disk_words
from core.job import ACTIVE, ENDED, Control, JobState, JobStatus
from core.job_dir import JobDir, step_of
from core.job_rows import MetricRow
from core.log_tail import tail_text
from core.moment import now
from core.settings import Home
from services.jobs.database import Database, Job
from services.jobs.events import Events
from services.jobs.kinds import KINDS
from services.jobs.launcher import NO_WORKER, Launcher
from services.jobs.reader import Reader
from services.jobs.slots import Slots

log = logging.getLogger(__name__)

BUSY = 0.05
"""Polling interval in seconds while a job runs: appended rows are published within a twentieth of a second."""
IDLE = 1.0
ALIVE_EVERY = 0.5
PUT_OFF = 5.0
"""Seconds between attempts to start a job while the disk is full or a folder is being moved."""
GRACE = 20.0
"""Seconds for a worker to end by itself after 'stop now', and again after SIGTERM."""


class Clock(Protocol):
    """The :mod:`time` module, or a test's replacement."""

    def time(self) -> float:
        """Seconds since the epoch, to compare with stored times."""
        ...

    def monotonic(self) -> float:
        """Monotonic seconds, to measure durations."""
        ...


class Watcher:
    """Follows every running job and keeps the queue moving.

    Guarantees: one job at a time per slot, in queue order, across restarts of the server. Each metric row is
    published once and in order. A job whose worker vanished is ``crashed`` within five seconds. It cannot disturb a
    running worker: it reads files, and it signals a process only after a user requested an immediate stop and twenty
    seconds have passed. An error with
    one job affects only that job: it is logged once and shown on its page.

    Args:
        home: Location of the directories.
        database: The list of jobs.
        events: Receives all events.
        launchers: Launchers by the name in a job's row.
        free_device: Called before a job starts, to free the device.
        held: Whether no job may start now, because a folder is being moved.
        clock: Source of the time.
    """

    def __init__(
        self,
        home: Home,
        database: Database,
        events: Events,
        launchers: Mapping[str, Launcher],
        free_device: Callable[[], None] = lambda: None,
        held: Callable[[], bool] = lambda: False,
        clock: Clock = time,
    ) -> None:
        self._home = home
        self._database = database
        self._events = events
        self._launchers = launchers
        self._free_device, self._held = free_device, held
        self._clock = clock
        self._slots = Slots({name: launcher.slots for name, launcher in launchers.items()})
        self._readers: dict[str, Reader] = {}
        self._leaving: list[tuple[Reader, float]] = []
        self._asked: dict[str, int] = {}
        self._checked: dict[str, float] = {}
        self._troubles: dict[str, str] = {}
        self._not_before = 0.0
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    # --- life ---

    def wake(self) -> None:
        """Check the queue immediately."""
        self._wake.set()

    def start(self) -> None:
        """Process what happened while no server was running, then continue in a thread."""
        self.catch_up()
        self._thread = threading.Thread(target=self._loop, name="watcher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread. Workers continue."""
        self._ending.set()
        self._wake.set()
        if self._thread:
            self._thread.join(timeout=5)

    def catch_up(self) -> None:
        """Continue reading where the last server stopped, before anyone connects and gets a row twice."""
        for job in self._database.unfinished():
            if job.active:
                self._alone(job.id, partial(self._follow, job))
        for name, kind in KINDS.items():
            if kind.tidy:
                for job in self._database.jobs(name):
                    self._tidy_up(job, kind.tidy)

    def _tidy_up(self, job: Job, tidy: Callable[[JobDir], None]) -> None:
        """Clean up after a job that failed while no server was running."""
        if job.job_state not in ENDED - {JobState.COMPLETED}:
            return
        run_dir = self._run_dir(job)
        tidy(run_dir)
        if run_dir.made:  # The results of an earlier start are complete.
            self._database.move(job.id, to=JobState.COMPLETED, only_from=[job.job_state], error=None)

    @property
    def busy(self) -> bool:
        """Whether a worker is there, be it one that has said its last word."""
        return bool(self._readers or self._leaving)

    def trouble(self, job_id: str) -> str:
        """The error that kept the watcher from following a job, since this server started; '' for none."""
        return self._troubles.get(job_id, "")

    def _alone(self, job_id: str, attend: Callable[[], None]) -> None:
        """Run something for one job. Errors must not affect other jobs."""
        try:
            attend()
        except Exception as error:
            message = disk_words(error) or f"{type(error).__name__}: {error}"
            if self._troubles.get(job_id) != message:
                log.exception("job %s cannot be followed; other jobs are not affected", job_id)
            self._troubles[job_id] = message
        else:
            self._troubles.pop(job_id, None)

    def replay(self, session_id: str, after: int) -> list[MetricRow] | None:
        """Already published rows after a row number; None if the job is not running."""
        reader = self._readers.get(session_id)
        return reader.replay(after) if reader else None

    def _loop(self) -> None:
        said = ""
        while not self._ending.is_set():
            try:
                busy, said = self.tick(), ""
            except Exception as error:
                if said != (said := repr(error)):
                    log.exception("error in the watcher; it retries every second")
                busy = False
            self._wake.wait(BUSY if busy else IDLE)

    def tick(self) -> bool:
        """One round. Returns whether a job is running."""
        if self._wake.is_set() or not self._readers:
            # Cleared before the database is read: later changes set it again, for the next round.
            # In the reverse order, a change between the two would wait until something else wakes the watcher.
            self._wake.clear()
            self._refresh()
        for reader in list(self._readers.values()):
            self._alone(reader.job.id, partial(self._attend, reader))
        self._see_off()
        self._start_waiting()
        return self.busy

    def _refresh(self) -> None:
        """Load changes that requests made in the database."""
        for job in self._database.unfinished():
            reader = self._readers.get(job.id)
            if reader:
                reader.job.state, reader.job.name = job.state, job.name
                reader.job.stop_now_at = job.stop_now_at
            elif job.active:
                self._alone(job.id, partial(self._follow, job))

    # --- one job ---

    def _follow(self, job: Job) -> None:
        """Follow a running job that this server did not start."""
        run_dir = self._run_dir(job)
        if not job.worker:
            # A start has three steps: the state becomes 'starting', the worker is started, its handle is stored.
            # The last server died after the first or the second. If there is a worker, it is this job's; if
            # not, the job is started now, unless a stop was requested in the meantime.
            found = self._launcher(job).find(run_dir)
            if found is None and not run_dir.read_control().stop:
                self._database.move(job.id, to=JobState.QUEUED, only_from=[job.job_state])
                return
            job.worker = found or NO_WORKER
            self._database.update(job.id, worker=job.worker)
        self._attend(self._read_from_now_on(job, run_dir))

    def _read_from_now_on(self, job: Job, run_dir: JobDir) -> Reader:
        reader = Reader(job, run_dir, self._database, self._events, self._launcher(job))
        self._slots.hold(job.launcher, job.id)
        self._readers[job.id] = reader
        return reader

    def _attend(self, reader: Reader) -> None:
        job = reader.job
        # First whether it is alive, then its status. In the reverse order, a worker that writes its final status and
        # exits
        # in between would be mistaken for one that vanished in the middle of its work.
        alive = self._alive(reader)
        status = self._read(reader, alive=alive)
        if status is not None and status.state in ENDED:
            self._finish(reader, status.state, error=status.error, status=status)
        elif not alive:
            # Its remaining children may still write: they are ended first, then the files are read again.
            self._launcher(job).sweep(job.handle, reader.run_dir)
            last = self._read(reader, alive=False)
            if last is not None and last.state in ENDED:
                self._finish(reader, last.state, error=last.error, status=last)
            else:
                self._vanished(reader)
        elif job.stop_now_at is not None:
            self._press(reader, self._clock.time() - job.stop_now_at)

    def _read(self, reader: Reader, *, alive: bool) -> JobStatus | None:
        """The worker's status. If the worker is gone, unreadable files are not waited for."""
        try:
            return reader.poll() if alive else reader.look_again()
        except Exception as error:
            if alive or isinstance(error, SQLAlchemyError):
                raise
            log.exception("the files of job %s cannot be read completely", reader.job.id)
            return None

    def _alive(self, reader: Reader) -> bool:
        """Checked with the launcher twice a second; assumed in between."""
        job, moment = reader.job, self._clock.monotonic()
        if moment - self._checked.get(job.id, -ALIVE_EVERY) < ALIVE_EVERY:
            return True
        self._checked[job.id] = moment
        return self._launcher(job).alive(job.handle, reader.run_dir)

    def _press(self, reader: Reader, waited: float) -> None:
        """After 'stop now': wait, then SIGTERM, then SIGKILL."""
        stage = 2 if waited > 2 * GRACE else 1 if waited > GRACE else 0
        if stage > self._asked.get(reader.job.id, 0):
            self._asked[reader.job.id] = stage
            self._launcher(reader.job).end(reader.job.handle, reader.run_dir, force=stage == 2)

    def _vanished(self, reader: Reader) -> None:
        job = reader.job
        if saved := reader.run_dir.numbered():  # It may have died before it could report that.
            job.checkpoint_step = step_of(saved[-1])
            self._database.update(job.id, checkpoint_step=job.checkpoint_step)
        if job.stop_now_at is not None:
            self._finish(reader, JobState.STOPPED, error=None)
            return
        code, lines = self._launcher(job).exit_code(job.handle), tail_text(reader.run_dir.log, 8)
        error = crash_words(job, code, lines, made=reader.run_dir.made)
        self._finish(reader, JobState.CRASHED, error=error)

    def _finish(self, reader: Reader, state: JobState, *, error: str | None, status: JobStatus | None = None) -> None:
        job = reader.job
        values: dict[str, Any] = {"phase": "", "error": error, "ended_at": now(), "message": ""}
        if status:
            values |= {
                "step": status.step, "max_steps": status.max_steps, "message": status.message,
                "notes": list(status.notes), "attempt": status.attempt, "checkpoint_step": status.checkpoint_step,
            }  # fmt: skip
        tidy = job.of_kind.tidy
        if tidy and state is not JobState.COMPLETED:
            tidy(reader.run_dir)
            if reader.run_dir.made:  # It was a verification, so its files are unchanged.
                state = JobState.COMPLETED
                values |= {"error": None, "message": f"Not verified again. {error or 'The check was canceled.'}"}
        # From any state with a worker, even one that a request has set since: the end is final.
        self._database.move(job.id, to=state, only_from=ACTIVE, **values)
        job.state = str(state)
        for name, value in values.items():
            setattr(job, name, value)
        self._readers.pop(job.id, None)
        self._asked.pop(job.id, None)
        self._checked.pop(job.id, None)
        # It keeps its slot: its status is final, but its process may still exist. From here on a resume is
        # accepted, and waits until that process is gone.
        self._leaving.append((reader, self._clock.monotonic()))
        reader.publish_status()

    def _see_off(self) -> None:
        """Hold the device until the worker's process is gone: it still holds the memory."""
        for entry in list(self._leaving):
            reader, since = entry
            job = reader.job
            if not self._launcher(job).alive(job.handle, reader.run_dir):
                self._leaving.remove(entry)
                self._slots.release(job.id)
                self._wake.set()
            elif self._clock.monotonic() - since > GRACE:
                self._launcher(job).end(job.handle, reader.run_dir, force=True)

    # --- the queue ---

    def _start_waiting(self) -> None:
        """Start the first queued job whose launcher has a free slot; the next one in the next round."""
        places = [name for name in self._launchers if self._slots.free(name)]
        if not places or self._clock.monotonic() < self._not_before:
            return
        waiting = (job for job in self._database.unfinished() if job.job_state is JobState.QUEUED)
        job = next((job for job in waiting if job.launcher in places), None)
        if job is not None and self._held():
            self._put_off(job, "Waiting until the folder is moved")
        elif job is not None:
            self._start(job)

    def _start(self, job: Job) -> None:
        run_dir = self._run_dir(job)
        try:
            if not self._launch(job, run_dir):
                return
        except SQLAlchemyError:
            raise  # This affects every job, and is retried.
        except Exception as error:
            if disk_full(error):
                self._put_off(job, "The disk is full. Waiting for free space")
            else:
                log.exception("job %s could not be started", job.id)
                self._could_not_start(job, run_dir, error)
            return
        self._database.update(job.id, worker=job.worker)
        self._read_from_now_on(job, run_dir).publish_status()

    def _launch(self, job: Job, run_dir: JobDir) -> bool:
        """Start the worker; False if the job was taken out of the queue."""
        # An old request is cleared before the job leaves the queue, not after. A stop that comes while it is queued
        # takes it out of the queue, so the move below fails. One that comes after the move finds it 'starting' and
        # writes control.json, which nobody clears any more: the worker reads it when it starts.
        run_dir.write_control(Control())
        began = now()
        if not self._database.move(
            job.id, to=JobState.STARTING, only_from=[JobState.QUEUED], started_at=began, message="", worker=NO_WORKER
        ):
            return False
        job.state, job.started_at = str(JobState.STARTING), began
        self._free_device()
        job.worker = self._launcher(job).start(run_dir)
        return True

    def _put_off(self, job: Job, why: str) -> None:
        """Leave a job at its position in the queue and try again later."""
        self._not_before = self._clock.monotonic() + PUT_OFF
        values = {"message": why, "place": job.place}
        self._database.move(job.id, to=JobState.QUEUED, only_from=[JobState.QUEUED, JobState.STARTING], **values)

    def _could_not_start(self, job: Job, run_dir: JobDir, error: Exception) -> None:
        why = disk_words(error) or str(getattr(error, "strerror", None) or error)
        if not run_dir.path.is_dir():
            why = "its folder was deleted"
        message = f"The worker process could not be started: {why.rstrip('.')}. Nothing was lost. Try again."
        values = {"error": message, "ended_at": now()}
        self._database.move(job.id, to=JobState.FAILED, only_from=[JobState.QUEUED, JobState.STARTING], **values)
        job.state, job.error = str(JobState.FAILED), message
        Reader(job, run_dir, self._database, self._events, self._launcher(job)).publish_status()

    def _launcher(self, job: Job) -> Launcher:
        return self._launchers[job.launcher]

    def _run_dir(self, job: Job) -> JobDir:
        return JobDir(job.of_kind.parent(self._home) / job.id)


def crash_words(job: Job, exit_code: int | None, last_lines: str, *, made: bool = False) -> str:
    """What happened, what was kept, what to do; ``made``: whether it is an export with finished files."""
    how = {
        None: "ended without an error message",
        -9: "was killed (signal 9), which usually means that memory ran out",
    }.get(exit_code, f"ended without an error message (exit code {exit_code})")
    kind, step = job.of_kind, job.checkpoint_step
    kept = kind.kept.format(step=step) if made or step is not None else kind.nothing_kept
    said = f" Last output:\n{last_lines.strip()[-2000:]}" if last_lines.strip() else ""
    return f"The worker process {how}. {kept}{said}"
