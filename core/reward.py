"""What a reward is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class Score(NamedTuple):
    """What one completion earned from one reward.

    Attributes:
        value: In [0, 1].
        why: One sentence for a person.
    """

    value: float
    why: str


class RewardFunction(Protocol):
    """A pure function of a completion and the row it answers.

    Args:
        completion: What the model wrote, without the prompt.
        prompt: The question as the person's dataset has it (``row['instruction']``).
        row: ``instruction``, ``response`` (the reference answer) and every further column.
        markers and own settings: keyword arguments.
    """

    def __call__(self, completion: str, prompt: str, row: Mapping[str, Any], **params: Any) -> Score: ...


class Item(NamedTuple):
    """One completion to score, with the question and the row that it answers."""

    completion: str
    prompt: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Markers:
    """The four markers of the configuration."""

    reasoning_start: str
    reasoning_end: str
    solution_start: str
    solution_end: str


@dataclass(frozen=True)
class Part:
    """One component's result inside a total."""

    score: float
    weight: float
    why: str


@dataclass(frozen=True)
class Total:
    """The weighted sum and what it is made of, keyed by component name."""

    total: float
    components: dict[str, Part]
