"""Exports of trained models: create, view, download."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.errors import Conflict, InvalidInput, NotFound
from core.export import (
    ADAPTERS,
    NEED_MATRIX,
    UNREDUCED,
    ExportFormat,
    ExportResult,
    ExportSpec,
    Quantization,
    no_adapter,
    unexportable,
)
from core.fidelity import FidelityVerdict
from core.job import ENDED, JobKind, JobState, check_id, new_id
from core.job_dir import JobDir, checked_json, read_json, step_of
from core.log_tail import tail_text
from core.methods import method_of
from core.model import local_folder, typed_path
from core.moment import now
from core.settings import Home
from core.weights import own_base, published
from services.exports.archive import zipped
from services.jobs.database import Database, Job
from services.jobs.events import Events
from services.jobs.in_use import being_sent, unfinished
from services.jobs.readings import damage
from services.jobs.verbs import Jobs
from services.jobs.view import JobView
from services.machine.bin import Entry


@dataclass(frozen=True)
class ExportView(JobView):
    """One export as shown on pages and in the API.

    Attributes:
        format, quantizations: As requested; ``quantization`` is the same as one text.
        checkpoint: Step of the requested checkpoint; None for the run's last.
        adapter, base: For the merge of an adapter folder that was not trained here.
        importance_matrix: Whether the quantizer used an importance matrix.
        files: The finished files, as read back from disk; see :class:`core.export.ExportedFile`.
        commands: Commands for using it, ready to copy.
        origin: Its source: run, checkpoint, base, hashes; library versions in ``versions``.
        fidelity: The results of all checks, including those of files that were not kept.
        unverified: Names of files that could not be checked because llama.cpp crashed. :meth:`verify`
            compares them again.
        verifying: Whether it is being compared again, or queued for that.
        model_path: Reference for chat and test, if it is a model by itself.
        damage: What is wrong with its files, one sentence each; empty in lists.
    """

    format: str
    quantization: str | None
    quantizations: list[str]
    checkpoint: int | None
    adapter: str
    base: str
    importance_matrix: bool
    unverified: list[str]
    verifying: bool
    model_path: str | None
    files: list[dict[str, Any]]
    commands: Any
    origin: dict[str, Any]
    fidelity: list[dict[str, Any]]
    versions: dict[str, str]
    damage: list[str] = field(default_factory=list)

    @property
    def export_id(self) -> str:
        return self.job.id

    @property
    def session_id(self) -> str:
        """Its run; the job's name is the run's, even if the run was deleted."""
        return self.job.session_id

    def line(self) -> dict[str, Any]:
        """For lists: without tensor names and versions."""
        files = [{key: value for key, value in file.items() if key != "tensors"} for file in self.files]
        return {key: value for key, value in self.json().items() if key != "versions"} | {"files": files}


class Exports:
    """Operations on exports.

    Args:
        home: Location of ``exports/`` and ``outputs/``.
        database: The list of jobs.
        events: Receives every change.
        wake: Called after a change that the watcher should act on.
    """

    def __init__(self, home: Home, database: Database, events: Events, *, wake: Callable[[], None]) -> None:
        self._home = home
        self._database = database
        self._jobs = Jobs(JobKind.EXPORT, home, database, events, wake)

    def create(
        self,
        session_id: str = "",
        format: str = ExportFormat.GGUF,  # noqa: A002 (the format's own word)
        quantization: str | None = None,
        *,
        quantizations: Sequence[str] = (),
        importance_matrix: bool = False,
        checkpoint: int | None = None,
        adapter: str = "",
        base: str = "",
    ) -> ExportView:
        """Queue an export.

        Args:
            session_id: The run; empty for a merge of ``adapter``.
            format: One of :class:`core.export.ExportFormat`.
            quantization: One for a GGUF; same as a list of one.
            quantizations: For a GGUF, several from one merge.
            importance_matrix: Quantize with an importance matrix from the run's prompts.
            checkpoint: Step of the checkpoint; the last by default.
            adapter: An adapter folder on this machine that was not trained here.
            base: Its base model; by default the one named in its file.

        Raises:
            InvalidInput: Unknown format or quantization, or an invalid combination.
            NotFound: There is no such run, checkpoint, folder or base.
            Conflict: The run has not ended, or has nothing to export.
        """
        chosen = _choice(ExportFormat, format, "format")
        wanted = [_choice(Quantization, value, "quantization") for value in (*quantizations, quantization) if value]
        spec = ExportSpec(
            session_id=session_id,
            checkpoint=checkpoint,
            adapter=adapter.strip(),
            base=base.strip(),
            format=chosen,
            quantizations=tuple(kind for kind in Quantization if kind in wanted),
            importance_matrix=importance_matrix,
        )
        check_choice(spec)
        return self._queue(self._of_session(spec) if session_id else self._of_folder(spec))

    def _queue(self, spec: ExportSpec) -> ExportView:
        export_id = new_id()
        self._jobs.queue(export_id, {**spec.model_dump(mode="json"), "created_at": now()})
        return self.get(export_id)

    def _of_session(self, spec: ExportSpec) -> ExportSpec:
        run = self._database.job(check_id(spec.session_id), JobKind.TRAIN)
        if run.job_state not in ENDED:
            raise Conflict("This run is still in progress. Wait until it ends or stop it, then export.")
        if reason := unexportable(spec.format, method_of(run.config).head):
            raise InvalidInput(reason, field="format")
        run_dir = JobDir.open(self._home.outputs, spec.session_id)
        trained = published(run_dir)
        if trained is None:
            raise Conflict("This run has no trained model: it ended before its first checkpoint. Resume it first.")
        reason = no_adapter(whole=trained == run_dir.model, own_base=own_base(run_dir) is not None)
        if reason and spec.format in ADAPTERS:
            raise InvalidInput(reason, field="format")
        steps = [step_of(path) for path in run_dir.numbered()]
        if spec.checkpoint is not None and spec.checkpoint not in steps:
            kept = ", ".join(map(str, steps)) or "none"
            message = f"There is no checkpoint at step {spec.checkpoint}. Saved steps: {kept}."
            raise NotFound(message, field="checkpoint")
        spec.check_adapter(read_json(run_dir.adapter / "adapter_config.json"))
        return spec.model_copy(update={"name": run.name})

    def _of_folder(self, spec: ExportSpec) -> ExportSpec:
        folder = typed_path(spec.adapter, "adapter")
        settings = read_json(folder / "adapter_config.json") if folder.is_dir() else None
        if settings is None or not (folder / "adapter_model.safetensors").is_file():
            raise NotFound(
                f"There is no adapter in {folder}. The folder needs adapter_config.json and "
                "adapter_model.safetensors. Check the path.",
                field="adapter",
            )
        base = spec.base or str(settings.get("base_model_name_or_path") or "")
        if not base:
            raise InvalidInput("The adapter does not name its base model. Enter it.", field="base")
        local_folder(base, self._home)
        spec.check_adapter(settings)
        return spec.model_copy(update={"adapter": str(folder), "base": base, "name": folder.name})

    def list(self) -> list[ExportView]:
        """Every export, newest first."""
        queue = self._database.queue()
        return [self._view(job, queue) for job in self._database.jobs(JobKind.EXPORT, with_config=True)]

    def get(self, export_id: str) -> ExportView:
        """One export. Raises NotFound."""
        job = self._job(export_id)
        view = self._view(job, self._database.queue())
        return replace(view, damage=damage(job, self._files(job)))

    def of_session(self, session_id: str) -> Sequence[ExportView]:
        """The exports made from a run, newest first."""
        return [view for view in self.list() if view.session_id == session_id]

    def checkpoints(self, session_id: str) -> Sequence[int]:
        """Steps of a run's existing checkpoints. Raises NotFound."""
        return [step_of(path) for path in JobDir.open(self._home.outputs, session_id).numbered()]

    def log(self, export_id: str, tail: int = 200, *, useful: bool = False) -> str:
        """The last lines of the export worker's output; see :func:`core.log_tail.tail_text`."""
        return tail_text(self._files(self._job(export_id)).log, tail, useful=useful)

    def path(self, export_id: str, file: str) -> Path:
        """A finished file, for download.

        Raises:
            NotFound: There is none with that name; only the export's folder is searched.
        """
        self._job(export_id)
        files = JobDir.open(self._home.exports, export_id).files
        path = files / file
        if Path(file).name != file or not path.is_file() or path.resolve().parent != files.resolve():
            raise NotFound("This export has no such file. Its page lists all files.")
        return path.resolve()

    def bundle(self, export_id: str) -> tuple[str, Iterator[bytes]]:
        """All finished files as one zip without compression: its name, and a stream of its bytes.

        Raises:
            NotFound: The export has no files.
        """
        view = self.get(export_id)
        paths = [self.path(export_id, file["name"]) for file in view.files]
        if not paths:
            raise NotFound("This export has no files yet.")
        return f"{slug(view.job.name)}-{view.format}.zip", zipped(paths)

    def cancel(self, export_id: str) -> ExportView:
        """Cancel an export; its worker removes incomplete files.

        Raises:
            Conflict: It has already ended.
        """
        self._jobs.stop(export_id)
        return self.get(export_id)

    def again(self, export_id: str) -> ExportView:
        """Queue the same export again, as a new one.

        Raises:
            Conflict: It is completed or unfinished; or as :meth:`create`.
            NotFound: Its source no longer exists.
        """
        job = self._job(export_id)
        if job.job_state not in ENDED or job.job_state is JobState.COMPLETED:
            raise Conflict("This export did not fail and was not stopped, so it cannot be restarted.")
        if twin := next((one for one in unfinished(self._database) if one.config == job.config), None):
            return self.get(twin.id)  # A second click: it is in progress.
        spec = ExportSpec.model_validate(job.config)
        return self._queue(self._of_session(spec) if spec.session_id else self._of_folder(spec))

    def verify(self, export_id: str) -> ExportView:
        """Compare unverified files with the trained model again; no file is created again.

        Raises:
            Conflict: Nothing is unverified, it is not complete, or the run is in progress.
            NotFound: Its run or folder no longer exists.
        """
        job = self._job(export_id)
        if not self.get(export_id).unverified:
            raise Conflict("All files of this export are verified already.")
        spec = ExportSpec.model_validate(job.config)
        if spec.session_id:
            self._of_session(spec)
        else:
            self._of_folder(spec)
        if not self._jobs.requeue(export_id, only_from=[JobState.COMPLETED], step=0, max_steps=0):
            raise Conflict("This export is in progress already.")
        self._jobs.announce(export_id)
        return self.get(export_id)

    def delete(self, export_id: str) -> Entry | None:
        """Move an export with its files to the trash.

        Raises:
            Conflict: It is in progress or queued, is being sent, or an unfinished job needs it.
        """
        return self._jobs.delete(export_id, _not_while_sent)

    def _job(self, export_id: str) -> Job:
        return self._jobs.get(export_id)

    def _files(self, job: Job) -> JobDir:
        return self._jobs.files(job.id)

    def _view(self, job: Job, queue: Sequence[str]) -> ExportView:
        run_dir = self._files(job)
        verifying = job.job_state not in ENDED and run_dir.made
        ended = job.job_state in ENDED or verifying
        result = (checked_json(run_dir.result, ExportResult) or {}) if ended else {}
        done = job.job_state is JobState.COMPLETED or verifying
        files = result.get("files", []) if done else []
        quantizations = quantizations_of(job.config)
        scores = (result.get("origin") or {}).get("head") == "score"
        return ExportView(
            job=job.facts(queue),
            format=job.config.get("format", ""),
            quantization=", ".join(quantizations) or None,
            quantizations=quantizations,
            checkpoint=job.config.get("checkpoint"),
            adapter=job.config.get("adapter") or "",
            base=job.config.get("base") or "",
            importance_matrix=bool(job.config.get("importance_matrix")),
            unverified=[file["name"] for file in files if unverified(file)],
            verifying=verifying,
            model_path=None if verifying or scores else _reference(job, files),
            files=files,
            commands=result.get("commands") if done else None,
            origin=result.get("origin") or {},
            fidelity=result.get("fidelity") or [],
            versions=result.get("versions") or {},
        )


