"""Evaluations: jobs in which models answer the same prompts, and paired comparisons of the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.config import DatasetSection
from core.evaluation import EvaluationResult, EvaluationSpec, PairedReport, RunEvaluation, reports
from core.job import JobKind, JobState, check_id, new_id
from core.job_dir import JobDir, read_model
from core.job_rows import AnswerRow, is_answer_of
from core.moment import now
from core.settings import Home
from core.text import json_line
from services.evaluations.request import FindsModels, Request, Specifier
from services.evaluations.results import PromptRow, Wanted, as_csv, rows_of
from services.jobs.database import Database, Job
from services.jobs.events import Events
from services.jobs.readings import Readings, damage
from services.jobs.verbs import Jobs
from services.jobs.view import JobView
from services.machine.bin import Entry


@dataclass(frozen=True)
class EvaluationView(JobView):
    """One evaluation as shown on pages and in the API.

    Attributes:
        models: ``label`` and ``model_path`` of each.
        source: Where the prompts come from.
        scored: Whether a reward scores the answers.
        reports: Each model compared with the first (:class:`core.evaluation.PairedReport`); not in lists.
        damage: What is wrong with its files, one sentence each; not in lists.
    """

    models: list[dict[str, str]]
    source: str
    session_id: str
    scored: bool
    greedy: bool
    reports: list[dict[str, Any]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)

    @property
    def evaluation_id(self) -> str:
        return self.job.id


class Evaluations:
    """Operations on evaluations.

    Args:
        home: Location of ``outputs/``.
        database: The list of jobs.
        events: Receives every change.
        models: Resolves references.
        check_dataset: Raises if a dataset does not exist.
        wake: Called after a change that the watcher should act on.
    """

    def __init__(
        self, home: Home, database: Database, events: Events, *, models: FindsModels,
        check_dataset: Callable[[DatasetSection], None], wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._home, self._database = home, database
        self._jobs = Jobs(JobKind.EVALUATION, home, database, events, wake)
        self.specifier = Specifier(home, database, models=models, check_dataset=check_dataset)
        self._read = Readings(is_answer_of)

    # --- begin and end ---

    def start(self, request: Request) -> EvaluationView:
        """Queue an evaluation.

        Raises:
            InvalidInput, InvalidConfig: Something in the request is invalid; names the field.
            NotFound, Conflict: A model, run or dataset does not exist, or not yet.
        """
        spec, rows = self.specifier.spec(request)
        job_id = new_id()
        spec = spec.model_copy(update={"created_at": now()})

        def fill(run_dir: JobDir) -> None:
            if rows is not None:
                run_dir.given.write_bytes(b"".join(json_line(row, default=str) for row in rows))

        self._jobs.queue(job_id, spec.model_dump(mode="json"), fill)
        return self.get(job_id)

    def stop(self, evaluation_id: str) -> EvaluationView:
        """Stop it; existing answers are kept. Raises Conflict if it has already ended."""
        self._jobs.stop(evaluation_id)
        return self.get(evaluation_id)

    def resume(self, evaluation_id: str) -> EvaluationView:
        """Queue the unanswered prompts, once for repeated calls. Raises Conflict if it is stopping or completed."""
        self._jobs.resume(evaluation_id)
        return self.get(evaluation_id)

    def delete(self, evaluation_id: str) -> Entry | None:
        """Move it with its answers to the trash. Raises Conflict while it is running or queued."""
        return self._jobs.delete(evaluation_id)

    # --- look at ---

    def list(self) -> Sequence[EvaluationView]:
        """Every evaluation, newest first."""
        return [self._view(job) for job in self._database.jobs(JobKind.EVALUATION, with_config=True)]

    def get(self, evaluation_id: str) -> EvaluationView:
        """One evaluation with its reports. Raises NotFound."""
        job = self._job(evaluation_id)
        files = self._files(job)
        view = self._view(job, [report.model_dump(mode="json") for report in self.reports(evaluation_id)])
        return replace(view, damage=damage(job, files, completions=self._read.of(files.completions).bad))

    def reports(self, evaluation_id: str) -> Sequence[PairedReport]:
        """Each model compared with the first; before the end, on prompts that both have answered."""
        job = self._job(evaluation_id)
        done = job.job_state is JobState.COMPLETED
        result = read_model(self._files(job).result, EvaluationResult) if done else None
        return result.reports if result else reports(_spec_of(job), self._groups(job))

    def results(
        self, evaluation_id: str, wanted: Wanted | None = None, *, limit: int | None = None, offset: int = 0
    ) -> tuple[Sequence[PromptRow], int]:
        """Prompts with every model's answer, in order.

        Returns:
            A page of matching prompts, and their total number.
        """
        job, wanted = self._job(evaluation_id), wanted or Wanted()
        fitting = [row for row in rows_of(_spec_of(job), self._groups(job)) if wanted.fits(row)]
        return fitting[offset : offset + limit if limit is not None else None], len(fitting)

    def csv(self, evaluation_id: str) -> str:
        """Every answer, one per line."""
        job = self._job(evaluation_id)
        spec = _spec_of(job)
        return as_csv(spec, rows_of(spec, self._groups(job)))

    def of_run(self, session_id: str) -> RunEvaluation | None:
        """The paired evaluation of a run's own held-out answers, or None if it has none (yet).

        Raises:
            NotFound: There is no such run.
        """
        job = self._database.job(check_id(session_id), JobKind.TRAIN)
        return read_model(JobDir.known(self._home.outputs, job.id).evaluation, RunEvaluation)

    # --- files ---

    def _groups(self, job: Job) -> Sequence[AnswerRow]:
        """Every answer."""
        return self._read.of(self._files(job).completions).rows

    def _job(self, evaluation_id: str) -> Job:
        return self._jobs.get(evaluation_id)

    def _files(self, job: Job) -> JobDir:
        return self._jobs.files(job.id)

    def _view(self, job: Job, made: Sequence[dict[str, Any]] = ()) -> EvaluationView:
        spec = _spec_of(job)
        return EvaluationView(
            job=job.facts(),
            models=[{"label": model.label, "model_path": model.model_path} for model in spec.models],
            source=spec.source, session_id=spec.session_id, scored=spec.reward is not None,
            greedy=spec.temperature == 0, reports=list(made),
        )  # fmt: skip


def _spec_of(job: Job) -> EvaluationSpec:
    return EvaluationSpec.model_validate(job.config)
