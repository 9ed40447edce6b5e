"""Telling a missing adapter from rounding, with made-up probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.training.fidelity.kl import Closeness, compare

LENGTHS = [12] * 40
WORDS = 200


def distances(tmp_path: Path, *, change: float, times: float, rounding: float, seed: int = 0) -> Closeness:
    """A base model, a training that moves its logits by ``change``, and a rounded export with ``times`` that change."""
    make = torch.Generator().manual_seed(seed)
    rows = sum(LENGTHS)
    base, moved, noise = (torch.randn(rows, WORDS, generator=make) for _ in range(3))
    trained = 3 * base + change * moved
    exported = 3 * base + times * change * moved + rounding * noise
    for name, logits in {"trained": trained, "base": 3 * base, "exported": exported}.items():
        np.save(tmp_path / f"{name}.npy", logits.log_softmax(-1).to(torch.float16).numpy())
    return compare(tmp_path / "trained.npy", tmp_path / "base.npy", tmp_path / "exported.npy", LENGTHS)


@pytest.mark.parametrize("rounding", [0.0, 0.3])
@pytest.mark.parametrize("times", [0.0, 1.0, 2.0])
def test_the_share_of_the_change_is_measured_through_rounding(tmp_path: Path, times: float, rounding: float) -> None:
    """Missing, once and twice are told apart, with an interval that contains the true value."""
    found = distances(tmp_path, change=0.2, times=times, rounding=rounding)
    assert found.kept is not None
    assert found.kept == pytest.approx(times, abs=0.05)
    assert found.kept_low is not None
    assert found.kept_high is not None
    assert found.kept_low - 0.01 <= times <= found.kept_high + 0.01


def test_a_slight_change_under_coarse_rounding_leaves_it_open(tmp_path: Path) -> None:
    """The distances are then the same for both, so the interval is wide."""
    found = distances(tmp_path, change=0.004, times=1.0, rounding=1.0)
    assert found.kept_low is not None
    assert found.kept_high is not None
    assert found.kept_high - found.kept_low > 0.5
    assert found.mean_kl == pytest.approx(found.base_kl, rel=0.05)


def test_a_training_that_changed_nothing_has_no_share(tmp_path: Path) -> None:
    """Nothing can be missing."""
    found = distances(tmp_path, change=0.0, times=1.0, rounding=0.1)
    assert found.kept is None
    assert found.adapter_kl == pytest.approx(0, abs=1e-6)


def test_equal_models_have_no_distance(tmp_path: Path) -> None:
    """16-bit files are precise enough."""
    found = distances(tmp_path, change=1.0, times=1.0, rounding=0.0)
    assert found.top1_agreement == 1
    assert found.mean_kl < 1e-6
    assert found.positions == sum(LENGTHS)
