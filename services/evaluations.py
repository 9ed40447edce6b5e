"""Evaluations: models answer the same prompts, in a job; what they wrote, compared pair by pair."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any, Protocol

import core.config as configuration
from core.config import DatasetSection, RewardSection, RolloutEngine, RunConfig
from core.data.prompt_file import read_prompts
from core.errors import Conflict, InvalidConfig, InvalidInput
from core.evaluation import (
    MOST_MODELS,
    MOST_PROMPTS,
    Answered,
    Asked,
    EvaluationSpec,
    PairedReport,
    RunEvaluation,
    reports,
)
from core.rewards import maximum, resolve
from core.run import ENDED, RESUMABLE, Control, JobKind, JobState, check_id, new_id
from core.run_dir import RunDir, iter_lines, read_json, write_json
from core.settings import Home
from core.statistics import ROUNDING
from services.catalogue import Catalogue, Job
from services.run_view import now
from services.runs import request_stop
from services.words import plain_name

MOST_ANSWERS = 20_000
PROMPT_FIELDS = ("system_prompt", "chat_template", "reasoning_start", "reasoning_end", "solution_start", "solution_end")
"""How a training asks its questions: what an evaluation of its model takes over."""
SHOWN = ("all", "right", "wrong", "improved", "worsened", "changed", "problem")


class FindsModels(Protocol):
    """What is needed of :class:`services.models.Models`."""

    def resolve(self, model_path: str) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Request:
    """What a person asks for.

    Attributes:
        models: References as the playground takes them; each further one is compared with the first.
        session_id: Ask the held-out rows of this run; or, beside ``dataset`` or ``text``, ask as its training did.
        dataset: Ask the rows of a dataset: a section of the configuration format.
        text: Ask what this file holds.
        limit: Most prompts.
        reward: Scores the answers; None for the run's own, where there is one and ``scored`` is set.
        scored: Whether answers are scored at all.
        system_prompt: Instead of the training's.
        max_new_tokens: Longest answer; None for the training's.
        temperature, top_p, seed: 0 is greedy, and the rest is then without effect.
        name: What to call it.
        rollout_engine: As ``training.rollout_engine``; None for the training's, where there is one.
    """

    models: tuple[str, ...]
    session_id: str = ""
    dataset: Mapping[str, Any] | None = None
    text: str | None = None
    limit: int = 64
    reward: Mapping[str, Any] | None = None
    scored: bool = True
    system_prompt: str | None = None
    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    name: str = ""
    rollout_engine: RolloutEngine | None = None


@dataclass(frozen=True)
class EvaluationView:
    """One evaluation as pages and programs see it.

    Attributes:
        status: A :class:`core.run.JobState`; ``active`` while it is neither waiting nor over.
        step, max_steps: Answers written so far, of how many.
        models: ``label`` and ``model_path`` of each.
        source: Where the prompts come from.
        scored: Whether a reward scores the answers.
        reports: Each model against the first (:class:`core.evaluation.PairedReport`); in lists left out.
    """

    evaluation_id: str
    name: str
    status: str
    step: int
    max_steps: int
    message: str
    notes: list[str]
    error: str | None
    created_at: str
    ended_at: str | None
    active: bool
    waiting: bool
    resumable: bool
    models: list[dict[str, str]]
    source: str
    session_id: str
    scored: bool
    greedy: bool
    reports: list[dict[str, Any]] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Cell:
    """One model's answer to one prompt.

    Attributes:
        total: Its reward; None where nothing was scored.
        solved: Whether it earned all there is; None where nothing was scored.
        change: ``improved``, ``worsened``, ``same`` against the first model; '' for the first, or without scores.
        problem: Why there is no answer.
        parts: Each part's score, weight and reason by name.
    """

    text: str
    tokens: int
    cut_off: bool
    total: float | None
    solved: bool | None
    change: str
    problem: str
    parts: dict[str, Any]


@dataclass(frozen=True)
class PromptRow:
    """One prompt and what each model answered; None where it has not yet."""

    place: int
    instruction: str
    reference: str
    answers: tuple[Cell | None, ...]

    def json(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Wanted:
    """Which rows of the results.

    Attributes:
        q: Text that stands in the prompt, the reference or an answer.
        model: Place of the model that ``show`` is about; None for any (right, wrong) or any but the first.
        show: One of :data:`SHOWN`.
    """

    q: str = ""
    model: int | None = None
    show: str = "all"

    def fits(self, row: PromptRow) -> bool:
        """Whether a row is wanted."""
        cells = [cell for place, cell in enumerate(row.answers) if cell and self.model in {None, place}]
        texts = [row.instruction, row.reference, *(cell.text for cell in row.answers if cell)]
        if self.q and not any(self.q.casefold() in text.casefold() for text in texts):
            return False
        return self.show == "all" or any(self._shows(cell) for cell in cells)

    def _shows(self, cell: Cell) -> bool:
        return {
            "right": cell.solved is True,
            "wrong": cell.solved is False,
            "changed": cell.change in {"improved", "worsened"},
            "problem": bool(cell.problem),
        }.get(self.show, cell.change == self.show)


class Evaluations:
    """Verbs on evaluations.

    Args:
        home: Where ``outputs/`` lies.
        catalogue: The list of jobs.
        models: Finds what a reference names.
        check_dataset: Raises where a dataset is not there.
        wake: Called after a change that the watcher should act on.
    """

    def __init__(
        self, home: Home, catalogue: Catalogue, *, models: FindsModels,
        check_dataset: Callable[[DatasetSection], None], wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._home, self._catalogue, self._models = home, catalogue, models
        self._check_dataset, self._wake = check_dataset, wake
        self._read: tuple[Any, list[dict[str, Any]]] = (None, [])

    # --- begin and end ---

    def start(self, request: Request) -> EvaluationView:
        """Queue an evaluation.

        Raises:
            InvalidInput, InvalidConfig: Something in the request cannot be, with its field.
            NotFound, Conflict: A model, run or dataset is not there, or not yet.
        """
        spec, rows = self._spec(request)
        job_id = new_id()
        spec = spec.model_copy(update={"created_at": now()})
        run_dir = RunDir(self._home.outputs / job_id)
        run_dir.path.mkdir(parents=True)
        if rows is not None:
            lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
            run_dir.given.write_text("".join(lines), "utf-8")
        run_dir.write_control(Control())
        write_json(run_dir.config, spec.model_dump(mode="json"))
        self._catalogue.add(evaluation_job(job_id, spec))
        self._wake()
        return self.get(job_id)

    def stop(self, evaluation_id: str) -> EvaluationView:
        """End it; what was answered is kept. Raises Conflict where it has ended already."""
        job = self._job(evaluation_id)
        request_stop(self._catalogue, self._dir(job), job, at_once=True)
        self._wake()
        return self.get(evaluation_id)

    def resume(self, evaluation_id: str) -> EvaluationView:
        """Ask what has not been answered. Raises Conflict where it is not one that ended early."""
        job = self._job(evaluation_id)
        values = {"ended_at": None, "error": None, "stop_now_at": None, "pid": 0, "message": ""}
        self._dir(job).write_control(Control())
        if not self._catalogue.move(job.id, to=JobState.QUEUED, only_from=list(RESUMABLE), **values):
            raise Conflict("This evaluation was not ended early; there is nothing to resume.")
        self._wake()
        return self.get(evaluation_id)

    def delete(self, evaluation_id: str) -> None:
        """Delete it with its answers. Raises Conflict while it runs or waits."""
        job = self._job(evaluation_id)
        if job.job_state not in ENDED:
            raise Conflict("This evaluation is not over. Stop it first, then delete it.")
        shutil.rmtree(self._home.outputs / check_id(evaluation_id), ignore_errors=True)
        self._catalogue.delete(evaluation_id)

    # --- look at ---

    def list(self) -> Sequence[EvaluationView]:
        """Every evaluation, newest first."""
        return [self._view(job) for job in self._catalogue.jobs(JobKind.EVALUATION, with_config=True)]

    def get(self, evaluation_id: str) -> EvaluationView:
        """One evaluation with its reports. Raises NotFound."""
        job = self._job(evaluation_id)
        return self._view(job, [report.model_dump(mode="json") for report in self.reports(evaluation_id)])

    def reports(self, evaluation_id: str) -> Sequence[PairedReport]:
        """Each model against the first; of one that is not over, on what both have answered so far."""
        job = self._job(evaluation_id)
        result = read_json(self._dir(job).result) if job.job_state is JobState.COMPLETED else None
        if result is not None:
            return [PairedReport.model_validate(report) for report in result["reports"]]
        return reports(_spec_of(job), self._groups(job))

    def results(
        self, evaluation_id: str, wanted: Wanted | None = None, *, limit: int | None = None, offset: int = 0
    ) -> tuple[Sequence[PromptRow], int]:
        """Prompts with every model's answer, in order.

        Returns:
            A page of those that fit, and how many fit.
        """
        job, wanted = self._job(evaluation_id), wanted or Wanted()
        fitting = [row for row in _rows(_spec_of(job), self._groups(job)) if wanted.fits(row)]
        return fitting[offset : offset + limit if limit is not None else None], len(fitting)

    def csv(self, evaluation_id: str) -> str:
        """Every answer, one a line."""
        job = self._job(evaluation_id)
        labels = [model.label for model in _spec_of(job).models]
        rows = _rows(_spec_of(job), self._groups(job))
        names = list(dict.fromkeys(name for row in rows for cell in row.answers if cell for name in cell.parts))
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([*_COLUMNS, *names])
        for row in rows:
            for label, cell in zip(labels, row.answers, strict=True):
                if cell is not None:
                    writer.writerow(_line(row, label, cell, names))
        return text.getvalue()

    def of_run(self, session_id: str) -> RunEvaluation | None:
        """The paired evaluation that a training made of itself, or None where it has none (yet).

        Raises:
            NotFound: There is no such run.
        """
        job = self._catalogue.job(check_id(session_id), JobKind.TRAIN)
        data = read_json(RunDir(self._home.outputs / job.id).evaluation)
        return RunEvaluation.model_validate(data) if data else None

    # --- from a request to a specification ---

    def _spec(self, request: Request) -> tuple[EvaluationSpec, Sequence[dict[str, Any]] | None]:
        if not 1 <= len(request.models) <= MOST_MODELS:
            raise InvalidInput(f"Choose between 1 and {MOST_MODELS} models.", field="models")
        if len(set(request.models)) < len(request.models):
            raise InvalidInput("The same model is chosen twice.", field="models")
        asked = self._asked(request.models)
        run = self._run(request)
        rows, source = self._prompts(request, run)
        reward = self._reward(request, run)
        limit = min(request.limit, len(rows)) if rows is not None else request.limit
        if limit * len(asked) > MOST_ANSWERS:
            raise InvalidInput(
                f"That is {limit * len(asked)} answers; at most {MOST_ANSWERS} are asked for.", field="limit"
            )
        values = {
            "name": request.name.strip()[:100] or " and ".join(model.label for model in asked)[:100],
            "models": asked,
            "source": source,
            "session_id": request.session_id,
            "dataset": self._dataset(request, run),
            "limit": request.limit,
            "reward": reward,
            "best": maximum(reward) if reward else None,
            "max_new_tokens": request.max_new_tokens or (run.training.max_new_tokens if run else 256),
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "rollout_engine": request.rollout_engine or (run.training.rollout_engine if run else "auto"),
        }
        return EvaluationSpec(**values), rows[: request.limit] if rows is not None else None

    def _asked(self, paths: Sequence[str]) -> tuple[Asked, ...]:
        labels: dict[str, int] = {}
        found = []
        for path in paths:
            resolved, label = self._models.resolve(path), self.label(path)
            labels[label] = labels.get(label, 0) + 1
            shown = label if labels[label] == 1 else f"{label} ({labels[label]})"
            found.append(Asked(label=shown, model_path=path, resolved=resolved))
        return tuple(found)

    def label(self, path: str) -> str:
        """What to call a model: a run's or export's name, a base model's own, the last part of a path."""
        if path.startswith(("/", "./", "../", "~")):
            return PurePath(path).name
        kind, _, rest = path.partition(":")
        name = {"session": JobKind.TRAIN, "export": JobKind.EXPORT}.get(kind)
        if name is None:
            return plain_name(path)
        job_id, _, detail = rest.replace("@", "/").partition("/")
        job = self._catalogue.job(check_id(job_id), name)
        return f"{job.name} ({f'step {detail}' if name is JobKind.TRAIN else detail})" if detail else job.name

    def _run(self, request: Request) -> RunConfig | None:
        """The training whose prompts or way of asking are taken: the one named, else the first trained model's."""
        named = [
            path.removeprefix("session:").partition("@")[0] for path in request.models if path.startswith("session:")
        ]
        session_id = request.session_id or next(iter(named), "")
        if not session_id:
            return None
        return configuration.parse(self._catalogue.job(check_id(session_id), JobKind.TRAIN).config)

    def _prompts(self, request: Request, run: RunConfig | None) -> tuple[Sequence[dict[str, Any]] | None, str]:
        """Rows, or None where the worker is to read a dataset; and where they come from, in words."""
        if request.text is not None and request.dataset is not None:
            raise InvalidInput("Give either a dataset or a file of prompts.", field="dataset")
        if request.text is not None:
            return read_prompts(request.text, MOST_PROMPTS), "a file of prompts"
        if request.dataset is not None:
            split = request.dataset.get("split")
            source = plain_name(str(request.dataset.get("source", "")))
            return None, f"{source}, {split}" if split else source
        if not request.session_id or run is None:
            raise InvalidInput(
                "Say what to ask: a run's held-out rows, a dataset, or a file of prompts.", field="session_id"
            )
        prepared = RunDir.open(self._home.outputs, request.session_id).prepared
        rows = list(iter_lines(prepared / "holdout.jsonl"))
        if not rows:
            raise Conflict("This run has no held-out rows, or has not begun. Choose a dataset or a file of prompts.")
        return rows, f"held-out rows of {self.label(f'session:{request.session_id}')}"

    def _dataset(self, request: Request, run: RunConfig | None) -> DatasetSection:
        asks = {name: getattr(run.dataset, name) for name in PROMPT_FIELDS} if run else {}
        plain = {"source": "generated:arithmetic", "system_prompt": ""}
        given = dict(request.dataset) if request.dataset is not None else {}
        own = {"system_prompt": request.system_prompt} if request.system_prompt is not None else {}
        whole = run.dataset.model_dump() if run and not given else plain
        try:
            dataset = DatasetSection.model_validate({**(asks if given and run else whole), **given, **own})
        except ValueError as error:
            raise InvalidInput(f"The dataset cannot be read so: {_first(error)}", field="dataset") from None
        if given:
            self._check_dataset(dataset)
        return dataset

    def _reward(self, request: Request, run: RunConfig | None) -> RewardSection | None:
        if not request.scored:
            return None
        if request.reward is None:
            return run.reward if run and request.text is None else None
        try:
            reward = RewardSection.model_validate(dict(request.reward))
        except ValueError as error:
            raise InvalidConfig([("reward", _first(error))]) from None
        resolve(reward)
        return reward

    # --- files ---

    def _groups(self, job: Job) -> Sequence[dict[str, Any]]:
        """Every answer; the evaluation looked at last is kept."""
        path = self._dir(job).completions
        try:
            stamp = (path, path.stat().st_size, path.stat().st_mtime_ns)
        except FileNotFoundError:
            return []
        kept, groups = self._read
        if kept != stamp:
            groups = list(iter_lines(path))
            self._read = (stamp, groups)
        return groups

    def _job(self, evaluation_id: str) -> Job:
        return self._catalogue.job(check_id(evaluation_id), JobKind.EVALUATION)

    def _dir(self, job: Job) -> RunDir:
        return RunDir.open(self._home.outputs, job.id)

    def _view(self, job: Job, made: Sequence[dict[str, Any]] = ()) -> EvaluationView:
        spec = _spec_of(job)
        return EvaluationView(
            evaluation_id=job.id, name=job.name, status=job.state, step=job.step, max_steps=job.max_steps,
            message=job.message, notes=list(job.notes), error=job.error, created_at=job.created_at,
            ended_at=job.ended_at, active=job.active, waiting=job.job_state is JobState.QUEUED,
            resumable=job.job_state in RESUMABLE,
            models=[{"label": model.label, "model_path": model.model_path} for model in spec.models],
            source=spec.source, session_id=spec.session_id, scored=spec.reward is not None,
            greedy=spec.temperature == 0, reports=list(made),
        )  # fmt: skip


