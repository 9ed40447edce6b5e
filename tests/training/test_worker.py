"""The worker's guarantees: rows, states, stop, resume, kill, full disk."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.job import Control, JobState
from core.job_dir import JobDir, iter_lines, read_json, step_of
from core.job_rows import PLACE
from core.methods.grpo import GRPO
from core.rewards import Spent
from core.settings import Home
from tests.training.worker_runs import (
    KILLING,
    LLAMA,
    TINY,
    changed,
    launch,
    make_run,
    rows,
    work,
    work_until,
    written,
)

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

ROW = {"row", "attempt", "time", "phase", "step", "when"}
"""A row's position; everything else is a metric."""
WARM = {"pre_training": {"enabled": True, "max_samples": 8, "batch_size": 2, "learning_rate": 1e-3}}


def test_a_run_from_start_to_end(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warm-up, training and four evaluations are recorded, and the adapter is there."""
    run = make_run(models, "whole", {**TINY, **WARM})
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert [row["row"] for row in rows(run)] == list(range(1, len(rows(run)) + 1))
    assert {name for row in rows(run) for name in row} - ROW <= set(GRPO.metrics)
    assert [row["step"] for row in rows(run, "warm_up")] == [1, 2, 3, 4]
    assert [row["step"] for row in rows(run, "training")] == [1, 2, 3, 4, 5, 6]
    moments = [(row["when"], row["step"]) for row in rows(run, "evaluation")]
    assert moments == [("before", 0), ("after_warm_up", 0), ("interval", 3), ("end", 6)]
    assert (run.adapter / "adapter_model.safetensors").is_file()
    status = run.read_status()
    assert status is not None
    assert (status.step, status.max_steps, status.checkpoint_step, status.error) == (6, 6, 6, None)


def test_a_training_row_has_what_readers_rely_on(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name of the format is there, finite, and agrees with the completions."""
    run = make_run(models, "shape", changed(LLAMA, training__max_steps=2, grpo__kl_penalty=0.1))
    work(run, monkeypatch, models)
    row = rows(run, "training")[-1]
    of_some_rewards = {"no_opinion", *Spent(requests=1).row()}
    declared = set(GRPO.metrics) - of_some_rewards
    assert set(row) == (PLACE - {"when"}) | (declared - {"samples"})
    assert {key for any_row in rows(run) for key in any_row} == PLACE | declared
    groups = [group for group in iter_lines(run.completions) if group["phase"] == "training" and group["step"] == 2]
    totals = [completion["total"] for group in groups for completion in group["completions"]]
    assert row["reward"] == pytest.approx(sum(totals) / len(totals))
    assert row["tokens"] == sum(completion["tokens"] for group in groups for completion in group["completions"])
    for group in groups:
        advantages = [completion["advantage"] for completion in group["completions"]]
        assert sum(advantages) == pytest.approx(0, abs=1e-3)
        assert group["prompt"].endswith("<|im_start|>assistant\n")


def test_held_out_rows_are_never_trained_on(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """No question of an evaluation is used in training."""
    run = make_run(models, "apart", changed(TINY, training__max_steps=None, training__num_epochs=1))
    work(run, monkeypatch, models)
    asked: dict[str, set[str]] = {"training": set(), "evaluation": set()}
    for group in iter_lines(run.completions):
        asked[group["phase"]].add(group["instruction"])
    assert asked["evaluation"]
    assert not asked["training"] & asked["evaluation"]
    info = read_json(run.prepared / "info.json") or {}
    assert (info["train"], info["holdout"]) == (36, 4)


CASES: dict[str, dict[str, Any]] = {
    "with_llama_cpp": {"training__rollout_engine": "auto"},
    "first_epoch": {},
    # 8 rows and a held-out one, two questions per step: the second epoch begins at step 5.
    "second_epoch": {"dataset__size": 9, "training__max_steps": 9},
    "penalty": {"grpo__kl_penalty": 0.1},
    "answers_used_twice": {"grpo__num_iterations": 2},
    "schedule_and_dropout": {"training__lr_scheduler_type": "cosine", "model__lora_dropout": 0.1},
}
STOPPED = ("with_llama_cpp", "first_epoch")
"""Cases that are really stopped. The others resume from a folder as left by a power failure, with the same files."""


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_is_the_run_that_was_never_stopped(
    case: str, models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same completions, rewards, gradient norms and held-out scores, step by step."""
    config = changed({**TINY, **WARM}, training__save_steps=3, **CASES[case])
    whole = make_run(models, f"whole-{case}", config)
    assert work(whole, monkeypatch, models) == JobState.COMPLETED
    stop_at = config["training"]["max_steps"] - 3
    if case in STOPPED:
        halves = make_run(models, f"halves-{case}", config)
        state = work_until(halves, monkeypatch, models, lambda found: _reached(found, "training", stop_at))
        assert state == JobState.STOPPED
    else:
        halves = _cut(whole, f"halves-{case}", stop_at)
    assert work(halves, monkeypatch, models) == JobState.COMPLETED
    assert written(halves) == written(whole)
    for name in ("reward", "grad_norm", "learning_rate", "entropy", "kl"):
        assert _series(halves, "training", name) == _series(whole, "training", name)
    assert _series(halves, "evaluation", "reward")[-1] == _series(whole, "evaluation", "reward")[-1]
    assert {row["attempt"] for row in rows(halves)} == {1, 2}


@pytest.mark.slow
def test_the_real_model_resumes_exactly(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolLM2 after a warm-up: the same answers, rewards and gradients, interrupted or not."""
    values: dict[str, Any] = {
        "model__name": "builtin:smollm2-135m-instruct", "training__learning_rate": 1e-4, "training__max_steps": 3,
        "pre_training__learning_rate": 3e-4, "pre_training__max_samples": 16, "pre_training__batch_size": 4,
        "reward": {"type": "preset", "preset_name": "arithmetic"}, "training__temperature": 1.2,
        "dataset__system_prompt": "Give the result between {solution_start} and {solution_end}.",
        "evaluation__holdout_fraction": 0, "training__save_steps": 1, "training__keep_checkpoints": 3,
    }  # fmt: skip
    config = changed({**LLAMA, **WARM}, **values)
    whole = make_run(models, "real-whole", config)
    assert work(whole, monkeypatch, models) == JobState.COMPLETED
    halves = _cut(whole, "real-halves", 1)
    assert work(halves, monkeypatch, models) == JobState.COMPLETED
    assert written(halves) == written(whole)
    for name in ("reward", "grad_norm"):
        assert _series(halves, "training", name) == _series(whole, "training", name)


def test_a_stop_in_the_warm_up_continues_there(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The phase continues after its last step, with the same losses, and is not repeated later."""
    config = changed({**TINY, **WARM}, pre_training__epochs=5, training__max_steps=2)
    whole = make_run(models, "warm-whole", config)
    work(whole, monkeypatch, models)
    halves = make_run(models, "warm-halves", config)
    assert work_until(halves, monkeypatch, models, lambda found: _reached(found, "warm_up", 3)) == JobState.STOPPED
    status = halves.read_status()
    assert status is not None
    assert "warm-up" in status.message
    assert work(halves, monkeypatch, models) == JobState.COMPLETED
    steps = [row["step"] for row in rows(halves) if row["phase"] == "warm_up"]
    assert steps == list(range(1, 21))
    assert _series(halves, "warm_up", "loss") == _series(whole, "warm_up", "loss")
    assert written(halves) == written(whole)


def test_a_stop_at_once_saves_nothing_new(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """``now`` ends in the middle of an answer, and the run is stopped, not failed."""
    run = make_run(models, "now", changed(TINY, training__max_new_tokens=64, training__save_steps=100))
    run.write_control(Control(stop=True, now=True))
    assert work(run, monkeypatch, models) == JobState.STOPPED
    assert not rows(run)


@pytest.mark.slow
def test_kill_and_resume(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """After kill -9 no written row is lost, and the run continues from its last checkpoint to the same end."""
    config = changed(TINY, training__max_steps=12)
    whole = make_run(models, "kill-whole", config)
    work(whole, monkeypatch, models)
    run = make_run(models, "kill", config)
    assert launch(run, models, KILLING).wait(300) == -signal.SIGKILL
    before = rows(run)
    status = run.read_status()
    assert status is not None
    assert status.state not in {JobState.COMPLETED, JobState.STOPPED, JobState.FAILED}
    assert all(_complete(folder) for folder in run.checkpoints.glob("checkpoint-*"))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert rows(run)[: len(before)] == before
    assert written(run) == written(whole)
    assert _series(run, "training", "grad_norm") == _series(whole, "training", "grad_norm")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A 64 MB file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk requires root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_while_checkpointing(models: Home, monkeypatch: pytest.MonkeyPatch, small_disk: Path) -> None:
    """The run fails with a message, the older checkpoint stays intact, and with space it continues to the same end."""
    config = changed(TINY, training__max_steps=4)
    whole = make_run(models, "full-whole", config)
    work(whole, monkeypatch, models)
    first = make_run(models, "full", config)
    work_until(first, monkeypatch, models, lambda found: _reached(found, "training", 2))
    run = JobDir(small_disk / "full")
    shutil.copytree(first.path, run.path)
    kept = {folder.name for folder in run.checkpoints.iterdir()}
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * (shutil.disk_usage(small_disk).free - 100_000))
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status is not None
    assert "disk is full" in (status.error or "")
    assert {folder.name for folder in run.checkpoints.iterdir()} == kept
    assert all(_complete(folder) for folder in run.checkpoints.iterdir())
    filler.unlink()
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert written(run) == written(whole)


FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "no_such_folder": ({"model__name": "/nowhere/at/all"}, "No model found at /nowhere/at/all"),
    "no_such_layer": ({"model__target_modules": ["elbow"]}, "does not fit this model"),
    "too_few_rows": ({"dataset__max_samples": 1, "evaluation__holdout_fraction": 0}, "each step needs 2"),
    "too_long": ({"training__max_sequence_length": 20}, "raise it"),
    "four_bit": ({"model__load_in_4bit": True}, "needs an NVIDIA GPU"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_an_impossible_run_fails_with_a_message(case: str, models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status says what is wrong, without a traceback."""
    values, words = FAILURES[case]
    run = make_run(models, f"fails-{case}", changed(TINY, **values))
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status is not None
    assert words in (status.error or "")
    assert "Traceback" not in (status.error or "")


def test_rows_that_are_too_long_are_counted(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note says how many were skipped and why, and the rest is trained on."""
    lines = [{"question": "word " * (200 if number % 2 else 3) + str(number), "answer": "1"} for number in range(20)]
    run = make_run(models, "long", changed(TINY, training__max_steps=1, evaluation__holdout_fraction=0))
    run.prepared.mkdir()
    mapped = [{"instruction": line["question"], "response": line["answer"]} for line in lines]
    (run.prepared / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mapped))
    (run.prepared / "holdout.jsonl").write_text("")
    (run.prepared / "info.json").write_text("{}")
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    status = run.read_status()
    assert status is not None
    assert any("10 rows were skipped" in note for note in status.notes)


def _reached(found: list[dict[str, Any]], phase: str, step: int) -> bool:
    return any(row["phase"] == phase and row["step"] >= step for row in found)


def _cut(whole: JobDir, name: str, step: int) -> JobDir:
    """The run as it was after a step with a checkpoint."""
    run = JobDir(whole.path.with_name(name))
    shutil.copytree(whole.path, run.path)
    for folder in run.numbered():
        if step_of(folder) > step:
            shutil.rmtree(folder)
    for file in (run.metrics, run.completions):
        kept = [row for row in iter_lines(file) if row["phase"] == "warm_up" or row["step"] <= step]
        file.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
    return run


def _series(run: JobDir, phase: str, name: str) -> list[tuple[int, Any]]:
    return [(row["step"], row.get(name)) for row in rows(run, phase)]


def _complete(checkpoint: Path) -> bool:
    names = {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}
    return names <= {file.name for file in checkpoint.iterdir()}
