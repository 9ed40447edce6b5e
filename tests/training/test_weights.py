"""Full fine-tuning, and going on from an earlier run."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.job import JobState
from core.settings import Home
from tests.training.worker_runs import SFT, TINY, changed, make_run, rows, work, work_until

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

CLOCKS = {"row", "attempt", "time", "step_time", "time_generation", "time_reward", "tokens_per_second"}
FULL = {"model__adapter": "none", "training__learning_rate": 1e-3}
WAYS = {"sft": changed(SFT, **FULL), "grpo": changed(TINY, **FULL, grpo__kl_penalty=0.05)}


def series(run: Any, phase: str = "training") -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows(run, phase)]


@pytest.mark.parametrize("method", WAYS)
def test_every_weight_is_trained_and_a_resume_is_exact(
    method: str, models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole model is published, all of it changed; stopped and resumed it is the same run."""
    whole, halves = (make_run(models, f"full-{method}-{name}", WAYS[method]) for name in ("whole", "halves"))
    assert work(whole, monkeypatch, models) == JobState.COMPLETED

    def fourth(found: list[dict[str, Any]]) -> bool:
        return any(row["phase"] == "training" and row["step"] >= 3 for row in found)

    assert work_until(halves, monkeypatch, models, fourth) == JobState.STOPPED
    assert work(halves, monkeypatch, models) == JobState.COMPLETED
    assert series(halves) == series(whole)
    assert series(halves, "evaluation") == series(whole, "evaluation")
    made, again = (load_file(run.model / "model.safetensors") for run in (whole, halves))
    before = load_file(models.cache / "models" / "tiny" / "model.safetensors")
    assert set(made) == set(before)
    for name, numbers in made.items():
        assert torch.equal(numbers, again[name])
        assert not torch.equal(numbers, before[name])
    assert not whole.adapter.exists()
    shutil.rmtree(halves.path)
