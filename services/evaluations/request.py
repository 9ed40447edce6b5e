"""Converts an evaluation request into the job's specification."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol

from pydantic import ValidationError

import core.config as configuration
from core.config import DatasetSection, RewardSection, RolloutEngine, RunConfig
from core.data.prompt_file import read_prompts
from core.data.rows import is_text
from core.errors import Conflict, InvalidConfig, InvalidInput
from core.evaluation import MOST_MODELS, MOST_PROMPTS, Asked, EvaluationSpec
from core.job import JobKind, check_id
from core.job_dir import JobDir, whole_lines
from core.methods import Need, method
from core.rewards import maximum, resolve
from core.settings import Home
from core.weights import START
from services.forms.labels import plain_name
from services.jobs.database import Database
from services.jobs.kinds import KINDS

MOST_ANSWERS = 20_000
PROMPT_FIELDS = ("system_prompt", "chat_template", "reasoning_start", "reasoning_end", "solution_start", "solution_end")
"""A run's prompt and sampling settings that an evaluation of its model uses."""


class FindsModels(Protocol):
    """The required part of :class:`services.models.models.Models`."""

    def resolve(self, model_path: str) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Request:
    """A user's request.

    Attributes:
        models: References as in the playground; each of the others is compared with the first.
        session_id: Use the held-out rows of this run; or, with ``dataset`` or ``text``, only its settings.
        dataset: Use the rows of a dataset: a section in the configuration format.
        text: Use the prompts in this file.
        limit: Maximum number of prompts.
        reward: Scores the answers; None for the run's, if there is one and ``scored`` is set.
        scored: Whether answers are scored at all.
        system_prompt: Replaces the run's.
        max_new_tokens: Longest answer; None for the run's.
        temperature, top_p, seed: Temperature 0 is greedy; the others then have no effect.
        name: Its name.
        rollout_engine: As ``training.rollout_engine``; None for the run's, if there is one.
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


class Specifier:
    """Fills in missing values of a request from its run, dataset or file.

    Args:
        home: Location of ``outputs/``.
        database: The list of jobs.
        models: Resolves references.
        check_dataset: Raises if a dataset does not exist.
    """

    def __init__(
        self, home: Home, database: Database, *, models: FindsModels, check_dataset: Callable[[DatasetSection], None]
    ) -> None:
        self._home, self._database, self._models = home, database, models
        self._check_dataset = check_dataset

    def spec(self, request: Request) -> tuple[EvaluationSpec, Sequence[dict[str, Any]] | None]:
        if not 1 <= len(request.models) <= MOST_MODELS:
            raise InvalidInput(f"Choose between 1 and {MOST_MODELS} models.", field="models")
        if len(set(request.models)) < len(request.models):
            raise InvalidInput("The same model is selected twice.", field="models")
        asked = self._asked(request.models)
        run = self._run(request)
        rows, source = self._prompts(request, run)
        reward = self._reward(request, run)
        limit = min(request.limit, len(rows)) if rows is not None else request.limit
        if limit * len(asked) > MOST_ANSWERS:
            raise InvalidInput(
                f"This would be {limit * len(asked):,} answers. The limit is {MOST_ANSWERS:,}.", field="limit"
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
        """A model's label: the name of a run, export or base model, or the last part of a path."""
        if path.startswith(("/", "./", "../", "~")):
            return PurePath(path).name
        kind, _, rest = path.partition(":")
        name = next((name for name, found in KINDS.items() if kind and found.reference == kind), None)
        if name is None:
            return plain_name(path, self._home)
        job_id, _, detail = rest.replace("@", "/").partition("/")
        job = self._database.job(check_id(job_id), name)
        if name is JobKind.TRAIN and detail:
            detail = "at its start" if detail == START else f"step {detail}"
        return f"{job.name} ({detail})" if detail else job.name

    def _run(self, request: Request) -> RunConfig | None:
        """The run whose prompts or settings are used: the named one, else the first trained model's."""
        named = [
            path.removeprefix("session:").partition("@")[0] for path in request.models if path.startswith("session:")
        ]
        session_id = request.session_id or next(iter(named), "")
        if not session_id:
            return None
        return configuration.parse(self._database.job(check_id(session_id), JobKind.TRAIN).config)

    def _prompts(self, request: Request, run: RunConfig | None) -> tuple[Sequence[dict[str, Any]] | None, str]:
        """Rows, or None if the worker reads a dataset; and a description of their source."""
        if request.text is not None and request.dataset is not None:
            raise InvalidInput("Choose either a dataset or a file with questions.", field="dataset")
        if request.text is not None:
            return read_prompts(request.text, MOST_PROMPTS), "your own questions"
        if request.dataset is not None:
            split = request.dataset.get("split")
            source = plain_name(str(request.dataset.get("source", "")), self._home)
            return None, f"{source}, {split}" if split else source
        if not request.session_id or run is None:
            raise InvalidInput(
                "Choose the questions: the held-out questions of a run, a dataset, or your own.", field="session_id"
            )
        prepared = JobDir.open(self._home.outputs, request.session_id).prepared
        held_out = prepared / "holdout.jsonl"
        rows = [row for row in whole_lines(held_out) if not is_text(row)] if held_out.exists() else []
        if not rows:
            raise Conflict("This run has no held-out questions yet. Choose a dataset or your own questions.")
        return rows, f"held-out questions of {self.label(f'session:{request.session_id}')}"

    def _dataset(self, request: Request, run: RunConfig | None) -> DatasetSection:
        asks = {name: getattr(run.dataset, name) for name in PROMPT_FIELDS} if run else {}
        plain = {"source": "generated:arithmetic", "system_prompt": ""}
        given = dict(request.dataset) if request.dataset is not None else {}
        own = {"system_prompt": request.system_prompt} if request.system_prompt is not None else {}
        whole = run.dataset.model_dump() if run and not given else plain
        try:
            dataset = DatasetSection.model_validate({**(asks if given and run else whole), **given, **own})
        except ValueError as error:
            raise InvalidInput(f"The dataset settings are not valid: {_first(error)}", field="dataset") from None
        if given:
            self._check_dataset(dataset)
        return dataset

    def _reward(self, request: Request, run: RunConfig | None) -> RewardSection | None:
        if not request.scored:
            return None
        if request.reward is None:
            if run is None or request.text is not None:
                return None
            if Need.REWARD not in method(run.method).needs:
                raise InvalidInput("The run was trained without a reward. Choose a reward, or none.", field="reward")
            return run.reward
        try:
            reward = RewardSection.model_validate(dict(request.reward))
        except ValueError as error:
            raise InvalidConfig([("reward", _first(error))]) from None
        resolve(reward)
        return reward


def _first(error: ValueError) -> str:
    """The message of the first validation problem."""
    if not isinstance(error, ValidationError):
        return str(error)
    path, words = configuration.explain(error.errors()[0])
    return f"{path}: {words}" if path else words
