"""Held-out losses row by row, so that a change has an interval.

The rows are the same in every evaluation, so two evaluations differ only by the model. ``held_out.jsonl`` has a line
for each, which a resumed run compares with, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from core.job_dir import JobDir, JsonlWriter, iter_lines
from core.statistics import weighted_change

BEFORE = "before"
LARGEST = 700.0
"""Nats, above which an exponential is no longer a finite number."""


class RowLosses:
    """The evaluations of a run.

    Args:
        run: Its directory.
        seed: The run's, for the resampling.
    """

    def __init__(self, run: JobDir, seed: int) -> None:
        self._path, self._seed = run.held_out, seed
        self._known: dict[tuple[str, int], tuple[list[float], list[float]]] = {}
        for line in iter_lines(run.held_out):
            if (found := _read(line)) is not None:
                self._known[found[0]] = found[1]

    def measured(self, when: str, step: int, losses: Sequence[tuple[float, float]]) -> dict[str, Any]:
        """Store an evaluation, and return the values of its row in ``metrics.jsonl``.

        Args:
            when, step: As in that row.
            losses: From :func:`core.training.methods.loop.row_losses`: each row's sum in nats, and its tokens or their
                weight.
        """
        sums, tokens = [total for total, _ in losses], [count for _, count in losses]
        mean = sum(sums) / sum(tokens) if sum(tokens) else math.nan
        values: dict[str, Any] = {
            "loss": mean,
            "perplexity": math.exp(mean) if mean < LARGEST else math.nan,
            "samples": len(losses),
        }
        if math.isfinite(mean):
            if found := self._since(self._first(), sums, tokens):
                values |= {"loss_change": found[0], "loss_change_low": found[1], "loss_change_high": found[2]}
            if found := self._since(self._lowest(), sums, tokens):
                values |= {"loss_rise": found[0], "loss_rise_low": found[1], "loss_rise_high": found[2]}
            self._known[when, step] = sums, tokens
            self._store(when, step, sums, tokens)
        return values

    def _store(self, when: str, step: int, sums: list[float], tokens: list[float]) -> None:
        writer = JsonlWriter(self._path)
        try:
            writer.append({"when": when, "step": step, "losses": sums, "tokens": tokens})
        finally:
            writer.close()

    def _first(self) -> tuple[list[float], list[float]] | None:
        return next((found for (when, _), found in self._known.items() if when == BEFORE), None)

    def _lowest(self) -> tuple[list[float], list[float]] | None:
        return min(self._known.values(), key=lambda found: sum(found[0]), default=None)

    def _since(
        self, earlier: tuple[list[float], list[float]] | None, sums: list[float], tokens: list[float]
    ) -> tuple[float, float, float] | None:
        """The change since an earlier evaluation and its interval, if that was of the same rows."""
        if earlier is None or earlier[1] != tokens:
            return None
        rows = [row for row, count in enumerate(tokens) if count]
        differences = [sums[row] - earlier[0][row] for row in rows]
        return weighted_change(differences, [tokens[row] for row in rows], self._seed)


def _read(line: dict[str, Any]) -> tuple[tuple[str, int], tuple[list[float], list[float]]] | None:
    """A line's evaluation; None if it is damaged."""
    when, step, sums, tokens = (line.get(name) for name in ("when", "step", "losses", "tokens"))
    if not (isinstance(when, str) and isinstance(step, int) and isinstance(sums, list) and isinstance(tokens, list)):
        return None
    whole = all(isinstance(one, int | float) for one in sums) and all(isinstance(one, int | float) for one in tokens)
    return ((when, step), (sums, tokens)) if whole and len(sums) == len(tokens) else None
