"""Generated reasoning-gym tasks: over a hundred kinds of exercise, each with its own exact checker.

Rows are generated locally and deterministic for a seed. Each row keeps the whole entry under ``reasoning_gym``,
because the reward of the same name passes it to the task's own checker. The library takes seconds to import and is
imported lazily.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.config import GeneratedTask
from core.errors import InvalidInput

SOURCE = "generated:reasoning-gym"
LEVELS = 6
"""Difficulty levels offered, 0 to 5; a task with fewer stays at its hardest."""
UNSUITABLE = frozenset({"composite", "arc_agi", "rearc", "jugs", "sokoban", "zebra_puzzles", "knight_swap"})
"""``composite`` is itself a mixture; the ARC tasks' entries cannot be serialized; the others take ten seconds to
minutes for one row at some level, or fail at every level."""


class TaskInfo(BaseModel):
    """A kind of exercise.

    Attributes:
        category: algebra, algorithmic, arithmetic, cognition, games, geometry, graphs, logic, …
        levels: Number of difficulty levels; 1 if it has none.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    category: str
    levels: int


@lru_cache(maxsize=1)
def catalogue() -> tuple[TaskInfo, ...]:
    """All available tasks, by category and name. Takes seconds the first time."""
    from reasoning_gym.factory import CURRICULA, DATASETS

    found = [
        TaskInfo(
            name=name,
            title=name.replace("_", " ").capitalize(),
            category=kind.__module__.split(".")[1],
            levels=LEVELS if name in CURRICULA else 1,
        )
        for name, (kind, _) in DATASETS.items()
        if name not in UNSUITABLE
    ]
    return tuple(sorted(found, key=lambda task: (task.category, task.name)))


def rows(tasks: Sequence[GeneratedTask], size: int, seed: int) -> Iterator[dict[str, Any]]:
    """``size`` rows, with tasks in proportion to their weights, shuffled.

    Raises:
        InvalidInput: A task is unknown, or cannot be generated at this level.
    """
    if not tasks:
        raise InvalidInput("Select at least one exercise.", field="dataset.tasks")
    order = _order([task.weight for task in tasks], size, seed)
    streams = [_stream(place, task, order.count(place), seed) for place, task in enumerate(tasks)]
    for place in order:
        yield next(streams[place])


def preview(tasks: Sequence[GeneratedTask], size: int, seed: int, samples: int) -> list[dict[str, Any]]:
    """The first rows of :func:`rows`."""
    return list(islice(rows(tasks, size, seed), samples))


def dataset(task: GeneratedTask, size: int, seed: int, field: str = "dataset.tasks") -> Any:
    """reasoning-gym's dataset object for a task at its level.

    Raises:
        InvalidInput: There is no such task, or it cannot be generated at this level.
    """
    from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum, create_dataset

    if task.name not in DATASETS or task.name in UNSUITABLE:
        raise InvalidInput(f"There is no exercise named {task.name!r:.80}. See the list of exercises.", field=field)
    try:
        if task.difficulty is None or task.name not in CURRICULA:
            return create_dataset(task.name, size=max(1, size), seed=seed)
        curriculum = create_curriculum(task.name)
        for name, attribute in curriculum.attributes.items():
            curriculum.set_attr_level(name, min(task.difficulty, len(attribute.levels) - 1))
        chosen = curriculum.generate_configuration({"size": max(1, size), "seed": seed})
        return DATASETS[task.name][0](chosen)
    except (AssertionError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InvalidInput(
            f"The exercise {task.name} cannot be generated with these settings: {error}.", field=field
        ) from None


def _stream(place: int, task: GeneratedTask, count: int, seed: int) -> Iterator[dict[str, Any]]:
    made = dataset(task, count, seed + place * 1_000_003, f"dataset.tasks.{place}")
    for number in range(count):
        # As read back from a file, so that preview, training and rewards see the same data.
        entry = json.loads(json.dumps(_entry(made, number, task.name), default=str))
        answer = entry.get("answer")
        yield {
            "question": str(entry["question"]),
            "answer": "" if answer is None else str(answer),
            "task": task.name,
            "reasoning_gym": {"task": task.name, "entry": entry},
        }


def _entry(made: Any, number: int, name: str) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = made[number]
    except (AssertionError, ValueError, IndexError, KeyError) as error:
        raise InvalidInput(
            f"The exercise {name} cannot be generated with these settings: {error}.", field="dataset.tasks"
        ) from None
    return entry


def _order(weights: list[float], size: int, seed: int) -> list[int]:
    places = [place for place, count in enumerate(shares(weights, size)) for _ in range(count)]
    random.Random(f"tasks:{seed}").shuffle(places)  # noqa: S311 - reproducible, nothing secret
    return places


def shares(weights: Sequence[float], total: int) -> list[int]:
    """Whole numbers that add up to ``total`` in proportion to weights, by largest remainder.

    >>> shares([2.0, 1.0], 100)
    [67, 33]
    """
    whole = sum(weights)
    exact = [weight / whole * total for weight in weights]
    counts = [int(value) for value in exact]
    rest = sorted(range(len(exact)), key=lambda place: (counts[place] - exact[place], place))
    for place in rest[: total - sum(counts)]:
        counts[place] += 1
    return counts
