"""Measuring a machine with a small random model: every figure is there, on any machine."""

from __future__ import annotations

import psutil
import pytest

from core import speed
from core.environment import CONVERTER
from core.settings import Home
from core.training import speed as measurement
from tests.training.worker_runs import TINY


def test_a_measurement_is_complete_and_leaves_nothing_behind(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process and no file; the result is stored for this machine."""
    monkeypatch.setenv("TUNESMITH_HOME", str(models.root))
    monkeypatch.setattr(measurement, "DEMO_MODEL", TINY["model"]["name"])
    monkeypatch.setattr(measurement, "ROUNDS", 1)
    before = psutil.Process().children(recursive=True)
    found = measurement.measure(models)
    assert found.by_llama == CONVERTER.is_file()
    speed.keep(models, found)
    assert speed.read(models) == found
    assert not (models.cache / ".speed").exists()
    assert set(psutil.Process().children(recursive=True)) <= set(before)
