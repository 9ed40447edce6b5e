"""Small runs that train a reward model."""

from __future__ import annotations

from typing import Any

from core.dataset import Shape
from core.job_dir import JobDir, read_model
from core.model import Device
from core.reward_report import RewardReport
from core.settings import Home
from tests.training.worker_runs import TINY, changed, made_dataset

CPU = Device("cpu", "cpu", 1 << 34, 1 << 33, False)


def reward_run(home: Home, **values: Any) -> dict[str, Any]:
    """The small run that trains a reward model, on sums that are right or a little off."""
    kept = (
        "max_steps",
        "batch_size",
        "gradient_accumulation_steps",
        "max_sequence_length",
        "save_steps",
        "learning_rate",
    )
    config = {
        **{name: TINY[name] for name in ("name", "model", "evaluation")},
        "method": "reward_model",
        "dataset": made_dataset(home, Shape.PAIRS),
        "training": {name: TINY["training"][name] for name in kept},
    }
    return changed(config, **values)


def report_of(run: JobDir) -> RewardReport:
    found = read_model(run.reward_report, RewardReport)
    assert found
    return found
