"""When the process that measures this machine's speed runs, and when it is stopped."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core import speed
from core.model import Device
from core.settings import Home, Settings
from services.runs import speed_test
from services.runs.speed_test import SpeedTest
from tests.support.live import gone, until

CPU = Device("cpu", "a processor", 8 << 30, 8 << 30, bf16=False)
SAYS = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(float(sys.argv[2]))"


class Machine:
    """A machine on which a measurement takes as long as the test wants."""

    def __init__(self, settings: Settings, seconds: float, device: Device = CPU) -> None:
        self.log = settings.home.root / "started"
        self.busy = threading.Event()
        command = (sys.executable, "-c", SAYS, str(self.log), str(seconds))
        self.test = SpeedTest(settings, lambda: device, self.busy.is_set, command)

    @property
    def started(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []

    @property
    def over(self) -> bool:
        return not any(thread.name == "speed" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No initial pause, and it is not switched off."""
    monkeypatch.setattr(speed_test, "PAUSE", 0.01)
    monkeypatch.delenv(speed_test.SWITCH, raising=False)
    yield
    until(lambda: [one for one in threading.enumerate() if one.name == "speed"], lambda left: not left)


def test_it_runs_once_and_keeps_no_server_from_closing(settings: Settings) -> None:
    machine = Machine(settings, 0)
    machine.test.start()
    until(lambda: machine.over, bool)
    assert len(machine.started) == 1
    machine.test.close()


def test_a_job_ends_it_and_it_begins_again_afterwards(settings: Settings) -> None:
    machine = Machine(settings, 600)
    machine.test.start()
    (first,) = until(lambda: machine.started, bool)
    machine.busy.set()
    machine.test.stop()
    until(lambda: gone(first), bool)
    assert machine.started == [first]
    machine.busy.clear()
    second = until(lambda: machine.started[1:], bool)[0]
    machine.test.close()
    assert gone(second)
    assert not psutil.pid_exists(second)


def test_it_waits_while_a_job_runs(settings: Settings) -> None:
    machine = Machine(settings, 0)
    machine.busy.set()
    machine.test.start()
    machine.test.close()
    assert machine.started == []


@pytest.mark.parametrize("why", ["off", "gpu", "known", "no model"])
def test_it_does_not_run_where_it_is_useless(
    settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    device = Device("cuda", "a GPU", 8 << 30, 8 << 30, bf16=True) if why == "gpu" else CPU
    if why == "off":
        monkeypatch.setenv(speed_test.SWITCH, "0")
    if why == "known":
        values = dict.fromkeys(("loading", "each_pass", "learning", "each_token", "writing"), 1.0)
        speed.keep(home, speed.Speed(machine=speed.machine(), by_llama=True, **values))
    if why == "no model":
        Path(home.cache / "models" / "smollm2-135m-instruct" / "config.json").unlink()
    machine = Machine(settings, 600, device)
    machine.test.start()
    until(lambda: machine.over, bool)
    assert machine.started == []


def test_it_waits_for_memory(settings: Settings) -> None:
    machine = Machine(settings, 0, Device("cpu", "a processor", 8 << 30, 1 << 30, bf16=False))
    machine.test.start()
    machine.test.close()
    assert machine.started == []
