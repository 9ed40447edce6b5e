"""Held-out preferences row by row, so that an accuracy and its change have intervals.

The rows are the same in every evaluation, so two evaluations differ only by the model. ``held_out.jsonl`` has a line
for each, which a resumed run compares with, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.job_dir import JobDir, JsonlWriter, iter_lines
from core.statistics import bootstrap_mean, share_interval

BEFORE = "before"
RIGHT, TIE, WRONG = 1.0, 0.5, 0.0
"""Outcomes of a row: the better answer is preferred, neither, or the worse one."""


def outcome(margin: float) -> float:
    """The outcome of a row in which the better answer is ahead by a margin."""
    return RIGHT if margin > 0 else TIE if margin == 0 else WRONG


class Outcomes:
    """The evaluations of a run of a method that learns from preferences.

    Args:
        run: Its directory.
        seed: The run's, for the resampling.
    """

    def __init__(self, run: JobDir, seed: int) -> None:
        self._path, self._seed = run.held_out, seed
        lines = iter_lines(run.held_out)
        self._before = next((found for line in lines if (found := _read(line)) is not None), None)

    def measured(self, when: str, step: int, outcomes: Sequence[float]) -> dict[str, float]:
        """Store an evaluation, and return the values of its row in ``metrics.jsonl``.

        Args:
            when, step: As in that row.
            outcomes: One for each row, at least one.
        """
        count, right, ties = len(outcomes), outcomes.count(RIGHT), outcomes.count(TIE)
        low, high = share_interval(right, count, ties)
        values = {
            "preference_accuracy": sum(outcomes) / count,
            "preference_accuracy_low": low,
            "preference_accuracy_high": high,
            "samples": count,
        }
        if self._before is not None and len(self._before) == count:
            changes = [now - then for now, then in zip(outcomes, self._before, strict=True)]
            low, high = bootstrap_mean(changes, self._seed)
            values |= {
                "accuracy_change": sum(changes) / count, "accuracy_change_low": low, "accuracy_change_high": high,
            }  # fmt: skip
        elif when == BEFORE:
            self._before = list(outcomes)
        writer = JsonlWriter(self._path)
        try:
            writer.append({"when": when, "step": step, "outcomes": list(outcomes)})
        finally:
            writer.close()
        return values


def _read(line: dict[str, Any]) -> list[float] | None:
    """The outcomes of the evaluation before training; None for another line or a damaged one."""
    found = line.get("outcomes")
    if line.get("when") != BEFORE or not isinstance(found, list):
        return None
    return found if found and all(one in {RIGHT, TIE, WRONG} for one in found) else None
