# ruff: noqa: E501 - cases, one a line
"""The probe's verdicts on cases with a known truth, with the real small model; training matches the test page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from core.config import dump, parse
from core.job import Control, JobKind, JobState
from core.job_dir import JobDir, iter_lines, read_json, write_json
from core.settings import Home
from core.training.job.checkpoint import WARM_UP
from services.rewards.rewards import Rewards
from tests.support.judge import JudgeEndpoint, judge_endpoint
from tests.training.worker_runs import LLAMA, TINY, changed, launch, make_run, needs_model, wait_for, work

__all__ = ["judge_endpoint"]  # a fixture
pytestmark = [pytest.mark.training, needs_model]

SUMS: dict[str, Any] = {
    "name": "sums",
    "model": {"name": "builtin:smollm2-135m-instruct"},
    "dataset": {
        "source": "generated:arithmetic", "size": 256, "max_operand": 20,
        "system_prompt": "Give the result between {solution_start} and {solution_end}.",
    },
    "training": {
        "max_steps": 10, "batch_size": 16, "gradient_accumulation_steps": 1, "num_generations": 8, "max_new_tokens": 24,
        "max_sequence_length": 128, "learning_rate": 1e-4,
    },
    "reward": {"type": "preset", "preset_name": "arithmetic"},
    "evaluation": {"max_prompts": 4, "every_steps": 1000},
}  # fmt: skip
WARM = {"enabled": True, "epochs": 1, "max_samples": 48, "learning_rate": 2e-4, "batch_size": 4}


Probe = Callable[..., dict[str, Any]]


def probe_dir(models: Home, name: str, config: dict[str, Any], *, prompts: int, samples: int) -> JobDir:
    """A probe's folder as the service leaves it for the worker."""
    run = make_run(models, f"probe-{name}", config)
    content = {"kind": JobKind.PROBE, "name": name, "created_at": "2026-01-01T00:00:00", "config": dump(parse(config))}
    write_json(run.config, {**content, "given": config, "prompts": prompts, "samples": samples})
    return run


