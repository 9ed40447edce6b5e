"""Plans, and how long they take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.config import SECTIONS, RunConfig, TrainingSection, parse
from core.methods import METHODS, Method
from core.methods.grpo import GRPO
from core.pace import Pace, run_seconds, step_seconds, steps_of
from core.plan import BALANCED, Situation
from core.section import usual_range
from tests.conftest import TINY
from tests.support.shapes import FIELDS

SITUATIONS = [
    Situation(source, on_gpu, rows, lengths)
    for source in ("generated:arithmetic", "somebody/questions")
    for on_gpu in (False, True)
    for rows in (None, 12, 400, 100_000)
    for lengths in (None, (192, 32), (1024, 640))
]


def planned(one: Method, situation: Situation) -> dict[str, RunConfig]:
    """The whole configuration of each plan of a method."""
    found = {}
    for plan in one.plans(situation):
        data: dict[str, Any] = {
            **{name: section for name, section in TINY.items() if name not in {"training", "reward"}},
            "dataset": {"source": situation.source, **FIELDS[one.shapes[0]]},
            "method": one.key,
            **one.suggest(situation.source, situation.on_gpu),
        }
        for path, value in plan.values.items():
            section, _, name = path.partition(".")
            assert one.uses(path), path
            data[section] = {**data.get(section, {}), name: value}
        found[plan.key] = parse(data)
    return found


@pytest.mark.parametrize("one", METHODS, ids=lambda one: one.key)
def test_every_plan_can_be_run_and_a_longer_one_is_longer(one: Method) -> None:
    """Whatever is known about the data; each value is within its usual range."""
    for situation in SITUATIONS:
        configs = planned(one, situation)
        assert list(configs) == ["quick", BALANCED, "thorough"]
        steps = [config.training.max_steps or 0 for config in configs.values()]
        assert steps == sorted(steps)
        assert steps[0] >= 10
        for config in configs.values():
            for section in SECTIONS:
                values = getattr(config, section)
                for name, info in type(values).model_fields.items():
                    value, usual = getattr(values, name), usual_range(info)
                    if usual and value is not None and one.uses(f"{section}.{name}"):
                        assert usual[0] <= value <= usual[1], f"{section}.{name} of {situation}"


@pytest.mark.parametrize("one", METHODS, ids=lambda one: one.key)
@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("source", ["generated:arithmetic", "somebody/questions"])
def test_suggestions_are_the_balanced_plan(one: Method, on_gpu: bool, source: str) -> None:
    """While nothing is known about the rows."""
    plan = next(plan for plan in one.plans(Situation(source, on_gpu)) if plan.key == BALANCED)
    suggested = one.suggest(source, on_gpu)["training"]
    for path, value in plan.values.items():
        name = path.partition(".")[2]
        assert suggested.get(name, TrainingSection.model_fields[name].default) == value


def test_long_answers_get_room() -> None:
    """Short ones keep enough room for reasoning."""
    long, short = (planned(GRPO, Situation("a/b", False, 400, one)) for one in ((1024, 640), (192, 32)))
    assert {config.training.max_new_tokens for config in long.values()} == {640}
    assert {config.training.max_sequence_length for config in long.values()} == {1024}
    assert {config.training.max_new_tokens for config in short.values()} == {128}


def config(**training: Any) -> RunConfig:
    """GRPO with two questions per step, 4 held-out questions three times, and no warm-up."""
    base = {"max_steps": 10, "batch_size": 8, "gradient_accumulation_steps": 2, "max_new_tokens": 64}
    sections = {"training": {**base, "max_sequence_length": 256, **training}, "evaluation": {"max_prompts": 4}}
    return parse({**TINY, "pre_training": {"enabled": False}, **sections})


def test_a_step_costs_by_answers_length_and_model() -> None:
    """Twice the answers, tokens or parameters take twice the time."""
    pace = Pace(config(), 0.5, 10.0)
    assert step_seconds(pace, config(), 0.5) == 10
    assert step_seconds(pace, config(gradient_accumulation_steps=4), 0.5) == 20
    assert step_seconds(pace, config(max_new_tokens=128), 0.5) == 20
    assert step_seconds(pace, config(), 1.0) == 20


def test_a_run_is_its_steps_evaluations_and_warm_up() -> None:
    """16 answers per step in 16 seconds: each answer counts as a second."""
    assert run_seconds(config(), 16.0, 400) == 10 * 16 + 3 * 4
    assert run_seconds(config(), 16.0, 20) == 10 * 16 + 3 * 2
    warm = config().model_copy(update={"pre_training": parse({**TINY, "pre_training": {"enabled": True}}).pre_training})
    assert run_seconds(warm, 16.0, 400) == 10 * 16 + 3 * 4 + 64
    every = replace_evaluation(every_steps=4)
    assert run_seconds(every, 16.0, 400) == 10 * 16 + 4 * 4
    assert run_seconds(replace_evaluation(holdout_fraction=0), 16.0, 400) == 10 * 16


def replace_evaluation(**changes: Any) -> RunConfig:
    one = config()
    return one.model_copy(update={"evaluation": one.evaluation.model_copy(update=changes)})


def test_steps_follow_from_epochs_where_rows_are_known() -> None:
    """A tenth is held out; each step takes two questions."""
    assert steps_of(config(max_steps=None, num_epochs=2), 100) == 90
    assert steps_of(config(max_steps=None), None) is None
    assert run_seconds(config(max_steps=None), 1.0, None) is None
    assert replace(Situation("a", False), rows=5).steps(1, passes=1, most=40) == 10
