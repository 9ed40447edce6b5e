"""Exports of trained models: make, look at, take away."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.errors import Conflict, InvalidInput, NotFound
from core.export import ExportFormat, ExportSpec, Quantization
from core.run import ENDED, Control, JobKind, JobState, check_id, new_id
from core.run_dir import RunDir, read_json, write_json
from core.settings import Home
from services.catalogue import Catalogue, Job
from services.events import Events
from services.follower import export_event
from services.run_view import now, queue_ids
from services.runs import request_stop
from services.tail import tail_text


@dataclass(frozen=True)
class ExportView:
    """One export as pages and programs see it.

    Attributes:
        export_id: Its id.
        session_id, name: The run it was made from; the name is kept where the run was deleted.
        format, quantization: What was asked for.
        status: A :class:`core.run.JobState`.
        step, max_steps: Stage n of m; ``message`` names it.
        files: What was made, as read back from disk; see :class:`core.export.ExportedFile`.
        commands: How to use it, ready to copy, as the export wrote them.
        model_path: What chat and test take, for a finished GGUF.
        queue_position: 1 for the next to start; None where it does not wait.
    """

    export_id: str
    session_id: str
    name: str
    format: str
    quantization: str | None
    status: str
    step: int
    max_steps: int
    message: str
    error: str | None
    notes: list[str]
    created_at: str
    started_at: str | None
    ended_at: str | None
    active: bool
    queue_position: int | None
    model_path: str | None
    files: list[dict[str, Any]]
    commands: Any

    def json(self) -> dict[str, Any]:
        return asdict(self)


class Exports:
    """Verbs on exports.

    Args:
        home: Where ``exports/`` and ``outputs/`` lie.
        catalogue: The list of jobs.
        events: Told of every change.
        wake: Called after a change that the watcher should act on.
    """

    def __init__(self, home: Home, catalogue: Catalogue, events: Events, *, wake: Callable[[], None]) -> None:
        self._home = home
        self._catalogue = catalogue
        self._events = events
        self._wake = wake

    def create(self, session_id: str, format: str, quantization: str | None = None) -> ExportView:  # noqa: A002 (the format's own word)
        """Put an export into the queue.

        Raises:
            InvalidInput: Unknown format or quantization.
            Conflict: The run is not over, or has nothing to export.
        """
        spec = self._spec(session_id, format, quantization)
        export_id, created = new_id(), now()
        run_dir = RunDir(self._home.exports / export_id)
        run_dir.path.mkdir(parents=True)
        write_json(run_dir.config, {**spec.model_dump(mode="json"), "created_at": created})
        run_dir.write_control(Control())
        self._catalogue.add(export_job(export_id, spec, created))
        return self._announce(export_id)

    def _spec(self, session_id: str, format_name: str, quantization: str | None) -> ExportSpec:
        chosen = _choice(ExportFormat, format_name, "format")
        number = _choice(Quantization, quantization, "quantization") if quantization else None
        if (chosen is ExportFormat.GGUF) != (number is not None):
            words = "A GGUF needs a quantization; the other formats take none."
            raise InvalidInput(words, field="quantization")
        run = self._catalogue.job(check_id(session_id), JobKind.TRAIN)
        if run.job_state not in ENDED:
            raise Conflict("This run is not over. Stop it or wait for its end, then export what it has learnt.")
        if not RunDir.open(self._home.outputs, session_id).adapter.is_dir():
            raise Conflict("This run has no trained adapter: it ended before its first checkpoint. Resume it first.")
        return ExportSpec(
            session_id=session_id, format=chosen, quantizations=(number,) if number else (), name=run.name
        )

    def list(self) -> list[ExportView]:
        """Every export, newest first."""
        queue = queue_ids(self._catalogue.unfinished())
        return [self._view(job, queue) for job in self._catalogue.jobs(JobKind.EXPORT, with_config=True)]

    def get(self, export_id: str) -> ExportView:
        """One export. Raises NotFound."""
        return self._view(self._job(export_id), queue_ids(self._catalogue.unfinished()))

    def of_session(self, session_id: str) -> Sequence[ExportView]:
        """The exports made from a run, newest first."""
        return [view for view in self.list() if view.session_id == session_id]

    def log(self, export_id: str, tail: int = 200) -> str:
        """The last lines of what the export's worker printed."""
        self._job(export_id)
        return tail_text(RunDir.open(self._home.exports, export_id).log, tail)

    def path(self, export_id: str, file: str) -> Path:
        """A finished file, for download.

        Raises:
            NotFound: There is none of that name; nothing outside the export's folder is looked at.
        """
        self._job(export_id)
        files = RunDir.open(self._home.exports, export_id).files
        path = files / file
        if Path(file).name != file or not path.is_file() or path.resolve().parent != files.resolve():
            raise NotFound("There is no such file in this export. Its page lists what there is.")
        return path.resolve()

    def cancel(self, export_id: str) -> ExportView:
        """Stop making an export; what was half made is removed by its worker.

        Raises:
            Conflict: It has ended already.
        """
        job = self._job(export_id)
        request_stop(self._catalogue, RunDir.open(self._home.exports, export_id), job, at_once=True)
        return self._announce(export_id)

    def delete(self, export_id: str) -> None:
        """Delete an export with its files.

        Raises:
            Conflict: It is being made or waits.
        """
        job = self._job(export_id)
        if job.job_state not in ENDED:
            raise Conflict("This export is being made. Cancel it first, then delete it.")
        shutil.rmtree(self._home.exports / check_id(export_id), ignore_errors=True)
        self._catalogue.delete(export_id)
        self._events.publish("export_progress", {**export_event(job), "status": "deleted"})

    def _announce(self, export_id: str) -> ExportView:
        self._wake()
        self._events.publish("export_progress", export_event(self._job(export_id)))
        return self.get(export_id)

    def _job(self, export_id: str) -> Job:
        return self._catalogue.job(check_id(export_id), JobKind.EXPORT)

    def _view(self, job: Job, queue: Sequence[str]) -> ExportView:
        run_dir = RunDir(self._home.exports / job.id)
        result = (read_json(run_dir.result) or {}) if job.job_state is JobState.COMPLETED else {}
        files = result.get("files", [])
        gguf = next((file["name"] for file in files if file["name"].endswith(".gguf")), None)
        return ExportView(
            export_id=job.id,
            session_id=job.session_id or "",
            name=job.name,
            format=job.config.get("format", ""),
            quantization=", ".join(_quantizations(job.config)) or None,
            status=job.state,
            step=job.step,
            max_steps=job.max_steps,
            message=job.message,
            error=job.error,
            notes=job.notes,
            created_at=job.created_at,
            started_at=job.started_at,
            ended_at=job.ended_at,
            active=job.active,
            queue_position=queue.index(job.id) + 1 if job.id in queue else None,
            model_path=f"export:{job.id}/{gguf}" if gguf else None,
            files=files,
            commands=result.get("commands"),
        )


def export_job(export_id: str, spec: ExportSpec, created: str) -> Job:
    """The catalogue's entry of a new export."""
    return Job(
        id=export_id,
        kind=str(JobKind.EXPORT),
        name=spec.name,
        state=str(JobState.QUEUED),
        created_at=created,
        session_id=spec.session_id,
        config=spec.model_dump(mode="json"),
    )


def _quantizations(config: dict[str, Any]) -> Sequence[str]:
    old = config.get("quantization")
    return config.get("quantizations") or ([old] if old else [])


def _choice(kind: Any, value: str, field: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise InvalidInput(f"There is no {field} {value!r}. Known: {known}.", field=field) from None
