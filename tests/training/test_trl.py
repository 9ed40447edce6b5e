"""What every TRL trainer gets, tested with SFT, which is not GRPO's."""

from __future__ import annotations

from typing import Any

import pytest
from safetensors.torch import load_file

from core.job import JobState
from core.job_dir import JobDir
from core.methods import METHODS
from core.settings import Home
from core.training import methods
from core.training.methods import training_job
from tests.training.worker_runs import SFT, changed, make_run, rows, work, work_until

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

# Two steps per epoch of eight rows; dropout, so that the random states matter.
CONFIG = changed(
    SFT, dataset__size=9, model__lora_dropout=0.1, training__gradient_accumulation_steps=1, training__save_steps=2,
    training__lr_scheduler_type="cosine", training__keep_checkpoints=2,
)  # fmt: skip


@pytest.mark.parametrize("key", [one.key for one in METHODS])
def test_every_method_that_can_be_chosen_has_a_trainer(key: str) -> None:
    """A module with its key's name."""
    assert callable(methods.trainer_of(key))


def series(run: JobDir) -> list[dict[str, Any]]:
    """The training rows without timings."""
    clocks = {"row", "attempt", "time", "step_time", "tokens_per_second"}
    return [{name: value for name, value in row.items() if name not in clocks} for row in rows(run, "training")]


def test_stopped_and_resumed_it_is_the_run_that_was_never_stopped(
    models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the second epoch: the same rows, number by number, and the same final adapter."""
    whole, halves = (make_run(models, f"trl-{name}", CONFIG) for name in ("whole", "halves"))
    assert work(whole, monkeypatch, models) == JobState.COMPLETED
    stopped = work_until(halves, monkeypatch, models, lambda found: any(row["step"] >= 3 for row in found))
    status = halves.read_status()
    assert status is not None
    assert (stopped, status.checkpoint_step) == (JobState.STOPPED, 3)
    assert status.message == "Stopped after step 3 of 6. Resume continues from step 3."
    assert work(halves, monkeypatch, models) == JobState.COMPLETED
    assert [row["step"] for row in series(halves)] == [1, 2, 3, 4, 5, 6]
    assert series(halves) == series(whole)
    adapters = [load_file(run.adapter / "adapter_model.safetensors") for run in (whole, halves)]
    assert all(bool((adapters[0][name] == adapters[1][name]).all()) for name in adapters[0])
    named = {"phase", "step", "loss", "epoch", "grad_norm", "learning_rate", "entropy", "token_accuracy"}
    named |= {"tokens", "rows"}
    assert set(series(whole)[-1]) == named
    moments = [(row["when"], row["step"]) for row in rows(halves, "evaluation")]
    assert moments == [("before", 0), ("interval", 3), ("end", 6)]
    assert all(0 < row["loss"] < 20 and "reward" not in row for row in rows(halves, "evaluation"))


def test_a_checkpoint_holds_one_adapter_and_the_oldest_go(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many are kept as configured, with nothing half-written beside them."""
    run = make_run(models, "trl-checkpoints", CONFIG)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert sorted(folder.name for folder in run.checkpoints.iterdir()) == ["checkpoint-4", "checkpoint-6"]
    assert {file.name for file in (run.checkpoints / "checkpoint-6").iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "rng_state.pth",
        "scheduler.pt", "trainer_state.json",
    }  # fmt: skip


def test_no_engine_is_made_where_nothing_is_written(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method without completions neither converts a model nor starts llama.cpp."""

    def never(*_: Any) -> None:
        raise AssertionError("an engine was made")

    monkeypatch.setattr(training_job, "engine_for", never)
    run = make_run(models, "trl-alone", changed(CONFIG, training__max_steps=2))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
