"""Makes the catalogue again from the directories: nothing of a run is lost with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.config import SECTIONS
from core.evaluation import EvaluationSpec
from core.export import ExportSpec
from core.job_rows import is_metric
from core.run import ENDED, ID_PATTERN, JobKind, JobState, JobStatus
from core.run_dir import RunDir, read_lines
from core.settings import Home
from services.evaluations.evaluations import evaluation_job
from services.exports.exports import export_job
from services.jobs.database import Catalogue, Job
from services.jobs.reader import headline
from services.probes.probes import probe_job
from services.runs.runs import train_job

log = logging.getLogger(__name__)


def rebuild(home: Home, catalogue: Catalogue) -> int:
    """Add every job found on disk that the catalogue does not know. Returns how many.

    Jobs that were under way are taken as they say; the watcher finds out whether they still live.
    """
    added = 0
    for run_dir in sorted(_directories(home), key=lambda found: found.path.name):
        if not catalogue.exists(run_dir.path.name):
            job = _read(run_dir)
            if job is not None:
                catalogue.add(job)
                added += 1
    return added


def _directories(home: Home) -> Iterator[RunDir]:
    for parent in (home.outputs, home.exports):
        for path in parent.iterdir():
            if path.is_dir() and ID_PATTERN.fullmatch(path.name):
                yield RunDir(path)


def _read(run_dir: RunDir) -> Job | None:
    try:
        job = _checked(_job(run_dir.path, run_dir.read_config()))
        status = run_dir.read_status()
    except (ValueError, KeyError, TypeError) as error:
        log.warning("left out %s, which cannot be read: %s", run_dir.path.name, error)
        return None
    if status is None:
        # It never started. Who took it out of the queue left that in control.json.
        job.state = str(JobState.STOPPED if run_dir.read_control().stop else JobState.QUEUED)
    else:
        _apply(job, status)
        if job.kind == JobKind.EXPORT and run_dir.made and status.state in ENDED:
            job.state, job.error = str(JobState.COMPLETED), None
    rows, job.offset, _ = read_lines(run_dir.metrics, limit=-1, fits=is_metric)
    job.last_row = rows[-1]["row"] if rows else 0
    job.evaluations = []
    for name, value in headline(job, rows).items():
        setattr(job, name, value)
    return job


def _job(path: Path, data: dict[str, Any]) -> Job:
    if data["kind"] == JobKind.EXPORT:
        spec = ExportSpec.model_validate({name: value for name, value in data.items() if name != "created_at"})
        return export_job(path.name, spec, data["created_at"])
    if data["kind"] == JobKind.PROBE:
        return probe_job(path.name, data["config"], data["created_at"])
    if data["kind"] == JobKind.EVALUATION:
        return evaluation_job(path.name, EvaluationSpec.model_validate(data))
    return train_job(path.name, data["name"], data["created_at"], data["config"])


def _checked(job: Job) -> Job:
    """A job made from what a file says, be it a configuration that this version would not start any more.

    Raises:
        ValueError: It says something that no version has written.
    """
    texts = {name: getattr(job, name) for name in ("name", "created_at", "model", "dataset")}
    wrong = [name for name, value in texts.items() if not isinstance(value or "", str)]
    if job.kind in {JobKind.TRAIN, JobKind.PROBE}:
        wrong += [name for name in {*SECTIONS} & {*job.config} if not isinstance(job.config[name], dict)]
        wrong += ["method"] if not isinstance(job.config.get("method") or "", str) else []
    if wrong:
        raise ValueError(f"config.json is damaged at {', '.join(sorted(wrong))}")
    return job


def _apply(job: Job, status: JobStatus) -> None:
    job.state = str(status.state)
    job.step, job.max_steps, job.attempt = status.step, status.max_steps, status.attempt
    job.message, job.error, job.notes = status.message, status.error, list(status.notes)
    job.device, job.seconds_per_step = status.device, status.seconds_per_step
    job.checkpoint_step = status.checkpoint_step
    job.pid, job.pid_started, job.pid_boot = status.pid, status.pid_started, status.boot
    job.started_at = job.created_at
    if status.state in ENDED:
        job.ended_at = datetime.fromtimestamp(status.heartbeat, UTC).isoformat(timespec="seconds")
