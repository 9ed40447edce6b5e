"""Resolves a model reference, as used by pages and the API, to what a process loads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from core.errors import Conflict, InvalidConfig, InvalidInput, NotFound
from core.export import ExportFormat
from core.job import JobKind, JobState, check_id
from core.job_dir import JobDir, read_json
from core.methods import method_of
from core.model import local_folder, typed_path
from core.settings import Home
from core.weights import START, Weights, start_of, trained_by
from services.jobs.database import Database, Job
from services.jobs.kinds import KINDS

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_PATHS = ("/", "./", "../", "~")
SESSION, EXPORT = (f"{KINDS[kind].reference}:" for kind in (JobKind.TRAIN, JobKind.EXPORT))


class References:
    """Resolves references.

    =========================  =====================================================================
    ``Qwen/Qwen3-0.6B``        a base model: on Hugging Face, built in (``builtin:…``), or a folder's path
    ``/models/mine``           a path: a model, an adapter folder on its base, or a ``.gguf`` file
    ``session:<id>``           a run's trained model; of a running one, its latest checkpoint's
    ``session:<id>@<step>``    the model of that checkpoint
    ``session:<id>@start``     the model that the run started from
    ``export:<id>``            a merged model, or an exported adapter on its base
    ``export:<id>/<file>``     one GGUF file of an export
    =========================  =====================================================================

    Args:
        home: Location of runs, exports and built-in models.
        database: Knows which of them exist.
    """

    def __init__(self, home: Home, database: Database) -> None:
        self._home = home
        self._database = database

    def validate(self, name: str) -> None:
        """Accept the built-in model, an existing folder or a possible Hugging Face name.

        Raises:
            NotFound: It names a missing folder.
            InvalidConfig: It cannot be a Hugging Face name either.
        """
        if local_folder(name, self._home) is None and not HUB_ID.fullmatch(name):
            raise InvalidConfig(
                [
                    (
                        "model.name",
                        "Enter a model on Hugging Face, such as Qwen/Qwen3-0.6B, or the full path of a folder.",
                    )
                ]
            )

    def resolve(self, model_path: str) -> dict[str, Any]:
        """What a process loads for a reference.

        Returns:
            ``{"kind": "transformers", "base", "adapter"}``, with ``revision`` if one is requested, or
            ``{"kind": "gguf", "path"}``. ``base`` is a folder or a Hugging Face name, ``adapter`` a folder or None.

        Raises:
            NotFound, InvalidInput, InvalidConfig: It cannot be loaded.
            Conflict: The run has not saved anything yet.
        """
        if model_path.startswith(SESSION):
            session_id, _, step = model_path.removeprefix(SESSION).partition("@")
            return self._of_session(session_id, step)
        if model_path.startswith(EXPORT):
            export_id, _, name = model_path.removeprefix(EXPORT).partition("/")
            return self._of_export(export_id, name)
        if model_path.startswith(_PATHS):
            found = self._of_path(typed_path(model_path, "model_path"))
            if found:
                return found
        self.validate(model_path)
        return _on(self._base(model_path))

    def _of_session(self, session_id: str, step: str) -> dict[str, Any]:
        job = self._database.job(check_id(session_id), JobKind.TRAIN)
        run = JobDir.open(self._home.outputs, session_id)
        if method_of(job.config).head == "score":
            raise InvalidInput(_NO_TEXT, field="model_path")
        model = {**(job.config.get("model") or {}), "name": job.model}
        if step == START:
            return self._loaded(start_of(run, model))
        if step and not re.fullmatch(r"[1-9]\d*", step):
            raise NotFound(f"This run has no checkpoint '{step}'. Enter its step.", field="model_path")
        try:
            return self._loaded(trained_by(run, model, int(step) if step else None))
        except NotFound as error:
            raise NotFound(error.message, field="model_path") from None

    def _loaded(self, weights: Weights) -> dict[str, Any]:
        adapter = str(weights.adapter) if weights.adapter else None
        return _on(self._base(weights.base), adapter, weights.revision)

    def _of_export(self, export_id: str, name: str) -> dict[str, Any]:
        job = self._database.job(check_id(export_id), JobKind.EXPORT)
        files = JobDir.open(self._home.exports, export_id).files
        if job.job_state is not JobState.COMPLETED or not files.is_dir():
            raise Conflict("This export is not finished, so you cannot chat with it yet. Check the export's page.")
        if (read_json(files.parent / "result.json") or {}).get("origin", {}).get("head") == "score":
            raise InvalidInput(_NO_TEXT, field="model_path")
        if name:
            return _gguf(files, name)
        if job.config.get("format") == ExportFormat.MERGED:
            return _on(str(files))
        if job.config.get("format") == ExportFormat.ADAPTER:
            return self._adapter_on_base(files, job)
        raise NotFound(_NOTHING_TO_LOAD, field="model_path")

    def _adapter_on_base(self, files: Path, job: Job) -> dict[str, Any]:
        """The run's own base if the run is known: the adapter's file may have the public name."""
        if job.config.get("base"):
            return _on(self._base(job.config["base"]), str(files), job.config.get("revision"))
        run = next(
            (run for run in self._database.jobs(JobKind.TRAIN, with_config=True) if run.id == job.session_id), None
        )
        if run is None:
            return self._of_adapter(files)
        return _on(self._base(run.model), str(files), _revision(run))

    def _of_path(self, path: Path) -> dict[str, Any] | None:
        if path.suffix == ".gguf":
            if not path.is_file():
                raise NotFound(f"{path} does not exist. Check the path.", field="model_path")
            with path.open("rb") as file:
                if file.read(4) != b"GGUF":
                    message = f"{path.name} is not a valid GGUF file. Copy or download it again."
                    raise InvalidInput(message, field="model_path")
            return {"kind": "gguf", "path": str(path)}
        if (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
            return self._of_adapter(path)
        return None

    def _of_adapter(self, folder: Path) -> dict[str, Any]:
        base = (read_json(folder / "adapter_config.json") or {}).get("base_model_name_or_path")
        if not isinstance(base, str) or not base:
            message = "This adapter does not name its base model. Choose a merged model or a run instead."
            raise InvalidInput(message, field="model_path")
        self.validate(base)
        return _on(self._base(base), str(folder))

    def _base(self, name: str) -> str:
        folder = local_folder(name, self._home)
        return str(folder) if folder else name


_NO_TEXT = (
    "This is a reward model: it scores answers and writes none. Use it as a reward, or score answers on its run's page."
)
_NOTHING_TO_LOAD = "This export is not a model on its own. Choose a GGUF file, a merged model or an adapter."


def _on(base: str, adapter: str | None = None, revision: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "transformers", "base": base, "adapter": adapter}
    return {**found, "revision": revision} if revision else found


def _gguf(files: Path, name: str) -> dict[str, Any]:
    path = files / name
    if Path(name).name != name or not name.endswith(".gguf") or not path.is_file():
        raise NotFound("GGUF file not found. Choose one from the list of exports.", field="model_path")
    if (read_json(files.parent / "config.json") or {}).get("format") == ExportFormat.ADAPTER_GGUF:
        raise NotFound(_NOTHING_TO_LOAD, field="model_path")
    return {"kind": "gguf", "path": str(path)}


def _revision(job: Job) -> str | None:
    revision = (job.config.get("model") or {}).get("revision")
    return revision if isinstance(revision, str) else None
