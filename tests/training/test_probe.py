# ruff: noqa: E501 - cases, one a line
"""The probe's verdicts on cases whose truth is known, with the real small model; and that training sees what the bench sees."""

from __future__ import annotations

from typing import Any

import pytest

from core.config import dump, parse
from core.run import JobKind, JobState
from core.run_dir import RunDir, iter_lines, read_json, write_json
from core.settings import Home
from services.rewards import Rewards
from tests.training.worker_runs import TINY, changed, launch, make_run, needs_model

pytestmark = [pytest.mark.training, needs_model]

SUMS: dict[str, Any] = {
    "name": "sums",
    "model": {"name": "builtin:smollm2-135m-instruct"},
    "dataset": {
        "source": "generated:arithmetic", "size": 256, "max_operand": 20,
        "system_prompt": "Give the result between {solution_start} and {solution_end}.",
    },
    "training": {
        "max_steps": 12, "batch_size": 16, "gradient_accumulation_steps": 1, "num_generations": 8, "max_new_tokens": 24,
        "max_sequence_length": 128, "learning_rate": 1e-4,
    },
    "reward": {"type": "preset", "preset_name": "arithmetic"},
    "evaluation": {"max_prompts": 4},
}  # fmt: skip
WARM = {"enabled": True, "epochs": 1, "max_samples": 48, "learning_rate": 2e-4, "batch_size": 4}


def finished(run: RunDir, home: Home) -> None:
    """Run the worker to its end."""
    launch(run, home).wait(timeout=300)
    status = run.read_status()
    assert status is not None
    assert status.state is JobState.COMPLETED, status.error


def probed(models: Home, name: str, config: dict[str, Any], *, prompts: int = 6, samples: int = 6) -> dict[str, Any]:
    """The result of a real probe by a real worker."""
    run = make_run(models, f"probe-{name}", config)
    content = {"kind": JobKind.PROBE, "name": name, "created_at": "2026-01-01T00:00:00", "config": dump(parse(config))}
    write_json(run.config, {**content, "given": config, "prompts": prompts, "samples": samples})
    finished(run, models)
    groups = list(iter_lines(run.completions))
    assert len(groups) == prompts
    assert all(len(group["completions"]) == samples for group in groups)
    result = read_json(run.result)
    assert result is not None
    return result


@pytest.mark.slow
def test_without_a_warm_up_sums_want_one(models: Home) -> None:
    """The model as it comes does not know the form: warm up first."""
    result = probed(models, "cold", SUMS)
    assert result["verdict"]["outcome"] == "warm_up_first", result
    assert result["verdict"]["field"] == "pre_training.enabled"


@pytest.mark.slow
def test_after_a_warm_up_sums_will_learn_and_a_short_run_gains(models: Home) -> None:
    """The same with the warm-up: will learn; and a run of a dozen steps earns more than it began with."""
    config = {**SUMS, "pre_training": WARM}
    result = probed(models, "warm", config, prompts=6)
    assert result["verdict"]["outcome"] == "will_learn", result
    figures = result["figures"]
    assert figures["hours"] > 0
    assert 0 < figures["memory_needed"] < figures["memory_free"]
    assert figures["entropy"] > 0
    run = make_run(models, "probe-gains", config)
    finished(run, models)
    rewards = [row["reward"] for row in iter_lines(run.metrics) if row["phase"] == "training"]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4


@pytest.mark.slow
def test_a_constant_reward_cannot_tell(models: Home) -> None:
    """A length that every answer has is worth the same for right and wrong."""
    anything = {"name": "length", "params": {"unit": "characters", "minimum": 0, "maximum": 100_000}}
    config = {**SUMS, "reward": {"type": "composite", "components": [anything]}}
    result = probed(models, "constant", config, prompts=3, samples=4)
    assert result["verdict"]["outcome"] == "reward_cannot_tell", result


@pytest.mark.slow
def test_a_task_that_is_always_solved_is_too_easy(models: Home) -> None:
    """One sum, learnt in the warm-up and asked at a low temperature, is right every time."""
    warm = {**WARM, "learning_rate": 5e-4}
    config = changed({**SUMS, "pre_training": warm}, dataset__max_operand=1, training__temperature=0.2)
    result = probed(models, "easy", config, prompts=4, samples=4)
    assert result["verdict"]["outcome"] == "too_easy", result


@pytest.mark.slow
def test_four_tokens_cut_every_answer_off(models: Home) -> None:
    """The reference itself needs more than four tokens."""
    result = probed(models, "short", changed(SUMS, training__max_new_tokens=4), prompts=3, samples=4)
    assert result["verdict"]["outcome"] == "cut_off", result
    assert result["verdict"]["field"] == "training.max_new_tokens"


def test_training_sees_what_the_bench_sees(models: Home) -> None:
    """After two steps every stored part is what the bench gives for the same answer, to the last digit."""
    reward = {"type": "composite", "components": [
        {"name": "length", "params": {"unit": "characters", "minimum": 40, "maximum": 40, "fall_off": 40}},
        {"name": "numeric", "params": {"where": "anywhere"}, "requires": "length", "requires_at_least": 0.2},
        {"name": "repetition", "weight": 0.5},
        {"name": "python", "weight": 0.1, "params": {"source": "def reward(c, p, row):\n    return len(c) % 10 / 10, row['response']\n"}},
    ], "normalise": True}  # fmt: skip
    run = make_run(models, "bench-sees", changed(TINY, training__max_steps=2, reward=reward))
    finished(run, models)
    bench, seen = Rewards(), 0
    rows = {row["instruction"]: row for row in rows_of(run)}
    for group in iter_lines(run.completions):
        for answer in group["completions"]:
            total = bench.test(reward, group["instruction"], answer["text"], rows[group["instruction"]])
            assert total.total == answer["total"]
            stored = {name: (part["score"], part["why"]) for name, part in answer["components"].items()}
            assert {name: (part.score, part.why) for name, part in total.components.items()} == stored
            seen += 1
    assert seen >= 16


def rows_of(run: RunDir) -> list[dict[str, Any]]:
    """What the run trained on and held out."""
    return [*iter_lines(run.prepared / "train.jsonl"), *iter_lines(run.prepared / "holdout.jsonl")]
