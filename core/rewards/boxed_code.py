"""Runs untrusted Python as a reward, in the sandbox, on many rows at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from core.errors import Unavailable
from core.reward import NO_OPINION, Item, Score
from core.rewards.sandbox import Limits, Task, shared
from core.text import reason

ROWS_A_TASK = 16
"""Rows per process; more would keep one core busy while others idle."""


def run_reward(
    source: str, items: Sequence[Item], *, limits: Limits | None = None, preload: Sequence[str] = ()
) -> list[Score]:
    """Score items by ``def reward(completion, prompt, row)`` in ``source``.

    A row on which it hangs, crashes or does not return a number in [0, 1] scores 0 with the reason; other rows are
    unaffected.

    Args:
        source: Python that defines ``reward``.
        items: What to score.
        limits: For each process; the wall time is per row.
        preload: Modules that the sandbox imports once.
    """
    chunks = [items[start : start + ROWS_A_TASK] for start in range(0, len(items), ROWS_A_TASK)]
    tasks = [
        Task("rewards", source, {"items": [item._asdict() for item in chunk]}, limits=limits or Limits())
        for chunk in chunks
    ]
    try:
        answers = shared(preload).run(tasks)
    except Unavailable as error:
        return [Score(0.0, error.message)] * len(items)
    return [score for chunk, answer in zip(chunks, answers, strict=True) for score in _scores(answer, len(chunk))]


def run_tasks(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Run programs in this process's sandbox; without one, every result is the error."""
    try:
        return shared().run(tasks)
    except Unavailable as error:
        return [{"error": error.message}] * len(tasks)


def _scores(answer: dict[str, Any], count: int) -> list[Score]:
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != count:
        return [Score(0.0, f"The reward failed: {answer.get('error', 'it gave no answer')}.")] * count
    return [_read(result) for result in results]


def _read(result: Any) -> Score:
    try:
        return _score(result)
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
        return Score(0.0, "The reward's result for this answer could not be read.")


def _score(result: dict[str, Any]) -> Score:
    if "error" in result:
        return Score(0.0, reason(f"The reward failed on this answer: {result['error']}."))
    data, why = result.get("value"), ""
    if isinstance(data, list) and data[:1] == ["t"] and len(data[1]) == 2:
        data, why = data[1][0], data[1][1] if isinstance(data[1][1], str) else ""
    if data is None:
        return Score(NO_OPINION, reason(why or "The reward has no opinion on this answer (it returned None)."))
    value = _number(data)
    if value is None:
        return Score(0.0, "The reward returned no number. Return a number from 0 to 1, or a number and a sentence.")
    if not math.isfinite(value):
        return Score(0.0, f"The reward returned {value}, which cannot be used as a score. Return None for no opinion.")
    if not 0 <= value <= 1:
        return Score(0.0, f"The reward returned {value:g}, which is not between 0 and 1.")
    return Score(value, reason(why or f"The reward returned {value:g}."))


def _number(data: Any) -> float | None:
    if isinstance(data, bool):
        return float(data)
    if isinstance(data, list) and len(data) == 2 and data[0] in {"i", "f"}:
        try:
            return float(int(data[1], 16)) if data[0] == "i" else float(data[1])
        except (ValueError, OverflowError):
            return None
    return None
