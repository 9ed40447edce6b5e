"""Rebuilds the catalog from the job directories."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from core.job import ENDED, ID_PATTERN, JobState, JobStatus
from core.job_dir import JobDir, read_lines
from core.job_rows import is_metric
from core.settings import Home
from services.jobs.database import Database, Job, new_job
from services.jobs.launcher import author
from services.jobs.reader import headline

log = logging.getLogger(__name__)


def rebuild(home: Home, database: Database) -> int:
    """Add every job on disk that is missing in the database. Returns how many.

    Active jobs are added as such; the watcher finds out whether they are alive.
    """
    added = 0
    for run_dir in sorted(_directories(home), key=lambda found: found.path.name):
        if not database.exists(run_dir.path.name):
            job = read_job(run_dir)
            if job is not None:
                database.add(job)
                added += 1
    return added


def _directories(home: Home) -> Iterator[JobDir]:
    for parent in (home.outputs, home.exports):
        for path in parent.iterdir():
            if path.is_dir() and ID_PATTERN.fullmatch(path.name):
                yield JobDir(path)


def row_of(job: Job) -> dict[str, Any]:
    """A job's row as JSON data, for :func:`job_from_row`."""
    return {column.name: getattr(job, column.name) for column in Job.__table__.columns}


def job_from_row(row: dict[str, Any] | None) -> Job | None:
    """A job from its row; columns of other versions are left out. None if essential ones are missing."""
    known = {name: value for name, value in (row or {}).items() if name in Job.__table__.columns}
    return Job(**known) if {"id", "kind", "name", "state", "created_at"} <= known.keys() else None


def read_job(run_dir: JobDir) -> Job | None:
    """A job from its files, which lack only the crash of a worker; None if they cannot be read."""
    try:
        job = _job(run_dir.path.name, run_dir.read_config())
        status = run_dir.read_status()
    except (ValueError, KeyError, TypeError) as error:
        log.warning("skipped %s, which cannot be read: %s", run_dir.path.name, error)
        return None
    if status is None:
        # It never started. A stop while it was queued is in control.json.
        job.state = str(JobState.STOPPED if run_dir.read_control().stop else JobState.QUEUED)
    else:
        _apply(job, status)
        if run_dir.made and status.state in ENDED:
            job.state, job.error = str(JobState.COMPLETED), None
    rows, job.offset, _ = read_lines(run_dir.metrics, limit=-1, fits=is_metric)
    job.last_row = rows[-1]["row"] if rows else 0
    job.evaluations = []
    for name, value in headline(job, rows).items():
        setattr(job, name, value)
    return job


def _job(job_id: str, content: dict[str, Any]) -> Job:
    """A job from a file's contents.

    Raises:
        ValueError, KeyError, TypeError: No version has written these contents.
    """
    job = new_job(job_id, content)
    texts = {name: getattr(job, name) for name in ("name", "created_at", "model", "dataset")}
    if wrong := [name for name, value in texts.items() if not isinstance(value or "", str)]:
        raise ValueError(f"config.json is damaged at {', '.join(sorted(wrong))}")
    return job


def _apply(job: Job, status: JobStatus) -> None:
    job.state, job.phase = str(status.state), status.phase
    job.step, job.max_steps, job.attempt = status.step, status.max_steps, status.attempt
    job.message, job.error, job.notes = status.message, status.error, list(status.notes)
    job.device, job.seconds_per_step = status.device, status.seconds_per_step
    job.checkpoint_step = status.checkpoint_step
    job.worker = author(status)
    job.started_at = job.created_at
    if status.state in ENDED:
        job.ended_at = datetime.fromtimestamp(status.heartbeat, UTC).isoformat(timespec="seconds")
