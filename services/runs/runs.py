"""Training runs: start, stop, resume, view, delete."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import core.rewards
import core.start
from core import config as configuration
from core.config import DatasetSection, RunConfig
from core.device_checks import device_checks
from core.errors import Conflict, InvalidConfig, InvalidInput
from core.job import ENDED, JobKind, check_id, new_id
from core.job_dir import JobDir, read_model, write_json
from core.job_rows import GroupRow, MetricRow, is_metric
from core.kept import Kept
from core.log_tail import tail_text
from core.methods.method import Note
from core.model import Device
from core.moment import now
from core.settings import Home
from services.jobs.database import Database, Job
from services.jobs.events import Events
from services.jobs.names import titles
from services.jobs.readings import Readings, damage
from services.jobs.verbs import Jobs
from services.machine.bin import Entry
from services.runs.completions import CompletionIndexes, CompletionsPage
from services.runs.forecast import AtWork, Forecast, forecast
from services.runs.series import collapse, thin
from services.runs.verdict import RunVerdict
from services.runs.verdicts import Verdicts
from services.runs.view import RunView, run_view

Rows = list[MetricRow]


class Machine(Protocol):
    """What starting a run needs to know about this machine."""

    def device(self) -> Device: ...


class ModelNames(Protocol):
    """What starting a run needs to know about models."""

    def validate(self, name: str) -> None: ...


class Follows(Protocol):
    """What runs need from the watcher."""

    def wake(self) -> None: ...

    def replay(self, session_id: str, after: int) -> Rows | None: ...

    def trouble(self, job_id: str) -> str: ...


class Runs:
    """Actions on training runs.

    Args:
        home: Location of ``outputs/``.
        database: The list of jobs.
        events: Receives every change.
        watcher: Woken after a change; knows which rows were published.
        machine: This machine, for device checks.
        models: Validates model names.
        check_dataset: Raises if a dataset does not exist.
    """

    def __init__(
        self,
        home: Home,
        database: Database,
        events: Events,
        *,
        watcher: Follows,
        machine: Machine,
        models: ModelNames,
        check_dataset: Callable[[DatasetSection], None],
    ) -> None:
        self._home = home
        self._database = database
        self._jobs = Jobs(JobKind.TRAIN, home, database, events, watcher.wake)
        self._watcher = watcher
        self._machine = machine
        self._models = models
        self._check_dataset = check_dataset
        self._indexes = CompletionIndexes()
        self._metrics = Readings(is_metric)
        self._verdicts = Verdicts(home.outputs, self._metrics)
        self._listed: tuple[int, list[RunView]] = (-1, [])
        """The cached list, and the database's number of writes before it."""

    # --- start and end ---

    def check(self, config: RunConfig) -> list[Note]:
        """Remarks on a configuration for this machine; a ``problem`` prevents a start."""
        return device_checks(config, self._machine.device())

    def check_start(
        self, config: dict[str, Any], *, session_id: str | None = None, rows: Path | None = None
    ) -> RunConfig:
        """All checks that can prevent a start, except the readiness of the reward (see :meth:`Preflight.admit`).

        Args:
            config, session_id, rows: As for :meth:`start`.

        Returns:
            The complete configuration that would run.

        Raises:
            InvalidConfig: With every problem found.
            NotFound: Model or dataset does not exist.
            Conflict: There is a run with this id.
        """
        run_config = self._checked(config)
        if rows is None:
            self._check_dataset(run_config.dataset)
        if session_id is not None and (self._home.outputs / check_id(session_id)).exists():
            raise _taken(session_id)
        return run_config

    def start(self, config: dict[str, Any], *, session_id: str | None = None, rows: Path | None = None) -> RunView:
        """Queue a run.

        Args:
            config: In the configuration format.
            session_id: An ID chosen by the caller; using it twice is rejected.
            rows: A folder with prepared rows to train on instead of the configuration's source.

        Raises:
            InvalidConfig, NotFound, Conflict: As :meth:`check_start`.
        """
        run_config = self.check_start(config, session_id=session_id, rows=rows)
        job_id = session_id if session_id is not None else new_id()
        content = {
            "kind": JobKind.TRAIN,
            "name": run_config.name,
            "created_at": now(),
            "config": configuration.dump(run_config),
            "given": config,
        }

        def fill(run_dir: JobDir) -> None:
            if rows is not None:
                shutil.copytree(rows, run_dir.prepared)

        try:
            self._jobs.queue(job_id, content, fill)
        except FileExistsError:
            raise _taken(job_id) from None
        return self.get(job_id)

    def _checked(self, config: dict[str, Any]) -> RunConfig:
        run_config = self._continued(configuration.parse(config))
        core.rewards.resolve(run_config.reward)
        problems = [(note.field, note.message) for note in self.check(run_config) if note.level == "problem"]
        if problems:
            raise InvalidConfig(problems)
        self._models.validate(run_config.model.name)
        return run_config

    def _continued(self, config: RunConfig) -> RunConfig:
        """The configuration with the shape of the adapter that it goes on with."""
        filled, source = core.start.checked(config, self._home)
        run_id = source.run.path.name if source and source.run else ""
        if run_id and self._database.job(run_id, JobKind.TRAIN).job_state not in ENDED:
            raise Conflict(
                "The run to go on from is still in progress. Wait until it ends or stop it, then start this one.",
                field=core.start.FIELD,
            )
        return filled

    def stop(self, session_id: str, *, now: bool = False) -> RunView:
        """Ask a run to stop: after its current step with a checkpoint, or ``now`` without one.

        Raises:
            Conflict: It has already ended.
        """
        self._jobs.stop(session_id, at_once=now)
        return self.get(session_id)

    def resume(self, session_id: str) -> RunView:
        """Queue a stopped, failed or crashed run again; it continues from its last checkpoint.

        Repeated calls, as by a double click, resume it once.

        Raises:
            Conflict: It is stopping or completed.
        """
        self._jobs.resume(session_id)
        return self.get(session_id)

    # --- look at ---

    def list(self) -> list[RunView]:
        """All runs, newest first, without configurations; the database is queried once after each change."""
        writes = self._database.writes
        kept, views = self._listed
        if kept != writes:
            queue = self._database.queue()
            found = self._database.runs()
            called = titles([job for job, _ in found])
            views = [run_view(job, queue, called[job.id], key) for job, key in found]
            self._listed = (writes, views)
        return [*views]

    def get(self, session_id: str) -> RunView:
        """One run with its configuration and the damage of its files. Raises NotFound."""
        job = self._job(session_id)
        title = titles(self._database.namesakes(job))[job.id]
        key = str(job.config.get("method") or "")
        view = run_view(job, self._database.queue(), title, key, with_config=True)
        return replace(view, damage=[*self._damage(job)])

    def config(self, session_id: str) -> dict[str, Any]:
        """A run's configuration. Unlike :meth:`get`, it reads none of the run's files. Raises NotFound."""
        return self._job(session_id).config

    def _damage(self, job: Job) -> Sequence[str]:
        files = self._files(job.id)
        completions = self._indexes.of(files.completions).bad()
        found = damage(job, files, metrics=self._metrics.of(files.metrics).bad, completions=completions)
        trouble = self._watcher.trouble(job.id)
        return [*found, f"Live updates are not available: {trouble}"] if trouble else found

    def _files(self, session_id: str) -> JobDir:
        return self._jobs.files(session_id)

    def titles(self) -> dict[str, str]:
        """The title of each run by its ID; runs with the same name get different titles."""
        return titles(self._database.jobs(JobKind.TRAIN))

    def verdict(self, run: RunView) -> RunVerdict:
        """The verdict of a run, in the one sentence that is shown everywhere."""
        return self._verdicts.of(run)

    def kept(self, session_id: str) -> Kept | None:
        """Its best evaluation, if the adapter of that is the run's result."""
        kept = read_model(self._files(session_id).kept, Kept)
        return kept if kept and kept.published else None

    def metrics(self, session_id: str, after: int = 0, points: int | None = None) -> tuple[Rows, int]:
        """Rows after a row number, and the number to use next time.

        Args:
            session_id: Which run.
            after: Row number; 0 for all.
            points: Downsample to about this many rows for drawing.
        """
        self._job(session_id)
        rows = self._metrics.of(self._files(session_id).metrics).rows
        last = rows[-1]["row"] if rows else 0
        wanted = [row for row in rows if row["row"] > after]
        if points is not None:
            wanted = thin(collapse(wanted), points)
        return wanted, max(after, last)

    def replay(self, session_id: str, after: int) -> Rows:
        """Rows after a row number up to the last one published; the next one arrives as an event."""
        job = self._job(session_id)
        published = self._watcher.replay(session_id, after)
        if published is not None:
            return published
        rows = self._metrics.of(self._files(session_id).metrics).rows
        return [row for row in rows if after < row["row"] <= job.last_row]

    def completions(
        self,
        session_id: str,
        step: int | None = None,
        limit: int = 20,
        offset: int = 0,
        phase: str | None = None,
    ) -> CompletionsPage:
        """Groups of completions: of one step in order, or of all steps, newest first. ``total`` ignores ``limit``."""
        self._job(session_id)
        index = self._indexes.of(self._files(session_id).completions)
        entries = [entry for entry in index.entries() if phase is None or entry.phase == phase]
        steps = sorted({entry.step for entry in entries})
        wanted = [entry for entry in entries if entry.step == step] if step is not None else entries[::-1]
        page = wanted[offset : offset + limit]
        groups = [group for entry in page if (group := index.group(entry)) is not None]
        return {"groups": groups, "total": len(wanted), "steps": steps}

    def search(self, session_id: str, text: str, phase: str, *, limit: int) -> tuple[Sequence[GroupRow], bool]:
        """Groups that contain a text; see :meth:`services.runs.completions.CompletionIndex.find`."""
        self._job(session_id)
        return self._indexes.of(self._files(session_id).completions).find(text, phase, limit)

    def forecast(self, run: RunView, rows: Rows) -> Forecast:
        """When a run will end, and whether it has stalled.

        Args:
            rows: Its metric rows, merged.
        """
        return forecast(rows, run.config, AtWork(run.job.state, run.job.phase, run.job.max_steps, time.time()))

    def log(self, session_id: str, tail: int = 200, *, useful: bool = False) -> str:
        """The last lines of the worker's output; see :func:`core.log_tail.tail_text`."""
        self._job(session_id)
        return tail_text(self._files(session_id).log, tail, useful=useful)

    # --- change ---

    def delete(self, session_id: str) -> Entry | None:
        """Move a run with all its files to the trash.

        Raises:
            Conflict: It is running or queued, or an export or evaluation that needs it is.
        """
        entry = self._jobs.delete(session_id)
        self._indexes.discard(JobDir(self._home.outputs / session_id).completions)
        return entry

    def rename(self, session_id: str, name: str) -> RunView:
        """Rename a run, in its directory too, so that a rebuilt database has the new name.

        Raises:
            InvalidInput: The name is empty, over 100 characters, or has invisible characters.
        """
        name = name.strip()
        if not name or len(name) > 100 or not name.isprintable():
            raise InvalidInput("Enter a name of 1 to 100 printable characters.", field="name")
        self._job(session_id)
        run_dir = JobDir.open(self._home.outputs, session_id)
        write_json(run_dir.config, {**run_dir.whole_config(), "name": name})
        self._database.update(session_id, name=name)
        self._jobs.announce(session_id)
        return self.get(session_id)

    def _job(self, session_id: str) -> Job:
        return self._jobs.get(session_id)


def _taken(job_id: str) -> Conflict:
    message = f"A run with the ID {job_id} already exists, so it was not started again. Open it from the list of runs."
    return Conflict(message, field="session_id")
