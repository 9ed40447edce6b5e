"""What step 2 offers besides plain fields: exercises, mixes and saved prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from core.config import MixSource
from core.data import made_pairs, tasks
from core.data.arithmetic import SOURCE as SUMS
from core.errors import InvalidInput
from core.methods import Method
from services.container import Services
from services.datasets.library import PREFERENCES
from services.forms.fields import FormField, model_field
from services.forms.labels import dataset_title
from services.wizard.dataset_form import PART, on_this_machine
from services.wizard.draft import DatasetDraft, MixEntry, TaskEntry
from services.words import file_facts

HUB_PART = ("source", "subset", "split", "instruction_field", "response_field", *PREFERENCES, "weight")
TASK_PART = ("tasks", "size", "weight")
MADE = (SUMS, made_pairs.SOURCE)
"""Generated rows that can be part of a mix without settings."""


@dataclass(frozen=True)
class TaskLine:
    """An exercise with its settings."""

    name: str
    title: str
    chosen: bool
    weight: str
    difficulty: str
    levels: int


@dataclass(frozen=True)
class MixLine:
    """A dataset that can be part of a mix. An empty weight leaves it out."""

    source: str
    title: str
    facts: str
    weight: str


@dataclass(frozen=True)
class MixPart:
    """A source of a mixture with its own fields; ``was`` is its original state as JSON; without values: a new one."""

    path: str
    title: str
    values: str
    was: str
    fields: tuple[FormField, ...]


@dataclass(frozen=True)
class Choices:
    """What the page offers besides plain fields."""

    tasks: tuple[tuple[str, tuple[TaskLine, ...]], ...]
    tasks_problem: str
    mix: tuple[MixLine, ...]
    parts: tuple[MixPart, ...]
    templates: tuple[str, ...]


def choices(services: Services, dataset: DatasetDraft, kind: str, chosen: Method) -> Choices:
    """The exercises are listed only if shown: the first time takes a few seconds."""
    lines, problem = _task_lines(services, dataset) if kind == "tasks" else ((), "")
    weights = {part.get("source"): _shown(part.get("weight", 1.0)) for part in dataset.mix}
    mix = [
        MixLine(f"upload:{info.id}", info.name, file_facts(info), weights.get(f"upload:{info.id}", ""))
        for info in services.datasets.list()
    ]
    mix += [
        MixLine(source, dataset_title(source, services.settings.home), "", weights.get(source, "")) for source in MADE
    ]
    return Choices(
        tasks=lines,
        tasks_problem=problem,
        mix=tuple(mix),
        parts=_part_views(dataset, chosen),
        templates=tuple(sorted(services.library.templates())),
    )


def _task_lines(services: Services, dataset: DatasetDraft) -> tuple[tuple[tuple[str, tuple[TaskLine, ...]], ...], str]:
    try:
        known = services.library.tasks()
    except InvalidInput as error:
        return (), error.message
    chosen = {task.get("name"): task for task in dataset.tasks}
    groups: dict[str, list[TaskLine]] = {}
    for task in known:
        mine: TaskEntry = chosen.get(task["name"], {})
        difficulty = mine.get("difficulty")
        groups.setdefault(task["category"], []).append(
            TaskLine(
                task["name"], task["title"], task["name"] in chosen, _shown(mine.get("weight", 1.0)),
                "" if difficulty is None else str(difficulty), task["levels"],
            )
        )  # fmt: skip
    return tuple((category, tuple(lines)) for category, lines in groups.items()), ""


def _part_views(dataset: DatasetDraft, chosen: Method) -> tuple[MixPart, ...]:
    """The mix's sources that are not on this machine, and an empty one of each kind to add."""
    shown = [part for part in dataset.mix if not on_this_machine(str(part.get("source") or ""))]
    parts: list[MixEntry] = [*shown, {}, {"source": tasks.SOURCE}]
    return tuple(_part_view(f"{PART}.{place}", part, chosen) for place, part in enumerate(parts))


def _part_view(path: str, part: MixEntry, chosen: Method) -> MixPart:
    made = part.get("source") == tasks.SOURCE
    title = "Generated exercises" if made else "Hugging Face dataset"
    values = _task_names(part.get("tasks") or ()) if made else str(part.get("source") or "")
    names = TASK_PART if made else [name for name in HUB_PART if chosen.uses(f"dataset.{name}") or name == "weight"]
    fields = {name: model_field(MixSource, f"{path}.{name}", part, {}) for name in names}
    if made:
        fields["tasks"] = replace(
            fields["tasks"],
            value=values,
            placeholder="chain_sum = 2, spell_backward",
            description="Names separated by commas; '= 2' sets a difficulty from 0 to 5. Leave empty to skip.",
        )
    else:
        fields["source"] = replace(
            fields["source"],
            title="Dataset name",
            placeholder="openai/gsm8k",
            description="Owner and name. Leave empty to skip. Popular datasets bring their own column mapping.",
        )
    title = title if values else "Add generated exercises" if made else "Add a Hugging Face dataset"
    return MixPart(path, title, values, json.dumps(part), tuple(fields.values()))


def _task_names(chosen: Iterable[TaskEntry]) -> str:
    levels = [(task.get("name", ""), task.get("difficulty")) for task in chosen]
    return ", ".join(name if level is None else f"{name} = {level}" for name, level in levels)


def _shown(weight: object) -> str:
    return f"{weight:g}" if isinstance(weight, int | float) else str(weight)