def evaluation_job(job_id: str, spec: EvaluationSpec) -> Job:
    """A queued evaluation's row in the catalogue."""
    return Job(
        id=job_id, kind=str(JobKind.EVALUATION), name=spec.name, state=str(JobState.QUEUED),
        created_at=spec.created_at, model=spec.models[0].model_path, dataset=spec.source,
        config=spec.model_dump(mode="json"),
    )  # fmt: skip


_COLUMNS = ("place", "model", "prompt", "reference", "answer", "tokens", "cut_off", "reward", "right", "problem")


def _line(row: PromptRow, label: str, cell: Cell, names: Sequence[str]) -> Sequence[Any]:
    scores = [cell.parts[name]["score"] if name in cell.parts else "" for name in names]
    return [
        row.place + 1, label, row.instruction, row.reference, cell.text, cell.tokens, cell.cut_off,
        "" if cell.total is None else cell.total, "" if cell.solved is None else cell.solved, cell.problem, *scores,
    ]  # fmt: skip


def _spec_of(job: Job) -> EvaluationSpec:
    return EvaluationSpec.model_validate(job.config)


def _rows(spec: EvaluationSpec, groups: Sequence[Mapping[str, Any]]) -> list[PromptRow]:
    found: dict[int, dict[int, Mapping[str, Any]]] = {}
    for group in groups:
        found.setdefault(group["place"], {})[group["model"]] = group
    return [_row(place, found[place], spec) for place in sorted(found)]