@pytest.fixture
def probed(models: Home, own_signals: None, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Run a probe with the real model, with the worker in this process, which loads its libraries once."""

    def one(name: str, config: dict[str, Any], *, prompts: int, samples: int) -> dict[str, Any]:
        run = probe_dir(models, name, config, prompts=prompts, samples=samples)
        assert work(run, monkeypatch, models) is JobState.COMPLETED, run.read_status()
        groups = list(iter_lines(run.completions))
        assert len(groups) == prompts
        assert all(len(group["completions"]) == samples for group in groups)
        result = read_json(run.result)
        assert result is not None
        return result

    return one


@pytest.mark.slow
def test_without_a_warm_up_sums_want_one(probed: Probe) -> None:
    """The base model does not know the format: warm up first."""
    result = probed("cold", SUMS, prompts=4, samples=4)
    assert result["verdict"]["outcome"] == "warm_up_first", result
    assert result["verdict"]["field"] == "pre_training.enabled"


@pytest.mark.slow
def test_after_a_warm_up_sums_will_learn_and_a_short_run_gains(
    probed: Probe, models: Home, own_signals: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the warm-up: will learn; and a ten-step run from there improves its reward."""
    config = {**SUMS, "pre_training": WARM}
    result = probed("warm", config, prompts=6, samples=6)
    assert result["verdict"]["outcome"] == "will_learn", result
    figures = result["figures"]
    assert figures["hours"] > 0
    assert 0 < figures["memory_needed"] < figures["memory_free"]
    assert figures["entropy"] > 0
    run = make_run(models, "probe-gains", config)
    # The run has the probe's warm-up, as a resumed run has its own: the same rows and settings would repeat it.
    shutil.copytree(models.outputs / "probe-warm" / "checkpoints" / WARM_UP, run.checkpoints / WARM_UP)
    assert work(run, monkeypatch, models) is JobState.COMPLETED
    rewards = [row["reward"] for row in iter_lines(run.metrics) if row["phase"] == "training"]
    assert sum(rewards[-2:]) > sum(rewards[:2])
    held_out = [row["reward"] for row in iter_lines(run.metrics) if row["phase"] == "evaluation"]
    assert held_out[-1] > held_out[0]


@pytest.mark.slow
def test_a_constant_reward_cannot_tell(probed: Probe) -> None:
    """A length that every answer has earns the same for right and wrong."""
    anything = {"name": "length", "params": {"unit": "characters", "minimum": 0, "maximum": 100_000}}
    config = {**SUMS, "reward": {"type": "composite", "components": [anything]}}
    result = probed("constant", config, prompts=2, samples=4)
    assert result["verdict"]["outcome"] == "reward_cannot_tell", result


@pytest.mark.slow
def test_a_task_that_is_always_solved_is_too_easy(probed: Probe) -> None:
    """One sum, learned in the warm-up and sampled at a low temperature, is right every time."""
    warm = {**WARM, "learning_rate": 1e-3, "max_samples": 16}
    config = changed({**SUMS, "pre_training": warm}, dataset__max_operand=1, training__temperature=0.2)
    result = probed("easy", config, prompts=4, samples=4)
    assert result["verdict"]["outcome"] == "too_easy", result


@pytest.mark.slow
def test_four_tokens_truncate_every_answer(probed: Probe) -> None:
    """The reference itself needs more than four tokens."""
    result = probed("short", changed(SUMS, training__max_new_tokens=4), prompts=2, samples=4)
    assert result["verdict"]["outcome"] == "cut_off", result
    assert result["verdict"]["field"] == "training.max_new_tokens"


@pytest.mark.slow
def test_a_probe_is_stopped_while_the_model_writes(models: Home) -> None:
    """A real worker ends within seconds, in the middle of a group; the sampled answers can be read."""
    # A random model hardly ever ends an answer: a group takes a while, all of them minutes.
    config = changed(LLAMA, training__max_new_tokens=400, training__max_sequence_length=500)
    run = probe_dir(models, "stopped", config, prompts=32, samples=8)
    worker = launch(run, models)
    try:
        wait_for(lambda: bool(list(iter_lines(run.completions))), 200)
        run.write_control(Control(stop=True, now=True))
        worker.wait(timeout=120)
    finally:
        worker.kill()
        worker.wait()
    status = run.read_status()
    assert status is not None
    assert status.state is JobState.STOPPED, status.error
    assert worker.returncode == 0
    assert 1 <= len(list(iter_lines(run.completions))) < 32
    assert "were saved" in status.message
    assert read_json(run.result) is None


def finished(run: JobDir, home: Home) -> None:
    """Run the worker to its end in a separate process."""
    launch(run, home).wait(timeout=500)
    status = run.read_status()
    assert status is not None
    assert status.state is JobState.COMPLETED, status.error


def test_training_sees_what_the_bench_sees(models: Home, judge_endpoint: JudgeEndpoint) -> None:
    """After two steps, stored scores equal the test page's for the same answer, and rows keep the judge's requests."""
    reward = {"type": "composite", "components": [
        {"name": "length", "params": {"unit": "characters", "minimum": 40, "maximum": 40, "fall_off": 40}},
        {"name": "numeric", "params": {"where": "anywhere"}, "requires": "length", "requires_at_least": 0.2},
        {"name": "repetition", "weight": 0.5},
        {"name": "python", "weight": 0.1, "params": {"source": "def reward(c, p, row):\n    return len(c) % 10 / 10, row['response']\n", "seconds": 60}},
        {"name": "judge", "weight": 0.1, "params": {"url": judge_endpoint.url, "price": 2.0}},
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
    spent = [row for row in iter_lines(run.metrics) if "judge_requests" in row]
    assert {row["phase"] for row in spent} == {"training", "evaluation"}
    assert sum(row["judge_requests"] + row["judge_cached"] for row in spent) == seen
    assert all(row["judge_tokens"] == 500 * row["judge_requests"] for row in spent)
    assert sum(row["judge_cost"] for row in spent) == pytest.approx(sum(row["judge_tokens"] for row in spent) * 2e-6)


def rows_of(run: JobDir) -> list[dict[str, Any]]:
    """The run's training and held-out rows."""
    return [*iter_lines(run.prepared / "train.jsonl"), *iter_lines(run.prepared / "holdout.jsonl")]
