"""The kinds of jobs: one entry each, with all their differences outside of the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import SECTIONS
from core.evaluation import EvaluationSpec, RunEvaluation
from core.export import ExportResult, ExportSpec
from core.job import JobKind
from core.job_dir import JobDir
from core.probe import ProbeResult
from core.settings import Home
from services.jobs.facts import JobFacts
from services.jobs.leftovers import remove_unfinished

_PROGRESS = ("status", "step", "max_steps", "message", "error")
_TIMES = ("created_at", "started_at", "ended_at")


@dataclass(frozen=True)
class Document:
    """A JSON file that a job may have in its directory.

    Attributes:
        file: Its attribute in :class:`core.job_dir.JobDir`.
        model: The model it is validated against.
        lost: What is unavailable without it, as the end of a sentence.
        demanded: Whether a completed job must have it.
    """

    file: str
    model: Any
    lost: str
    demanded: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    Attributes:
        word: Its name for users.
        folder: Folder of the home that contains its directories: ``outputs`` or ``exports``.
        id_name: Name of its id in the API and in events.
        address: Address prefix of its pages.
        event: The Socket.IO event that is published with every change.
        told: Fields of that event besides the id, by their names in :class:`JobFacts`.
        shown: Fields in the API besides its id and those of only this kind, by their names in :class:`JobFacts`.
        columns: From ``config.json`` to the columns of :class:`services.jobs.database.Job`, for a new job or one
            found on disk. Raises ValueError, KeyError or TypeError for contents that no version has written.
        unfinished: Why an unfinished one cannot be deleted, and what to do.
        kept: After a crash: what is left if something was saved; ``{step}`` is the step of its checkpoint.
        nothing_kept: After a crash: the same if nothing was saved.
        reference: Prefix of references to models that it creates; '' if it creates none.
        resumable: Whether one that ended early can be resumed.
        has_log: Whether its log lines are published live.
        has_charts: Whether it writes a ``metrics.jsonl`` that is shown to users.
        documents: Its JSON files besides ``config.json`` and ``status.json``.
        tidy: Removes incomplete files after a failure, if they can be large.
    """

    word: str
    folder: str
    id_name: str
    address: str
    event: str
    told: tuple[str, ...]
    shown: tuple[str, ...]
    columns: Callable[[dict[str, Any]], dict[str, Any]]
    unfinished: str
    kept: str
    nothing_kept: str
    reference: str = ""
    resumable: bool = False
    has_log: bool = False
    has_charts: bool = False
    documents: tuple[Document, ...] = ()
    tidy: Callable[[JobDir], None] | None = None

    def parent(self, home: Home) -> Path:
        """The folder that contains its directories."""
        return home.root / self.folder

    def payload(self, facts: JobFacts) -> dict[str, Any]:
        """The event's fields for a job."""
        return {self.id_name: facts.id, **{name: getattr(facts, name) for name in self.told}}

    def json(self, facts: JobFacts) -> dict[str, Any]:
        """The facts as shown in the API."""
        return {self.id_name: facts.id, **{name: getattr(facts, name) for name in self.shown}}

    def one(self) -> str:
        """The word with its article, for use inside a sentence."""
        return f"{'an' if self.word[0] in 'aeiou' else 'a'} {self.word}"


def _of_run_config(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Columns of a job with a whole configuration, even one that this version would no longer start."""
    wrong = sorted(section for section in {*SECTIONS} & {*config} if not isinstance(config[section], dict))
    if not isinstance(config.get("method") or "", str):
        wrong.append("method")
    if wrong:
        raise ValueError(f"config.json is damaged at {', '.join(wrong)}")
    return {"name": name, "model": config["model"]["name"], "dataset": config["dataset"]["source"], "config": config}


def _train(content: dict[str, Any]) -> dict[str, Any]:
    return _of_run_config(content["name"], content["config"])


def _probe(content: dict[str, Any]) -> dict[str, Any]:
    return _of_run_config(content["config"]["name"], content["config"])


def _export(content: dict[str, Any]) -> dict[str, Any]:
    spec = ExportSpec.model_validate({name: value for name, value in content.items() if name != "created_at"})
    return {"name": spec.name, "session_id": spec.session_id, "config": spec.model_dump(mode="json")}


def _evaluation(content: dict[str, Any]) -> dict[str, Any]:
    spec = EvaluationSpec.model_validate(content)
    first = spec.models[0].model_path
    return {"name": spec.name, "model": first, "dataset": spec.source, "config": spec.model_dump(mode="json")}


KINDS: Mapping[JobKind, Kind] = {
    JobKind.TRAIN: Kind(
        word="run",
        folder="outputs",
        id_name="session_id",
        address="/runs",
        event="training_status",
        told=(
            "name", *_PROGRESS, "notes", "attempt", "device", "seconds_per_step", "eta_seconds", "checkpoint_step",
            "active", "resumable",
        ),
        shown=(
            "name", *_PROGRESS, "notes", *_TIMES, "model", "dataset", "attempt", "device", "seconds_per_step",
            "eta_seconds", "checkpoint_step", "active", "resumable", "queue_position",
        ),
        columns=_train,
        unfinished="This run has not ended yet. Stop it first, then delete it.",
        kept="The checkpoint at step {step} was saved. Resume continues from it.",
        nothing_kept="There was no checkpoint yet, so a new try starts at step 1.",
        reference="session",
        resumable=True,
        has_log=True,
        has_charts=True,
        documents=(
            Document("evaluation", RunEvaluation, "the comparison with the base model cannot be shown"),
        ),
    ),
    JobKind.EXPORT: Kind(
        word="export",
        folder="exports",
        id_name="export_id",
        address="/exports",
        event="export_progress",
        told=("session_id", "name", *_PROGRESS, "active"),
        shown=("session_id", "name", *_PROGRESS, "notes", *_TIMES, "active", "queue_position"),
        columns=_export,
        unfinished="This export is still in progress. Cancel it first, then delete it.",
        kept="Its files are unchanged.",
        nothing_kept="No incomplete files were kept. Export again.",
        reference="export",
        documents=(Document("result", ExportResult, "its result cannot be shown. Run it again", demanded=True),),
        tidy=remove_unfinished,
    ),
    JobKind.PROBE: Kind(
        word="probe",
        folder="outputs",
        id_name="probe_id",
        address="/probe",
        event="probe_status",
        told=_PROGRESS,
        shown=(*_PROGRESS, "notes", "created_at", "active", "waiting"),
        columns=_probe,
        unfinished="This check has not ended yet. Stop it first, then delete it.",
        kept="The answers collected so far were saved. Run the check again.",
        nothing_kept="The answers collected so far were saved. Run the check again.",
        documents=(Document("result", ProbeResult, "its result cannot be shown. Run it again", demanded=True),),
    ),
    JobKind.EVALUATION: Kind(
        word="evaluation",
        folder="outputs",
        id_name="evaluation_id",
        address="/evaluations",
        event="evaluation_status",
        told=(*_PROGRESS, "active"),
        shown=("name", *_PROGRESS, "notes", "created_at", "ended_at", "active", "waiting", "resumable"),
        columns=_evaluation,
        unfinished="This evaluation has not ended yet. Stop it first, then delete it.",
        kept="The answers collected so far were saved. Resume asks the remaining questions.",
        nothing_kept="The answers collected so far were saved. Resume asks the remaining questions.",
        resumable=True,
    ),
}  # fmt: skip