def _row(place: int, answers: Mapping[int, Mapping[str, Any]], spec: EvaluationSpec) -> PromptRow:
    any_group = next(iter(answers.values()))
    first = answers[0]["completions"][0].get("total") if 0 in answers else None
    cells = tuple(
        _cell(answers[index], spec, first if index else None) if index in answers else None
        for index in range(len(spec.models))
    )
    return PromptRow(place, str(any_group["instruction"]), str(any_group.get("reference") or ""), cells)


def _cell(group: Mapping[str, Any], spec: EvaluationSpec, first: float | None) -> Cell:
    answer, read = group["completions"][0], Answered.read(group, spec.best)
    return Cell(
        text=read.text, tokens=int(answer.get("tokens", 0)), cut_off=bool(answer.get("cut_off")), total=read.total,
        solved=read.solved, change=_change(first, read.total), problem=str(answer.get("problem", "")),
        parts=answer.get("components") or {},
    )  # fmt: skip


def _change(first: float | None, total: float | None) -> str:
    if first is None or total is None:
        return ""
    if abs(total - first) <= ROUNDING:
        return "same"
    return "improved" if total > first else "worsened"


def _first(error: ValueError) -> str:
    """The first problem of a validation, in words."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors()[0]
    path, words = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
    return f"{path}: {words}" if path else words
