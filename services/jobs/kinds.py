"""The kinds of jobs: one entry each, with all in which they differ outside their workers."""

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
        file: Which, as :class:`core.job_dir.JobDir` calls it.
        model: What it must hold.
        lost: What cannot be had without it, to end a sentence.
        demanded: Whether a completed job must have it, and no other is asked for it; else it may be missing.
    """

    file: str
    model: Any
    lost: str
    demanded: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    Attributes:
        word: What a person calls such a job.
        folder: In which folder of the home its directories are: ``outputs`` or ``exports``.
        id_name: What the API and events call its id.
        address: Below which its page is.
        event: The Socket.IO event that is published with every change.
        told: What that event tells besides the id, as :class:`JobFacts` calls it.
        shown: What the API shows of one besides its id and what only this kind has, as :class:`JobFacts` calls it.
        columns: From ``config.json`` to the columns of :class:`services.jobs.database.Job`, for a job that is queued
            and for one that is found on the disk. Raises ValueError, KeyError or TypeError where it says something
            that no version has written.
        unfinished: Why one that is not over cannot be deleted, and what to do.
        kept: After a crash: what is left of it, where it had saved something; ``{step}`` is its checkpoint's.
        nothing_kept: After a crash: the same where it had saved nothing.
        reference: The prefix under which models made by it are referred to; '' where it makes none.
        resumable: Whether one that ended early can go on.
        has_log: Whether the lines of its log are published as they come.
        has_charts: Whether it writes ``metrics.jsonl`` for a person to see.
        documents: Its JSON files besides ``config.json`` and ``status.json``.
        tidy: Removes what one that did not end well has left half made, where that can be much.
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
        """The folder in which its directories are."""
        return home.root / self.folder

    def payload(self, facts: JobFacts) -> dict[str, Any]:
        """What the event tells of a job."""
        return {self.id_name: facts.id, **{name: getattr(facts, name) for name in self.told}}

    def json(self, facts: JobFacts) -> dict[str, Any]:
        """What the API shows of the facts."""
        return {self.id_name: facts.id, **{name: getattr(facts, name) for name in self.shown}}

    def one(self) -> str:
        """The word with its article, for use within a sentence."""
        return f"{'an' if self.word[0] in 'aeiou' else 'a'} {self.word}"


def _of_run_config(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Columns of a job that has a whole configuration, be it one that this version would not start any more."""
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
