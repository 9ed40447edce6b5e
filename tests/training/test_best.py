"""Early stopping and the best checkpoint: decided by the evaluations, the same after a stop or a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.job import JobState
from core.job_dir import JobDir, iter_lines, read_json, read_model
from core.kept import Kept
from core.settings import Home
from core.training.evaluation.best import Best
from core.training.evaluation.row_losses import RowLosses
from tests.training.worker_runs import SFT, changed, make_run, rows, work, work_until

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

LOSSES = {0: 3.0, 2: 2.0, 4: 2.5, 6: 2.6, 8: 1.0, 10: 1.0}
"""Held-out losses by step: lowest at step 2 for two evaluations."""
CONFIG = changed(
    SFT, dataset__size=12, model__lora_dropout=0.1, training__batch_size=2, training__gradient_accumulation_steps=1,
    training__max_steps=10, training__save_steps=5, training__keep_checkpoints=1, evaluation__every_steps=2,
    evaluation__holdout_fraction=0.2, evaluation__keep_best=True, evaluation__early_stop=2,
)  # fmt: skip


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations find the losses above instead of the model's."""
    measured = RowLosses.measured

    def instead(known: RowLosses, when: str, step: int, losses: Any) -> dict[str, Any]:
        found: dict[str, Any] = measured(known, when, step, [(LOSSES[step] * count, count) for _, count in losses])
        return found

    monkeypatch.setattr(RowLosses, "measured", instead)


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "adapter_model.safetensors")
    return found


def same(one: Path, other: Path) -> bool:
    numbers = adapter(other)
    return all(torch.equal(value, numbers[name]) for name, value in adapter(one).items())


def steps_of(run: JobDir) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in rows(run, "training")]


@pytest.mark.usefixtures("planned")
def test_a_run_ends_early_with_its_best_adapter(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two evaluations were not better: the run is completed, and the checkpoint of the best one is still there."""
    run = make_run(models, "best-whole", CONFIG)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert [step for step, _ in steps_of(run)] == [1, 2, 3, 4, 5, 6]
    moments = [(row["when"], row["step"]) for row in rows(run, "evaluation")]
    assert moments == [("before", 0), ("interval", 2), ("interval", 4), ("interval", 6), ("end", 6)]
    kept = read_model(run.kept, Kept)
    assert kept == Kept(metric="loss", step=2, value=2.0, since=2, published=True, ended=6, planned=10)
    assert sorted(folder.name for folder in run.checkpoints.iterdir()) == ["checkpoint-2", "checkpoint-6"]
    assert same(run.adapter, run.checkpoints / "checkpoint-2")
    assert not same(run.adapter, run.checkpoints / "checkpoint-6")
    status = run.read_status()
    assert status is not None
    assert (status.step, status.max_steps) == (6, 6)
    assert status.message == (
        "Ended early after step 6 of 10, because the last 2 evaluations were not better than that of step 2. "
        "The result is the adapter of step 2, which had the best evaluation."
    )

    halves = make_run(models, "best-halves", CONFIG)
    assert work_until(halves, monkeypatch, models, lambda found: _reached(found, 3)) == JobState.STOPPED
    assert same(halves.adapter, run.adapter)
    assert work(halves, monkeypatch, models) == JobState.COMPLETED
    assert steps_of(halves) == steps_of(run)
    assert read_json(halves.kept) == read_json(run.kept)
    assert same(halves.adapter, run.adapter)


@pytest.mark.usefixtures("planned")
def test_a_crash_between_an_evaluation_and_its_consequence(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluations are in the metrics, so nothing else needs to have been written."""
    run = make_run(models, "best-crash", CONFIG)
    follow, calls = Best.follow, []

    def crash(best: Best, tokenizer: Any) -> bool:
        calls.append(1)
        if len(calls) == 3:
            run.kept.unlink()
            raise RuntimeError("the power failed")
        return follow(best, tokenizer)

    with monkeypatch.context() as patch:
        patch.setattr(Best, "follow", crash)
        assert work(run, patch, models) == JobState.FAILED
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert [step for step, _ in steps_of(run)] == [1, 2, 3, 4, 5, 6]
    kept = read_model(run.kept, Kept)
    assert kept is not None
    assert (kept.step, kept.ended, kept.planned) == (2, 6, 10)
    assert same(run.adapter, run.checkpoints / "checkpoint-2")


@pytest.mark.usefixtures("planned")
def test_without_early_stopping_the_best_of_all_steps_is_kept(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later evaluation that is better takes over; of equal ones, the earlier."""
    run = make_run(models, "best-all", changed(CONFIG, evaluation__early_stop=None))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    kept = read_model(run.kept, Kept)
    assert kept == Kept(metric="loss", step=8, value=1.0, since=1, published=True)
    assert same(run.adapter, run.checkpoints / "checkpoint-8")
    status = run.read_status()
    assert status is not None
    assert status.message == "Finished. The result is the adapter of step 8, which had the best evaluation."


@pytest.mark.usefixtures("planned")
def test_without_keeping_the_best_the_last_adapter_is_the_result(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ending early alone saves time and changes nothing else."""
    run = make_run(models, "best-early", changed(CONFIG, evaluation__keep_best=False, evaluation__early_stop=1))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    kept = read_model(run.kept, Kept)
    assert kept == Kept(metric="loss", step=2, value=2.0, since=1, ended=4, planned=10)
    assert [folder.name for folder in run.checkpoints.iterdir()] == ["checkpoint-4"]
    assert same(run.adapter, run.checkpoints / "checkpoint-4")
    status = run.read_status()
    assert status is not None
    assert status.message == (
        "Ended early after step 4 of 10, because the last evaluation was not better than that of step 2."
    )


def test_without_either_setting_nothing_is_noted(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that ask for neither are as before."""
    run = make_run(models, "best-none", changed(SFT, training__max_steps=1))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert not run.kept.exists()
    status = run.read_status()
    assert status is not None
    assert status.message == "Finished"


def test_each_row_has_its_loss_and_the_change_an_interval(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean over tokens is that of the rows, and a change that every row shares has an interval around it."""
    run = make_run(models, "best-rows", changed(SFT, training__max_steps=6, evaluation__max_prompts=4))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    found = rows(run, "evaluation")
    lines = list(iter_lines(run.held_out))
    assert [(line["when"], line["step"]) for line in lines] == [(row["when"], row["step"]) for row in found]
    for line, row in zip(lines, found, strict=True):
        assert row["loss"] == pytest.approx(sum(line["losses"]) / sum(line["tokens"]))
        assert row["samples"] == len(line["losses"]) == 4
    assert found[-1]["loss_change"] == pytest.approx(found[-1]["loss"] - found[0]["loss"])
    assert found[-1]["loss_change_low"] <= found[-1]["loss_change"] <= found[-1]["loss_change_high"] < 0
    assert found[-1]["loss_rise"] == pytest.approx(found[-1]["loss"] - found[1]["loss"])
    assert "loss_change" not in found[0]


def _reached(found: list[dict[str, Any]], step: int) -> bool:
    return any(row["phase"] == "training" and row["step"] >= step for row in found)
