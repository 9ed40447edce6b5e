"""The verdict on a run that learns from preferences, from its held-out accuracy."""

from __future__ import annotations

from typing import Any, cast

import pytest

from core.config import dump, parse
from core.job import JobPhase, JobState
from core.job_rows import MetricRow
from core.statistics import share_interval
from services.runs.verdict import Outcome, RunVerdict, Stored, verdict

CONFIG = dump(parse({
    "name": "x", "model": {"name": "m"}, "method": "dpo", "training": {"max_steps": 9},
    "dataset": {"source": "a/b", "chosen_field": "better", "rejected_field": "worse"},
}))  # fmt: skip


def steps(shares: list[float], **more: Any) -> list[MetricRow]:
    """A training row for each accuracy."""
    rows = [
        {"row": n, "phase": "training", "step": n, "loss": 0.7 - 0.02 * n, "preference_accuracy": share, **more}
        for n, share in enumerate(shares, 1)
    ]
    return cast("list[MetricRow]", rows)


def held(step: int, right: int, count: int = 50, *, ties: int = 0, change: tuple[float, float] | None = None) -> Any:
    """An evaluation; ``change`` is the interval of the change since the first one."""
    low, high = share_interval(right, count, ties)
    changed = {} if change is None else {"accuracy_change_low": change[0], "accuracy_change_high": change[1]}
    return {
        "row": 100 + step, "phase": "evaluation", "step": step, "when": "end" if step else "before",
        "preference_accuracy": (right + ties / 2) / count, "preference_accuracy_low": low,
        "preference_accuracy_high": high, "samples": count, "loss": 0.6, **changed,
    }  # fmt: skip


def judged(rows: list[MetricRow], state: JobState = JobState.COMPLETED, phase: str = "") -> RunVerdict:
    return verdict(rows, state, Stored(CONFIG), phase)


RISING = steps([0.5, 0.5, 0.6, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9])
START = held(0, 0, ties=50)


@pytest.mark.parametrize(
    ("end", "outcome", "headline"),
    [
        (
            held(9, 46, change=(0.3, 0.5)), Outcome.LEARNED,
            "It learned this: right on 46 of 50 held-out pairs (92%, 95% interval 81% to 98%).",
        ),
        (
            held(9, 30, change=(-0.1, 0.2)), Outcome.NOT_ENOUGH,
            ("Not enough evidence that it learned: right on 30 of 50 held-out pairs (60%, 95% interval 45% to 74%), "
            "which could be chance."),
        ),
        (
            held(9, 10, change=(-0.5, -0.1)), Outcome.NOT_LEARNED,
            "It got worse: right on 10 of 50 held-out pairs (20%, 95% interval 10% to 34%).",
        ),
    ],
)  # fmt: skip
def test_a_finished_run_is_judged_by_its_held_out_pairs(end: Any, outcome: Outcome, headline: str) -> None:
    """The interval must exclude chance."""
    found = judged([*RISING, START, end])
    assert (found.outcome, found.headline) == (outcome, headline)


def test_what_the_model_preferred_before_is_not_learned() -> None:
    """Without a clear change, a high accuracy was there before."""
    found = judged([*RISING, held(0, 40), held(9, 42, change=(-0.04, 0.1))])
    assert found.outcome is Outcome.NOT_ENOUGH
    assert "(84%, 95% interval 71% to 93%), from 80% before training, which could be chance." in found.headline
    found = judged([*RISING, held(0, 49), held(9, 50, change=(0.0, 0.06))])
    assert found.headline.startswith("There was little left to learn: right on 50 of 50")
    found = judged([*RISING, held(0, 40), held(9, 48, change=(0.04, 0.3))])
    assert found.headline.endswith("from 80% before training.")
    assert found.outcome is Outcome.LEARNED


def test_a_handful_of_pairs_is_not_evidence() -> None:
    """Five of five right happen by chance in one of 32 runs; a new run should hold out more."""
    found = judged([*RISING, held(0, 0, 5, ties=5), held(9, 5, 5, change=(0.5, 0.5))])
    assert found.outcome is Outcome.NOT_ENOUGH
    assert found.remedy is not None
    assert "held-out" in found.remedy.words


def test_a_running_run_says_what_is_known() -> None:
    """Held-out pairs first; nothing is claimed from single steps."""
    assert judged([], JobState.RUNNING, JobPhase.EVALUATE).headline == "Measuring the held-out pairs for comparison."
    assert judged([*RISING, START], JobState.RUNNING).headline == (
        "No clear trend yet. Training accuracy from 53% to 90%."
    )
    learning = judged([*RISING, START, held(5, 45, change=(0.2, 0.5))], JobState.RUNNING)
    assert (learning.level, learning.headline[:35]) == ("good", "It is learning: right on 45 of 50 h")
    worse = judged([*RISING, START, held(5, 12, change=(-0.5, -0.1))], JobState.RUNNING)
    assert (worse.level, worse.headline[:30]) == ("watch", "It is getting worse: right on ")


def test_without_held_out_pairs_nothing_is_claimed() -> None:
    """And a loss that is no longer a number is a problem in any case."""
    found = judged(RISING)
    assert found.outcome is Outcome.NOT_ENOUGH
    assert "no held-out pairs were measured before and after" in found.headline
    lost = [{name: value for name, value in row.items() if name != "loss"} for row in RISING]
    assert judged(cast("list[MetricRow]", lost)).outcome is Outcome.NOT_LEARNED


def test_better_answers_that_fall_are_a_warning_even_if_it_learned() -> None:
    """The margin grows, but both answers become less likely."""
    falling = [
        {**row, "reward_chosen": -0.1 * step, "reward_rejected": -0.5 * step, "reward_margin": 0.4 * step}
        for step, row in enumerate(RISING)
    ]
    found = judged([*cast("list[MetricRow]", falling), START, held(9, 46, change=(0.3, 0.5))])
    assert (found.outcome, found.level) == (Outcome.LEARNED, "watch")
    assert found.evidence[0].startswith("The better answers are becoming less likely too")
    assert found.remedy is not None
