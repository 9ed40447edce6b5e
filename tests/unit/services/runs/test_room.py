"""Memory and disk of training every weight, against what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.config import parse
from core.model import Device
from core.settings import Home
from services.runs.room import disk_needed, every_weight, room_for
from tests.conftest import TINY

CPU = Device("cpu", "a processor", 16 * 10**9, 8 * 10**9, bf16=False)
SMOLLM = 0.135
"""Billions of parameters."""


def whole(**training: Any) -> dict[str, Any]:
    return {
        **{name: section for name, section in TINY.items() if name not in {"training", "reward"}}, "method": "sft",
        "model": {"name": "m", "adapter": "none"}, "training": {"max_sequence_length": 512, **training},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("optim", "dtype", "measured"),
    [("adamw_torch", "auto", 3.3), ("adafactor", "auto", 2.4), ("adamw_torch", "bfloat16", 2.2)],
)
def test_memory_is_near_what_was_measured(optim: str, dtype: str, measured: float) -> None:
    """A model of 135M parameters, 512 tokens, batch 1: within a tenth."""
    config = whole(optim=optim)
    config["model"]["dtype"] = dtype
    assert every_weight(parse(config), SMOLLM, optim, CPU) / 1e9 == pytest.approx(measured, rel=0.1)


def test_a_reference_and_each_checkpoint_count() -> None:
    """A KL penalty keeps a copy; a checkpoint has the weights and AdamW's two values."""
    grpo = parse({**TINY, "model": {"name": "m", "adapter": "none"}, "grpo": {"kl_penalty": 0.0}})
    with_kl = parse({**TINY, "model": {"name": "m", "adapter": "none"}, "grpo": {"kl_penalty": 0.1}})
    more = every_weight(with_kl, 1.0, "adamw_torch", CPU) - every_weight(grpo, 1.0, "adamw_torch", CPU)
    assert more == pytest.approx(1.1 * 4e9, rel=0.01)
    assert disk_needed(parse(whole(keep_checkpoints=2)), 1.0, CPU) == 36 * 10**9
    assert disk_needed(parse(whole(keep_checkpoints=1, optim="sgd")), 1.0, CPU) == 8 * 10**9
    assert disk_needed(parse({**whole(), "model": {"name": "m"}}), 1.0, CPU) == 0


def test_a_large_model_has_no_room(tmp_path: Path) -> None:
    """Eight billion weights in 16 GB: the figures, and what would take less."""
    home = Home(tmp_path)
    home.make()
    room = room_for(parse(whole()), 8.0, CPU, home)
    assert room.memory is not None
    assert room.memory[0] > 128 * 10**9
    assert room.instead["lora"] < room.instead["adafactor"] < room.memory[0]
