"""How long a run takes here, and the source of that estimate."""

from __future__ import annotations

from typing import Any

import pytest

from core.config import RunConfig, dump, parse
from core.job import JobState
from core.model import DEMO_MODEL, Device
from core.pace import Tokens
from core.rewards import CATALOGUE
from core.speed import Speed
from services.container import Services
from services.runs.speeds import SLOW_REWARDS, Speeds
from tests.conftest import tiny

CPU = Device("cpu", "a processor", 8 << 30, 8 << 30, bf16=False)
SIZES = {DEMO_MODEL: 0.135, "Qwen/Qwen3-0.6B": 0.6}


def config(model: str = DEMO_MODEL, **training: Any) -> RunConfig:
    return parse({**tiny(**training), "model": {"name": model}})


SPEED = Speed(
    machine="this", loading=5, each_pass=0, learning=0.01, each_token=0, writing=0.002, by_llama=True
)  # fmt: skip


def speeds(services: Services, device: Device = CPU, speed: Speed | None = SPEED) -> Speeds:
    return Speeds(services.database, lambda: device, lambda config: SIZES.get(config.model.name), lambda: speed)


@pytest.fixture
def ran(services: Services) -> Services:
    """A run of the built-in model with steps of two seconds."""
    run = services.runs.start(dump(config()))
    services.database.update(run.session_id, seconds_per_step=2.0, device="cpu", state=str(JobState.COMPLETED))
    return services


def test_nothing_is_estimated_without_measurements(services: Services, ran: Services) -> None:
    """Not for another device, a model of unknown size, or far from all measurements."""
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


def test_a_machine_whose_speed_is_known_tells_a_range(services: Services) -> None:
    """Before the first run; for a GPU, an unknown speed or model it stays unknown."""
    tokens = Tokens(20, 6)
    found = speeds(services).rough(config(max_steps=40), 64, tokens)
    assert found
    assert found.most
    assert found.words.startswith("roughly ")
    assert found.basis == "Rough, based on this machine's speed. Check before training measures it."
    sft = parse({**dump(config(max_steps=40)), "method": "sft"})
    assert str(getattr(speeds(services).rough(sft, 64, tokens), "basis", "")).endswith("Your first run measures it.")
    gpu = Device("cuda", "a GPU", 8 << 30, 8 << 30, bf16=True)
    assert speeds(services, gpu).rough(config(), 64, tokens) is None
    assert speeds(services, speed=None).rough(config(), 64, tokens) is None
    assert speeds(services).rough(config("somebody/model"), 64, tokens) is None


def test_a_slow_reward_keeps_the_duration_unknown(services: Services) -> None:
    assert set(CATALOGUE) >= SLOW_REWARDS
    judged = {"type": "composite", "components": [{"name": "judge", "params": {"model": "m", "rubric": "r"}}]}
    slow = parse({**dump(config(max_steps=40)), "reward": judged})
    assert speeds(services).rough(slow, 64, Tokens(20, 6)) is None
