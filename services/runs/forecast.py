"""When a run will end and whether it has stalled, from the times measured in its rows. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from core.job import JobPhase, JobState
from core.job_rows import MetricRow, measure

RECENT = 10
"""Number of latest steps whose times count."""
LEAST = 2
"""Training steps needed for a forecast: the first one also loads and compiles."""
QUIET = 120.0
"""Seconds without a row before a run can count as stalled, however short its steps are."""
MANY = 6
"""A run must also be silent for this many of its usual steps to count as stalled."""
_ROWS_OF: Mapping[str, str] = {JobPhase.TRAIN: "training", JobPhase.WARM_UP: "warm_up"}


@dataclass(frozen=True)
class Forecast:
    """The forecast of a running run.

    Attributes:
        left: Seconds until its end, including all phases; None while there are too few measurements.
        silent: Seconds since its last row if that is much longer than usual, else 0.
    """

    left: float | None = None
    silent: float = 0.0


@dataclass(frozen=True)
class AtWork:
    """The current state of a run.

    Attributes:
        state, phase: The job's; the phase is a :class:`core.job.JobPhase`.
        max_steps: Steps planned in the current phase, by the worker; 0 while unknown.
        now: Seconds since the epoch.
    """

    state: JobState
    phase: str
    max_steps: int
    now: float


def forecast(rows: Sequence[MetricRow], config: Mapping[str, Any], at: AtWork) -> Forecast:
    """When a run will end, and whether it has stalled.

    Args:
        rows: Its metric rows, merged.
        config: Its configuration, as stored.
    """
    if at.state is not JobState.RUNNING:
        return Forecast()
    return Forecast(_left(rows, config, at), _silent(rows, at))


def _left(rows: Sequence[MetricRow], config: Mapping[str, Any], at: AtWork) -> float | None:
    training = [row for row in rows if row["phase"] == "training"]
    times = _step_times(training)
    total = at.max_steps
    if len(times) < LEAST or total < training[-1]["step"] or at.phase == JobPhase.WARM_UP:
        return None
    done, since = training[-1]["step"], max(0.0, at.now - (_time(rows[-1]) or at.now))
    steps = (total - done) * fmean(times)
    held = [row for row in rows if row["phase"] == "evaluation"]
    if not held:
        return max(0.0, steps - min(since, fmean(times)))
    each = _evaluation_time(rows, config)
    ahead = 0 if any(row.get("when") == "end" for row in held) else 1
    every = _section(config, "evaluation").get("every_steps") or max(1, total // 2)
    ahead += max(0, (total - 1) // every - done // every)
    if at.phase == JobPhase.EVALUATE:
        # The evaluation in progress: the final one is already counted, one between two steps is not.
        return max(0.0, steps + each * (ahead + (done < total)) - min(since, each))
    return max(0.0, steps + each * ahead - min(since, fmean(times)))


def _silent(rows: Sequence[MetricRow], at: AtWork) -> float:
    """Only within a phase that writes rows: between phases, loading or saving a model can take any time."""
    last = rows[-1] if rows else None
    if last is None or last["phase"] != _ROWS_OF.get(at.phase):
        return 0.0
    moment, times = _time(last), _step_times([row for row in rows if row["phase"] == last["phase"]])
    if moment is None or not times:
        return 0.0
    silent = at.now - moment
    return silent if silent > max(QUIET, MANY * fmean(times)) else 0.0


def _step_times(rows: Sequence[MetricRow]) -> list[float]:
    return [seconds for row in rows[-RECENT:] if (seconds := measure(row, "step_time")) is not None]


def _evaluation_time(rows: Sequence[MetricRow], config: Mapping[str, Any]) -> float:
    """Seconds per evaluation: the latest measured one, else the time training takes for as many rows."""
    for before, row in reversed(list(pairwise(rows))):
        if row["phase"] == "evaluation" != before["phase"] and row.get("attempt") == before.get("attempt"):
            begun, ended = _time(before), _time(row)
            if begun is not None and ended is not None and ended >= begun:
                return ended - begun
    training = _section(config, "training")
    batch = (training.get("batch_size") or 1) * (training.get("gradient_accumulation_steps") or 1)
    samples = next((count for row in rows if (count := measure(row, "samples"))), 0.0)
    steps = [row for row in rows if row["phase"] == "training"][-RECENT:]
    # A row says how many rows it took if a step may take more than its batch, as with packing.
    each = [
        (measure(row, "time_generation") or measure(row, "step_time") or 0.0) / (measure(row, "rows") or batch)
        for row in steps
    ]
    return fmean(each) * samples


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _time(row: MetricRow) -> float | None:
    return measure(row, "time")
