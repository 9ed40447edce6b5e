"""Reads what a running job appends and publishes each row once, in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from core.job import ENDED, JobState, JobStatus
from core.job_dir import JobDir, read_lines
from core.job_rows import MetricRow, is_metric
from core.log_tail import Tail
from services.jobs.database import Database, Job
from services.jobs.events import Events
from services.jobs.launcher import Launcher

_TAKEN = ("phase", "step", "max_steps", "message", "attempt", "device", "seconds_per_step", "checkpoint_step")


class Reader:
    """One job's reader.

    Every metric row is published once while this process lives: the position in the file is kept here and written to
    the database after the rows are published. A restarted server reads what it may have published before, before
    anyone can connect (:meth:`services.jobs.watcher.Watcher.catch_up`).

    Args:
        job: From the database; its fields are kept up to date.
        run_dir: Its directory.
        database: Written with every change.
        events: Receives rows, states and log lines.
        launcher: Decides whether a status was written by the current worker.
    """

    def __init__(self, job: Job, run_dir: JobDir, database: Database, events: Events, launcher: Launcher) -> None:
        self.job = job
        self.run_dir = run_dir
        self._database = database
        self._events = events
        self._launcher = launcher
        self._tail = Tail(run_dir.log)
        self._seen: tuple[int, int] | None = None
        self._latest: JobStatus | None = None
        self._lock = threading.Lock()

    def poll(self) -> JobStatus | None:
        """Read new data, record it, publish it. Returns the worker's latest status if it is from this start."""
        # Status before rows: once it is final, every row is in the file.
        status = self._status()
        self._rows()
        self._log()
        if status is not None and status.state not in ENDED:
            self._take(status)
        return status

    def look_again(self) -> JobStatus | None:
        """Like :meth:`poll`, but ignores the status file's timestamp, because clock ticks may be coarse."""
        self._seen = None
        return self.poll()

    def replay(self, after: int) -> list[MetricRow]:
        """Rows after a row number, up to the last one published: later ones arrive as events."""
        with self._lock:
            last = self.job.last_row
            found = read_lines(self.run_dir.metrics, limit=self.job.offset, fits=is_metric)
        return [row for row in found.rows if after < row["row"] <= last]

    def _status(self) -> JobStatus | None:
        try:
            found = self.run_dir.status.stat()
        except OSError:
            return None
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._seen:
            self._latest = self.run_dir.read_status()
            self._seen = stamp
        status = self._latest
        # An older start's last status remains until the new worker writes one.
        return status if status is not None and self._launcher.wrote(self.job.handle, status) else None

    def _rows(self) -> None:
        if self._shorter():
            with self._lock:
                self.job.offset = self.job.last_row = 0
        while True:
            rows, offset, _ = read_lines(self.run_dir.metrics, self.job.offset, fits=is_metric)
            if offset == self.job.offset:
                return
            self._publish_rows(rows, offset)

    def _shorter(self) -> bool:
        """Whether the file was truncated or rewritten, so its contents have not been read."""
        try:
            return self.run_dir.metrics.stat().st_size < self.job.offset
        except OSError:
            return False

    def _publish_rows(self, rows: Sequence[MetricRow], offset: int) -> None:
        with self._lock:
            for row in rows:
                self._events.publish("training_update", {"session_id": self.job.id, **row})
            self.job.offset = offset
            self.job.last_row = rows[-1]["row"] if rows else self.job.last_row
        changed: dict[str, Any] = {"offset": offset, "last_row": self.job.last_row, **headline(self.job, rows)}
        self._record(changed)

    def _log(self) -> None:
        if self.job.of_kind.has_log:
            for line in self._tail.new_lines():
                self._events.publish("log_line", {"session_id": self.job.id, "line": line})

    def _take(self, status: JobStatus) -> None:
        """Apply a status if it has changed."""
        values: dict[str, Any] = {name: getattr(status, name) for name in _TAKEN}
        values["notes"] = list(status.notes)
        changed = {name: value for name, value in values.items() if getattr(self.job, name) != value}
        state = JobState(self.job.state)
        # A requested stop stays visible until the worker has ended.
        wanted = state if state is JobState.STOPPING else status.state
        if wanted is not state:
            if not self._database.move(self.job.id, to=wanted, only_from=[state], **changed):
                return
            self.job.state = str(wanted)
        elif not changed:
            return
        self._record(changed)
        self.publish_status()

    def publish_status(self) -> None:
        """Publish the job's state."""
        kind = self.job.of_kind
        self._events.publish(kind.event, kind.payload(self.job.facts()))

    def _record(self, changed: dict[str, Any]) -> None:
        for name, value in changed.items():
            setattr(self.job, name, value)
        if changed:
            self._database.update(self.job.id, **changed)


def headline(job: Job, rows: Sequence[MetricRow]) -> dict[str, Any]:
    """Values from new rows that lists show: the latest mean reward, and the evaluations."""
    changed: dict[str, Any] = {}
    rewards = [row["reward"] for row in rows if row.get("phase") == "training" and "reward" in row]
    if rewards:
        changed["reward"] = rewards[-1]
    evaluations = [row for row in rows if row.get("phase") == "evaluation"]
    if evaluations:
        known = {(row.get("step"), row.get("when")): row for row in [*job.evaluations, *evaluations]}
        changed["evaluations"] = list(known.values())
    return changed