def _not_while_sent(path: Path) -> None:
    if sent := being_sent(path):
        raise Conflict(
            f"This export is being sent as {sent[0]}. Wait until that ends or cancel it, then delete the export."
        )


def unverified(file: dict[str, Any]) -> bool:
    """Whether a finished file could not be compared with the trained model on this machine."""
    return (file.get("fidelity") or {}).get("verdict") == FidelityVerdict.UNVERIFIED


def _reference(job: Job, files: Sequence[dict[str, Any]]) -> str | None:
    """The first GGUF, a merged model or an adapter; empty for others."""
    kind = job.config.get("format")
    if files and kind in {ExportFormat.MERGED, ExportFormat.ADAPTER}:
        return f"export:{job.id}"
    gguf = next((file["name"] for file in files if file["name"].endswith(".gguf")), None)
    return f"export:{job.id}/{gguf}" if gguf and kind == ExportFormat.GGUF else None


def check_choice(spec: ExportSpec) -> None:
    """Raises InvalidInput for an invalid combination."""
    kinds = spec.quantizations
    if (spec.format is ExportFormat.GGUF) != bool(kinds):
        raise InvalidInput("Select a quantization for GGUF, and none for the other formats.", field="quantization")
    if bool(spec.session_id) == bool(spec.adapter):
        raise InvalidInput("Choose either a run or an adapter folder.", field="session_id")
    if not spec.session_id and (spec.format is ExportFormat.BUNDLE or spec.checkpoint is not None):
        raise InvalidInput("This format needs a run. Choose one.", field="session_id")
    if spec.importance_matrix and (not spec.session_id or all(kind in UNREDUCED for kind in kinds)):
        message = "An importance matrix needs a run and a GGUF with fewer than 16 bits."
        raise InvalidInput(message, field="importance_matrix")
    needing = [kind.label for kind in kinds if kind in NEED_MATRIX]
    if needing and not spec.importance_matrix:
        message = f"{', '.join(needing)} needs an importance matrix. Turn it on, or choose another quantization."
        raise InvalidInput(message, field="importance_matrix")


def quantizations_of(config: dict[str, Any]) -> list[str]:
    """The requested quantizations, also for configurations from before there could be several."""
    old = config.get("quantization")
    return list(config.get("quantizations") or ([old] if old else []))


def slug(name: str) -> str:
    """A name as a file name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60] or "model"


def _choice(kind: Any, value: str, field: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise InvalidInput(f"There is no {field} {value!r}. Known: {known}.", field=field) from None
