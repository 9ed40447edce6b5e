"""The readiness list of a run that trains every weight."""

from __future__ import annotations

from dataclasses import replace

from core.readiness import Severity, State
from tests.unit.core.test_readiness import GOOD, found, only

WHOLE = {"model": {"adapter": "none"}, "training": {"learning_rate": 1e-6}}


def test_every_weight_that_does_not_fit_is_refused_with_what_would() -> None:
    """With the figures; the fix is the first way that fits."""
    facts = replace(GOOD, memory=(40_000_000_000, 16_000_000_000), instead={"lora": 9 * 10**9, "adafactor": 21 * 10**9})
    problem = only(found(facts, **WHOLE))
    assert (problem.severity, problem.field) == (Severity.BLOCKS, "model.adapter")
    assert "needs about 40.0 GB" in problem.message
    assert "has 16.0 GB. Use a LoRA adapter (9.0 GB), or choose a smaller model." in problem.message
    assert problem.fix is not None
    assert problem.fix.values == {"model.adapter": "lora"}
    neither = only(found(replace(facts, instead={"lora": 10**11, "adafactor": 10**11}), **WHOLE))
    assert neither.message.endswith("Choose a smaller model.")
    assert neither.fix is None


def test_checkpoints_that_do_not_fit_on_disk_are_refused() -> None:
    """With the figures, and fewer checkpoints as the fix."""
    problem = only(found(replace(GOOD, disk=(5_000_000_000, 4_000_000_000)), **WHOLE))
    assert (problem.severity, problem.field) == (Severity.BLOCKS, "training.keep_checkpoints")
    assert "5.0 GB to disk" in problem.message
    assert "4.0 GB are free" in problem.message
    assert problem.fix is not None
    assert problem.fix.values == {"training.keep_checkpoints": 1}
    assert found(replace(GOOD, disk=(5, 6)), **WHOLE).state is State.READY


def test_settings_of_an_adapter_get_no_remark() -> None:
    """They have no effect. The only remark is that transformers generates the answers."""
    said = [one.field for one in found(model={"adapter": "none"}, training={"learning_rate": 1e-6}).problems]
    assert said == ["model.adapter"]
