"""How long a run takes here, and what that is known from."""

from __future__ import annotations

from typing import Any

import pytest

from core.config import RunConfig, dump, parse
from core.job import JobState
from core.model import DEMO_MODEL, Device
from services.container import Services
from services.runs.speeds import Speeds
from tests.conftest import tiny

CPU = Device("cpu", "a processor", 8 << 30, 8 << 30, bf16=False)
SIZES = {DEMO_MODEL: 0.135, "Qwen/Qwen3-0.6B": 0.6}


def config(model: str = DEMO_MODEL, **training: Any) -> RunConfig:
    return parse({**tiny(**training), "model": {"name": model}})


def speeds(services: Services, device: Device = CPU) -> Speeds:
    return Speeds(services.database, lambda: device, lambda config: SIZES.get(config.model.name))


@pytest.fixture
def ran(services: Services) -> Services:
    """A run of the built-in model whose steps took two seconds."""
    run = services.runs.start(dump(config()))
    services.database.update(run.session_id, seconds_per_step=2.0, device="cpu", state=str(JobState.COMPLETED))
    return services


def test_nothing_is_said_where_nothing_was_measured(services: Services, ran: Services) -> None:
    """Neither on another device nor for a model of unknown size, nor far from everything that was measured."""
    gpu = Device("cuda", "a GPU", 8 << 30, 8 << 30, bf16=True)
    assert speeds(ran, gpu).estimate(config(), 64) is None
    assert speeds(ran).estimate(config("somebody/model"), 64) is None
    assert speeds(ran).estimate(config(max_new_tokens=8192, max_sequence_length=9000), 64) is None
    services.database.delete(services.runs.list()[0].session_id)
    assert speeds(services).estimate(config(), 64) is None


def test_a_run_of_the_model_tells(ran: Services) -> None:
    """Twice the steps take twice the time."""
    short, long = (speeds(ran).estimate(config(max_steps=steps), 0) for steps in (10, 20))
    assert short
    assert long
    assert (short.seconds, long.seconds) == (20, 40)
    assert short.basis == "Based on earlier runs of this model on this machine."


def test_another_model_is_scaled_from(ran: Services) -> None:
    found = speeds(ran).estimate(config("Qwen/Qwen3-0.6B", max_steps=10), 0)
    assert found
    assert found.seconds == pytest.approx(20 * 0.6 / 0.135)
    assert found.basis == "Scaled from a run of SmolLM2 135M Instruct on this machine."


def test_a_check_of_this_setup_comes_first(ran: Services) -> None:
    found = speeds(ran).estimate(config(max_steps=10), 0, (config(), {"seconds_per_step": 5.0}))
    assert found
    assert (found.seconds, found.words) == (50, "about 1 minute")
    assert found.basis == "Measured by the check before training."
