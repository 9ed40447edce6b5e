"""The readiness list of a run that learns from examples: packing, early stopping, the best checkpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.config import parse
from core.pace import Tokens
from core.readiness import Problem, Severity, check
from tests.conftest import TINY
from tests.unit.core.test_readiness import CPU, GOOD, with_rows


def sft(facts: Any = GOOD, **changes: Any) -> dict[str, Problem]:
    """What is said about a run that learns from examples, by field."""
    given = {**TINY, "method": "sft", **{name: {**TINY.get(name, {}), **values} for name, values in changes.items()}}
    given["training"] = {
        "max_steps": 40,
        "batch_size": 4,
        "gradient_accumulation_steps": 2,
        **changes.get("training", {}),
    }
    for name in ("reward", "grpo", "pre_training"):
        given.pop(name, None)
    return {problem.field: problem for problem in check(parse(given), CPU, facts).problems}


def test_packing_depends_on_the_model() -> None:
    """Known leaks block; what is not known is checked by the run; without packing nothing is said."""
    on = {"packing": True}
    assert "sft.packing" not in sft(replace(GOOD, model_type="llama"), sft=on)
    assert "sft.packing" not in sft(replace(GOOD, model_type="mamba"))
    assert sft(replace(GOOD, model_type="mamba"), sft=on)["sft.packing"].severity is Severity.BLOCKS
    assert sft(replace(GOOD, model_type="unheard_of"), sft=on)["sft.packing"].severity is Severity.NOTE


def test_packed_steps_say_how_often_they_go_over_the_rows() -> None:
    """More than ten times is a warning with fewer steps; not packed, the steps are the plan's."""
    facts, training = with_rows(usual=Tokens(40, 10)), {"max_sequence_length": 512}
    found = sft(facts, sft={"packing": True}, training=training)["training.max_steps"]
    assert found.severity is Severity.NOTE
    assert found.message == (
        "With packing, a step learns from about 74 rows, so 40 steps go over the 360 training rows about 8.2 times."
    )
    longer = sft(facts, sft={"packing": True}, training={**training, "max_steps": 100})["training.max_steps"]
    assert longer.severity is Severity.WARNS
    assert longer.fix
    assert longer.fix.values == {"training.max_steps": 15}
    assert "training.max_steps" not in sft(facts, training=training)


@pytest.mark.parametrize(
    ("evaluation", "words", "fix"),
    [
        ({"early_stop": 2, "every_steps": 5}, "", None),
        ({"early_stop": 2}, "only one evaluation during these 40 steps, and it takes 3", 6),
        ({"early_stop": 3, "every_steps": 10}, "only 3 evaluations during these 40 steps, and it takes 4", 5),
        ({"early_stop": 90}, "or train for more steps", None),
        ({"early_stop": 2, "holdout_fraction": 0}, "no rows are held out", None),
    ],
)
def test_early_stopping_needs_evaluations(evaluation: dict[str, Any], words: str, fix: int | None) -> None:
    """Otherwise it has no effect; the fix makes it possible."""
    found = sft(evaluation=evaluation).get("evaluation.early_stop")
    assert (found is not None) == bool(words)
    if found:
        assert words in found.message
        assert (found.fix.values if found.fix else None) == ({"evaluation.every_steps": fix} if fix else None)
        assert not fix or "evaluation.early_stop" not in sft(evaluation={**evaluation, "every_steps": fix})


def test_keeping_the_best_needs_held_out_rows() -> None:
    """Otherwise there is nothing to compare."""
    found = sft(evaluation={"keep_best": True, "holdout_fraction": 0})["evaluation.keep_best"]
    assert (found.severity, found.message) == (Severity.WARNS, "Has no effect, because no rows are held out.")
