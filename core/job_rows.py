"""Row types of ``metrics.jsonl`` and ``completions.jsonl``, and checks for them. Other rows count as damaged."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NotRequired, TypedDict, TypeGuard

TEXTS = frozenset({"phase", "when"})
PLACE = frozenset({"row", "attempt", "time", "step"}) | TEXTS
"""Keys that identify a metric row. All other keys are declared in :mod:`core.metrics`."""
_NUMBERS = (int, float)
"""A tuple, because it is checked for every point of a chart and is three times as fast as ``int | float``."""
LARGEST = 1e100
"""Upper limit of values, so that their squares and sums stay finite."""


class MetricRow(TypedDict):
    """A row of ``metrics.jsonl``: its step and phase, and the measured values.

    Lists only metrics that code reads by name for every method. Read others with :func:`measure`.
    """

    row: int
    step: int
    phase: str
    attempt: NotRequired[int]
    time: NotRequired[float]
    when: NotRequired[str]
    loss: NotRequired[float]
    reward: NotRequired[float]
    reward_components: NotRequired[dict[str, float]]
    samples: NotRequired[int]


class PartRow(TypedDict):
    """A reward component's score of a completion. ``opinion`` is present only if it is False."""

    score: float | None
    weight: NotRequired[float]
    why: NotRequired[str]
    opinion: NotRequired[bool]


class CompletionRow(TypedDict):
    """A completion of a group.

    ``total`` is its reward, ``components`` its scores by component name; both are absent if it was not scored.
    ``problem`` is the reason why an evaluation has no answer.
    """

    text: str
    tokens: NotRequired[int]
    cut_off: NotRequired[bool]
    total: NotRequired[float | None]
    advantage: NotRequired[float | None]
    components: NotRequired[dict[str, PartRow] | None]
    problem: NotRequired[str]


class GroupContent(TypedDict):
    """A prompt and its completions, before they are written to a file.

    ``when`` names the evaluation that a held-out group belongs to.
    """

    instruction: str
    prompt: str
    completions: list[CompletionRow]
    reference: NotRequired[str | None]
    when: NotRequired[str]


class GroupRow(GroupContent):
    """A line of ``completions.jsonl``."""

    row: NotRequired[int]
    attempt: NotRequired[int]
    time: NotRequired[float]
    phase: NotRequired[str]
    step: NotRequired[int]


class AnswerContent(GroupContent):
    """An evaluated model's answer to a prompt, as a group with one completion."""

    model: int
    place: int


class AnswerRow(GroupRow):
    """A line of an evaluation's ``completions.jsonl``; ``model`` and ``place`` count from 0."""

    model: int
    place: int


def is_metric(row: Mapping[str, Any]) -> TypeGuard[MetricRow]:
    """Whether an object is a metric row: it has a row number, phase and step, and its values are numbers.

    >>> is_metric({"row": 1, "phase": "training", "step": 1, "reward": 0.5})
    True
    >>> is_metric({"row": 1, "phase": "training", "step": 1, "reward": "much"})
    False
    """
    placed = _whole(row.get("row")) and _whole(row.get("step")) and isinstance(row.get("phase"), str)
    return placed and all(map(_measure, row, row.values()))


def is_group(row: Mapping[str, Any]) -> TypeGuard[GroupRow]:
    """Whether an object is a group of completions, each with valid text and scores.

    >>> is_group({"phase": "training", "step": 1, "instruction": "1 + 1", "prompt": "", "completions": []})
    True
    >>> is_group({"phase": "training", "step": 1, "instruction": "1 + 1", "prompt": "", "completions": [{"text": 2}]})
    False
    """
    placed = _whole(row.get("step", 0)) and _whole(row.get("attempt", 1)) and isinstance(row.get("phase", ""), str)
    answers = row.get("completions")
    asked = "instruction" in row and "prompt" in row
    return placed and asked and isinstance(answers, list) and all(map(_is_answer, answers))


def is_answer_of(row: Mapping[str, Any]) -> TypeGuard[AnswerRow]:
    """Whether an object is an evaluation's answer: a group of one completion with ``model`` and ``place``."""
    placed = _whole(row.get("model")) and _whole(row.get("place"))
    return placed and is_group({"prompt": "", **row}) and len(row["completions"]) == 1


def measure(row: Mapping[str, object], key: str) -> float | None:
    """Return a row's value of a metric. None if it is missing or not finite.

    >>> measure({"row": 1, "phase": "training", "step": 1, "kl": 0.25}, "kl"), measure({}, "kl")
    (0.25, None)
    """
    value = row.get(key)
    return value if isinstance(value, _NUMBERS) and isfinite(value) else None


def _is_answer(answer: Any) -> bool:
    return (
        isinstance(answer, dict)
        and isinstance(answer.get("text"), str)
        and all(_is_number(answer.get(name, 0)) for name in ("tokens", "cut_off"))
        and all(answer.get(name) is None or _is_number(answer[name]) for name in ("total", "advantage"))
        and _are_parts(answer.get("components") or {})
    )


def _are_parts(parts: Any) -> bool:
    return isinstance(parts, dict) and all(
        isinstance(part, dict)
        and (part.get("score") is None or _is_number(part["score"]))
        and _is_number(part.get("weight", 1))
        and isinstance(part.get("why", ""), str)
        for part in parts.values()
    )


def _measure(name: str, value: Any) -> bool:
    if name in TEXTS:
        return isinstance(value, str)
    return all(map(_is_number, value.values())) if isinstance(value, dict) else _is_number(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and -LARGEST < value < LARGEST
