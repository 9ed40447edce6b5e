"""When a run will end, and whether it has stalled."""

from __future__ import annotations

from typing import Any, cast

import pytest

from core.job import JobPhase, JobState
from core.job_rows import MetricRow
from services.runs.forecast import AtWork, Forecast, forecast

START = 1_000_000.0
CONFIG = {"training": {"batch_size": 8, "gradient_accumulation_steps": 2}, "evaluation": {"every_steps": None}}


def rows_of(*entries: dict[str, Any]) -> list[MetricRow]:
    """Numbered rows of one attempt."""
    return [cast("MetricRow", {"row": n, "attempt": 1, **entry}) for n, entry in enumerate(entries, 1)]


def steps(first: int, last: int, at: float = START, **more: Any) -> list[dict[str, Any]]:
    """Training steps of 10 seconds each; ``at`` is the end of the first one."""
    return [
        {"phase": "training", "step": step, "step_time": 10.0, "time": at + 10 * (step - first), **more}
        for step in range(first, last + 1)
    ]


def held(when: str, step: int, time: float) -> dict[str, Any]:
    return {"phase": "evaluation", "step": step, "when": when, "time": time, "samples": 32}


def at(now: float, phase: JobPhase = JobPhase.TRAIN, total: int = 20, state: JobState = JobState.RUNNING) -> AtWork:
    return AtWork(state, phase, total, now)


def test_steps_that_are_left_take_as_long_as_the_latest() -> None:
    """Without held-out rows there is nothing else; the time since the last row counts."""
    rows = rows_of(*steps(1, 5))
    assert forecast(rows, CONFIG, at(START + 40)).left == 150
    assert forecast(rows, CONFIG, at(START + 44)).left == 146
    assert forecast(rows, CONFIG, at(START + 400)).left == 140


def test_evaluations_that_are_left_are_counted_with_the_time_that_one_took() -> None:
    """Half-way and at the end; the latest measured one gives the duration."""
    before = held("before", 0, START - 10)
    rows = rows_of(before, *steps(1, 10), held("interval", 10, START + 90 + 25), *steps(11, 12, START + 125))
    assert forecast(rows, CONFIG, at(START + 135)).left == 8 * 10 + 25


def test_an_evaluation_that_was_not_measured_yet_is_estimated_from_generation() -> None:
    """32 rows, if a step of 16 answers takes 4 seconds to generate: 8 seconds, twice."""
    rows = rows_of(held("before", 0, START - 10), *steps(1, 4, time_generation=4.0))
    assert forecast(rows, CONFIG, at(START + 30)).left == 16 * 10 + 2 * 8


def test_packed_steps_take_more_rows_than_their_batch() -> None:
    """64 rows in a step of 10 seconds: 5 seconds for 32 rows."""
    rows = rows_of(held("before", 0, START - 10), *steps(1, 4, rows=64))
    assert forecast(rows, CONFIG, at(START + 30)).left == 16 * 10 + 2 * 5


@pytest.mark.parametrize(("now", "left"), [(START + 190, 30), (START + 200, 20), (START + 900, 0)])
def test_the_evaluation_at_the_end_runs_down(now: float, left: float) -> None:
    """It never falls below zero."""
    rows = rows_of(
        held("before", 0, START - 10), *steps(1, 10), held("interval", 10, START + 90 + 30), *steps(11, 20, START + 100)
    )
    assert forecast(rows, CONFIG, at(now, JobPhase.EVALUATE)).left == left


def test_an_evaluation_between_two_steps_comes_on_top() -> None:
    """The current one, one more at the end, and the steps after it."""
    config = {**CONFIG, "evaluation": {"every_steps": 5}}
    rows = rows_of(
        held("before", 0, START), *steps(1, 5, START), held("interval", 5, START + 70), *steps(6, 10, START + 80)
    )
    left = forecast(rows, config, at(START + 120, JobPhase.EVALUATE)).left
    assert left == 10 * 10 + 30 + 30 + 30  # after 10, after 15, at the end


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ([], at(START)),
        (rows_of(*steps(1, 1)), at(START)),
        (rows_of(*steps(1, 5)), at(START, JobPhase.WARM_UP)),
        (rows_of(*steps(1, 5)), at(START, total=0)),
        (rows_of(*steps(1, 5)), at(START, state=JobState.STARTING)),
        (rows_of(*steps(1, 5)), at(START, state=JobState.COMPLETED)),
        (rows_of(*({"phase": "training", "step": n} for n in range(1, 9))), at(START)),
    ],
)
def test_nothing_is_made_up(rows: list[MetricRow], where: AtWork) -> None:
    """Without two measured steps, before training, or without a worker, the time is unknown."""
    assert forecast(rows, CONFIG, where).left is None


def test_damaged_settings_are_passed_over() -> None:
    """An invalid section counts as empty."""
    rows = rows_of(held("before", 0, START), *steps(1, 5))
    assert forecast(rows, {"training": [1], "evaluation": 3}, at(START + 40)).left is not None


def test_a_long_silence_is_a_stall_only_within_a_phase_that_has_rows() -> None:
    """Two minutes and six usual steps; loading, saving and scoring may take any time."""
    rows = rows_of(*steps(1, 5))
    last = START + 40
    assert forecast(rows, CONFIG, at(last + 100)).silent == 0
    assert forecast(rows, CONFIG, at(last + 130)).silent == 130
    slow = rows_of(*({**one, "step_time": 60.0} for one in steps(1, 5)))
    assert forecast(slow, CONFIG, at(last + 300)).silent == 0
    assert forecast(slow, CONFIG, at(last + 400)).silent == 400
    for phase in (JobPhase.EVALUATE, JobPhase.WARM_UP):
        assert forecast(rows, CONFIG, at(last + 900, phase)).silent == 0
    assert forecast(rows, CONFIG, AtWork(JobState.RUNNING, "", 0, last + 900)).silent == 0
    assert forecast([], CONFIG, at(last)) == Forecast()


@pytest.mark.parametrize("phase", ["", "of a later version"])
def test_a_phase_without_rows_is_not_silent(phase: str) -> None:
    """The worker's phase is text in a file, which another version may have written."""
    at_work = AtWork(JobState.RUNNING, phase, 20, START + 10_000)
    assert forecast(rows_of(*steps(1, 5)), CONFIG, at_work).silent == 0
