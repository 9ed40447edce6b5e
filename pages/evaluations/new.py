"""The form of a new evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInput, TunesmithError
from core.evaluation import MOST_PROMPTS
from core.job import JobState
from core.job_dir import JobDir
from core.methods import Need, method_of
from core.model import DEMO_MODEL
from core.statistics import fewest_changes, smallest_share
from core.weights import START
from pages.models.playground import ModelGroup, ModelOption, model_groups, other_of
from pages.rewards.bench import reward_choices
from services.container import Services
from services.evaluations.request import Request
from services.forms.fields import whole_number
from services.models.models import TrainedModel
from services.wizard.dataset_form import ready_mapping
from services.words import file_facts

SLOTS = 4
"""Models that the form offers."""
FORM = {
    "prompts": "session", "session_id": "", "dataset": "", "hub": "", "split": "", "subset": "", "typed": "",
    "limit": "64", "reward": "training",
    "max_new_tokens": "", "temperature": "0", "top_p": "1", "seed": "0", "system_prompt": "", "name": "", "other": "",
}  # fmt: skip


NUMBERS = {
    "limit": "Number of questions", "max_new_tokens": "Maximum length", "temperature": "Temperature", "top_p": "Top-p",
    "seed": "Seed",
}  # fmt: skip
"""Titles of the number fields."""


@dataclass(frozen=True)
class Choice:
    """One line of a choice."""

    value: str
    title: str


@dataclass(frozen=True)
class NewEvaluationPage:
    """The form.

    Attributes:
        chosen: The models of its slots.
        values: The input.
        detectable: The difference that the number of questions can show.
    """

    models: tuple[ModelGroup, ...]
    runs: tuple[Choice, ...]
    datasets: tuple[Choice, ...]
    rewards: tuple[Choice, ...]
    chosen: tuple[str, ...]
    values: dict[str, str]
    detectable: str
    problem: str


def new_evaluation_page(services: Services, given: Mapping[str, str], *, problem: str = "") -> NewEvaluationPage:
    """The form, filled in from a URL or an earlier attempt.

    Args:
        given: Fields of the form; ``session_id`` alone compares a run's model with its base.
    """
    models = model_groups(services)
    values = {name: given.get(name, default) for name, default in FORM.items()}
    chosen = [given.get(f"model_{slot}", "") for slot in range(1, SLOTS + 1)]
    if not any(chosen):
        chosen = _first_choice(services, given.get("session_id", ""), given.get("model", ""))
    extra = tuple(ModelOption(value, value) for value in chosen if value and other_of(models, value))
    models = (*models, *([ModelGroup("Other", extra)] if extra else []))
    listed = services.runs.list()
    runs = tuple(Choice(run.session_id, run.title) for run in listed if _held_out(services, run.session_id))
    if values["prompts"] == "session" and not runs:
        values["prompts"] = "typed"
    known_run = values["session_id"] in {run.session_id for run in listed}
    if "reward" not in given and known_run and not _has_reward(services, values["session_id"]):
        values["reward"] = "none"
    rewards = (
        Choice("training", "Same as in training"),
        Choice("none", "None, only collect answers"),
        *(Choice(key, title) for key, (title, _) in reward_choices(services, services.wizard.draft()).items()),
    )
    return NewEvaluationPage(
        models, runs, _datasets(services), rewards, tuple(chosen), values, detectable(values["limit"]), problem
    )


def read_form(services: Services, form: Mapping[str, str], text: str) -> Request:
    """The form's request.

    Args:
        text: The uploaded file's text, or ''.

    Raises:
        InvalidInput: A number is invalid, or there are no prompts.
    """
    models = [form.get(f"model_{slot}", "") for slot in range(1, SLOTS + 1)]
    models = [path for path in [*models, form.get("other", "").strip()] if path]
    kind, reward = form.get("prompts", "session"), form.get("reward", "training")
    choices = reward_choices(services, services.wizard.draft())
    return Request(
        models=tuple(models),
        session_id=form.get("session_id", "") if kind == "session" else "",
        dataset=_dataset_of(services, form) if kind == "dataset" else None,
        text=(text or form.get("typed", "")) if kind == "typed" else None,
        limit=int(_form_number(form, "limit", 1, 5000)),
        reward=choices[reward][1] if reward in choices else None,
        scored=reward != "none",
        system_prompt=form.get("system_prompt", "").strip() or None,
        max_new_tokens=int(_form_number(form, "max_new_tokens", 1, 8192))
        if form.get("max_new_tokens", "").strip()
        else None,
        temperature=_form_number(form, "temperature", 0, 5),
        top_p=_form_number(form, "top_p", 0.01, 1),
        seed=int(_form_number(form, "seed", 0, 2**31 - 1)),
        name=form.get("name", ""),
    )


def detectable(limit: str) -> str:
    """The difference that so many questions can show."""
    count = whole_number(limit) or 0
    if not fewest_changes() <= count <= MOST_PROMPTS:
        return f"From {fewest_changes()} questions on, a difference can be significant. At most {MOST_PROMPTS:,}."
    return (
        f"{count:,} questions usually show a difference if at least {smallest_share(count):.0%} of the answers change. "
        "More questions show smaller differences."
    )


def _first_choice(services: Services, session_id: str, model: str) -> list[str]:
    """The model that a run started from and its trained model; with ``model``, the run's trained model and that one."""
    trained = services.models.trained()
    found = [item for item in trained if session_id in {"", item.session_id}]
    # A newer crashed run may also have a trained model, but is rarely what the user wants to measure.
    run = next((item for item in found if item.status == JobState.COMPLETED), found[0] if found else None)
    first = (run.model_path if model else _begun(services, run)) if run else DEMO_MODEL
    second = model or (run.model_path if run else "")
    return [first, second if second != first else "", *[""] * (SLOTS - 2)]


def _begun(services: Services, run: TrainedModel) -> str:
    """The base model, or the earlier run's result that it went on from."""
    went_on = (services.runs.config(run.session_id).get("model") or {}).get("continue_from")
    return f"{run.model_path}@{START}" if went_on else run.base


def _has_reward(services: Services, session_id: str) -> bool:
    return Need.REWARD in method_of(services.runs.config(session_id)).needs


def _held_out(services: Services, session_id: str) -> bool:
    return (JobDir(services.settings.home.outputs / session_id).prepared / "holdout.jsonl").is_file()


def _datasets(services: Services) -> tuple[Choice, ...]:
    uploads = (Choice(f"upload:{info.id}", f"{info.name}, {file_facts(info)}") for info in services.datasets.list())
    return (Choice("generated:arithmetic", "Arithmetic (generated)"), *uploads)


def _dataset_of(services: Services, form: Mapping[str, str]) -> dict[str, Any]:
    source = form.get("hub", "").strip() or form.get("dataset", "")
    if not source:
        raise InvalidInput("Choose a dataset.", field="dataset")
    try:
        mapping = {} if source.startswith("generated:") else ready_mapping(services.library, source)
    except TunesmithError as error:
        raise InvalidInput(error.message, field="dataset") from None
    more = {name: form.get(name, "").strip() for name in ("split", "subset")}
    return {"source": source, **mapping, **{name: value for name, value in more.items() if value}}


def _form_number(form: Mapping[str, str], name: str, low: float, high: float) -> float:
    text = form.get(name, "").strip() or FORM[name]
    try:
        value = float(text)
    except ValueError:
        value = high + 1
    if not low <= value <= high:
        raise InvalidInput(f"{NUMBERS[name]}: enter a number from {low:,g} to {high:,g}.", field=name)
    return value
