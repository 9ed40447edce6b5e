"""Both answers of a pair becoming less likely: when it is reported, and what would help."""

from __future__ import annotations

from typing import Any, cast

import pytest

from core.config import dump, parse
from core.job_rows import MetricRow
from services.runs.diagnosis import Seen, changed
from services.runs.preference_rules import better_answers_fall

PAIRS = {"source": "a/b", "chosen_field": "better", "rejected_field": "worse"}


def seen(chosen: list[float], margins: list[float], **section: Any) -> Seen:
    """A DPO run with a row for each pair of numbers."""
    config = parse({"name": "x", "model": {"name": "m"}, "method": "dpo", "dataset": PAIRS, "dpo": section})
    rows = [
        {"row": n, "phase": "training", "step": n, "reward_chosen": one, "reward_margin": margin}
        for n, (one, margin) in enumerate(zip(chosen, margins, strict=True), 1)
    ]
    return Seen(cast("list[MetricRow]", rows), dump(config))


FALLING = [0.0, -0.1, -0.2, -0.3, -0.35, -0.4, -0.4, -0.4]
GROWING = [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0]


def test_falling_better_answers_are_reported_with_the_sft_loss_as_remedy() -> None:
    """Beta is 0.1, so a reward of -0.39 is a log-probability that is 3.9 lower."""
    found = better_answers_fall(seen(FALLING, GROWING))
    assert found is not None
    assert found.level == "watch"
    assert found.sentence == (
        "The better answers are becoming less likely too: their log-probability is 3.9 lower than at the start, while "
        "the margin grows because the worse ones fall faster."
    )
    assert found.remedy.words == "the SFT loss added"
    config = seen([], []).config
    new = parse(changed(config, found.remedy.changes))
    assert new.dpo.sft_weight == 0.2  # type: ignore[attr-defined]
    assert found.advice[1].startswith("Or try a higher beta (0.2), or ")


def test_a_run_that_has_the_sft_loss_gets_a_higher_beta() -> None:
    """And a lower learning rate as the alternative."""
    found = better_answers_fall(seen(FALLING, GROWING, sft_weight=0.5))
    assert found is not None
    assert [(change.path, change.value, change.was) for change in found.remedy.changes] == [("dpo.beta", 0.2, 0.1)]


@pytest.mark.parametrize(
    ("chosen", "margins", "section"),
    [
        ([0.0, 0.1, 0.2, 0.3, 0.3, 0.3], GROWING[:6], {}),  # they rise
        ([0.0, -0.01, -0.02, -0.05, -0.08, -0.09], GROWING[:6], {}),  # by less than a nat
        ([0.0, 0.9, -1.5, 0.8, -1.4, 0.7, -1.2], GROWING[:7], {}),  # as much as rows differ
        (FALLING, [0.0] * 8, {}),  # without a margin, something else is wrong
        (FALLING[:4], GROWING[:4], {}),  # too early
        (FALLING, GROWING, {"beta": 0.5}),  # the same rewards are smaller changes
        (FALLING, GROWING, {"loss_type": "apo_down"}),  # it is meant to
    ],
)
def test_other_runs_are_not_reported(chosen: list[float], margins: list[float], section: dict[str, Any]) -> None:
    """Only a clear fall below the start, with a growing margin."""
    assert better_answers_fall(seen(chosen, margins, **section)) is None


def test_methods_without_a_reference_are_not_reported() -> None:
    """Their rewards are not changes since the start."""
    rows = seen(FALLING, GROWING).training
    config = parse({"name": "x", "model": {"name": "m"}, "method": "orpo", "dataset": PAIRS})
    assert better_answers_fall(Seen(rows, dump(config))) is None
