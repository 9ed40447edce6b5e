"""What the run page says about a run, from its rows alone."""

from __future__ import annotations

from typing import Any

import pytest

from core.run import JobState
from services.verdict import health, merge, verdict


def steps(rewards: list[float], **more: Any) -> list[dict[str, Any]]:
    return [{"row": n, "phase": "training", "step": n, "reward": reward, **more} for n, reward in enumerate(rewards, 1)]


def test_a_rising_reward_is_called_learning() -> None:
    """A reward that climbs well above its noise is said to be learning."""
    found = verdict(steps([0.1, 0.15, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.7]), JobState.TRAINING)
    assert found.level == "good"
    assert "learning" in found.headline


def test_zero_reward_is_explained_with_what_to_do() -> None:
    """Reward flat at zero is a problem, with the warm-up as the first advice."""
    found = verdict(steps([0.0] * 8), JobState.TRAINING)
    assert found.level == "problem"
    assert "warm-up" in found.advice[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [({"cut_off": 0.8}, "cut off"), ({"groups_without_spread": 1.0}, "nothing to compare"), ({"kl": 2.0}, "very far")],
)
def test_an_unhealthy_figure_comes_before_the_trend(more: dict[str, Any], words: str) -> None:
    """Cut-off answers, groups without spread and drift are said even while the reward rises."""
    found = verdict(steps([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], **more), JobState.TRAINING)
    assert found.level == "problem"
    assert words in found.headline


def test_all_solved_is_no_problem() -> None:
    """Groups without spread because everything is right is good news."""
    found = verdict(steps([1.2] * 8, groups_without_spread=1.0, solved=1.0), JobState.TRAINING)
    assert found.level == "good"


def test_few_steps_say_nothing() -> None:
    """Two steps are too few for a trend."""
    assert "early" in verdict(steps([0.1, 0.9]), JobState.TRAINING).headline


def test_a_finished_run_compares_the_held_out_questions() -> None:
    """The closing line gives held-out reward before and after."""
    rows = [
        {"row": 0, "phase": "evaluation", "step": 0, "when": "before", "reward": 0.1},
        *steps([0.2, 0.3, 0.5, 0.6]),
        {"row": 9, "phase": "evaluation", "step": 4, "when": "end", "reward": 0.55},
    ]
    assert "from 0.10 to 0.55" in verdict(rows, JobState.COMPLETED).headline


def test_a_crash_says_what_was_kept() -> None:
    """A vanished process says which step is safe and how to go on."""
    found = verdict(steps([0.1, 0.2]), JobState.CRASHED)
    assert "step 2" in found.headline
    assert "Resume" in found.advice[-1]


def test_repeated_steps_of_a_resume_replace_the_earlier_ones() -> None:
    """Of two rows of one phase and step the later counts."""
    rows = merge([*steps([0.1, 0.2]), {"row": 3, "phase": "training", "step": 2, "reward": 0.3}])
    assert [row["reward"] for row in rows] == [0.1, 0.3]


def test_a_figure_in_its_range_is_fine() -> None:
    """Health words follow the ranges of the glossary."""
    assert (health("kl", 0.005).words, health("kl", 2).level, health("cut_off", 0.6).level) == ("calm", "bad", "bad")
