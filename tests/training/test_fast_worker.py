"""The fast path in a run: on by default, switched off by a setting, and nothing counted twice if it breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.job import JobState
from core.job_dir import JobDir, iter_lines
from core.settings import Home
from core.training.gguf import file as gguf_file
from tests.training.worker_runs import KILLING, LLAMA, changed, launch, make_run, rows, work, written

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

SHORT = changed(LLAMA, training__max_steps=2, evaluation__holdout_fraction=0)
LONG = changed(
    LLAMA, training__max_steps=3, training__max_new_tokens=60, training__max_sequence_length=160,
    training__batch_size=8, evaluation__holdout_fraction=0,
)  # fmt: skip


def notes(run: JobDir) -> str:
    status = run.read_status()
    assert status is not None
    return " ".join(status.notes)


def test_on_by_itself(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default run takes the fast path, reports the sampler mismatch, and leaves no files."""
    run = make_run(models, "fast-on", SHORT)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert all(0 <= row["sampler_kl"] < 1e-3 for row in rows(run, "training"))
    assert "transformers" not in notes(run)
    assert not run.rollout.exists()


def test_one_setting_switches_it_off(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is no second process and no note."""
    run = make_run(
        models, "fast-off",
        changed(
            SHORT, training__rollout_engine="transformers", training__share_prefixes=False,
            grpo__skip_constant_groups=False,
        ),
    )  # fmt: skip
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert all("sampler_kl" not in row for row in rows(run, "training"))
    assert "transformers" not in notes(run)


def test_without_the_converter_a_run_goes_on(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slower, and the reason is in the run's notes."""
    monkeypatch.setattr(gguf_file, "CONVERTER", Path("/nowhere/convert.py"))
    monkeypatch.setattr("core.training.rollouts.llama_cpp._fingerprint", lambda folder: "not-made-yet")
    run = make_run(models, "fast-no-converter", SHORT)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert "converter is not installed" in notes(run)


def test_a_group_is_left_out_and_still_counted(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no answer earns anything, every group is flat: no gradient, and the rows show it."""
    config = changed(SHORT, reward={"type": "preset", "preset_name": "arithmetic"})
    run = make_run(models, "fast-flat", config)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    for row in rows(run, "training"):
        assert row["groups_without_spread"] == 1
        assert row["grad_norm"] == 0
        assert "entropy" not in row


def test_kill_9_in_mid_rollout(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round is repeated with the same result, and every completion is there once."""
    whole = make_run(models, "fast-whole", LONG)
    assert work(whole, monkeypatch, models) == JobState.COMPLETED
    broken = make_run(models, "fast-killed", LONG)
    assert launch(broken, models, KILLING, "2").wait(300) == 0
    assert written(broken) == written(whole)
    assert counted(broken) == counted(whole)
    assert "restarting it and repeating the round" in broken.log.read_text("utf-8")


def test_kill_9_twice(models: Home) -> None:
    """In the second step and, after its repetition, in the third: transformers takes over, and the run says so."""
    run = make_run(models, "fast-killed-twice", changed(LONG, training__max_steps=4))
    assert launch(run, models, KILLING, "2", "4").wait(300) == 0
    assert "crashed twice" in notes(run)
    assert sorted(counted(run)) == [(step, 4) for step in (1, 2, 3, 4) for _ in range(4)]


def counted(run: JobDir) -> list[tuple[Any, int]]:
    """Step and number of completions of every recorded group."""
    return [(group["step"], len(group["completions"])) for group in iter_lines(run.completions)]
