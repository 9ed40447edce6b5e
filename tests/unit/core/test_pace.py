"""Steps and costs of runs whose rows are packed, and of those that are not."""

from __future__ import annotations

from typing import Any

import pytest

from core.config import RunConfig, parse
from core.pace import FILLED, Pace, Tokens, comparable, rows_a_step, run_seconds, step_seconds, steps_of
from tests.conftest import tiny

SHORT = Tokens(prompt=40, reference=10)


def config(*, packing: bool = False, **training: Any) -> RunConfig:
    shared = {"batch_size": 2, "gradient_accumulation_steps": 2, "max_sequence_length": 500, **training}
    given = {**tiny(), "method": "sft", "sft": {"packing": packing}, "training": shared}
    given["evaluation"] = {"holdout_fraction": 0}
    for name in ("reward", "grpo", "pre_training"):
        given.pop(name, None)
    return parse(given)


def test_a_packed_step_takes_as_many_rows_as_fit() -> None:
    """One sequence takes ten rows less what stays free; a row that fills it takes it alone."""
    assert rows_a_step(config(), None) == rows_a_step(config(), SHORT) == 4
    assert rows_a_step(config(packing=True), SHORT) == pytest.approx(4 * FILLED * 10)
    assert rows_a_step(config(packing=True), Tokens(450, 200)) == 4
    assert rows_a_step(config(packing=True), None) is None


def test_an_epoch_of_packed_rows_has_fewer_steps() -> None:
    """Without lengths their number is unknown; a set number counts in any case."""
    whole: dict[str, Any] = {"max_steps": None, "num_epochs": 1}
    assert steps_of(config(**whole), 360) == 90
    assert steps_of(config(packing=True, **whole), 360, SHORT) == 10
    assert steps_of(config(packing=True, **whole), 360) is None
    assert steps_of(config(packing=True, max_steps=7), 360) == 7


def test_a_packed_step_costs_what_its_rows_cost() -> None:
    """So a whole epoch takes as long either way; only the waste of padding, which is not estimated, differs."""
    whole: dict[str, Any] = {"max_steps": None, "num_epochs": 1}
    apart, packed = config(**whole), config(packing=True, **whole)
    pace = Pace(apart, 0.1, 4.0)
    assert step_seconds(pace, packed, 0.1, SHORT) == pytest.approx(4.0 * 9)
    seconds = [run_seconds(one, step_seconds(pace, one, 0.1, SHORT), 360, SHORT) for one in (apart, packed)]
    assert seconds[0] == pytest.approx(seconds[1]) == pytest.approx(360)


def test_packed_steps_of_unknown_lengths_compare_only_with_each_other() -> None:
    """By the length of their sequences."""
    packed, longer = config(packing=True), config(packing=True, max_sequence_length=1000)
    assert not comparable(config(), packed, None)
    assert comparable(config(), packed, SHORT)
    assert comparable(packed, longer, None)
    assert step_seconds(Pace(packed, 0.1, 3.0), longer, 0.1) == pytest.approx(6.0)
