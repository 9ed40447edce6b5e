"""The same guarantees with the real server and trainer, on a two-layer model."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.job_dir import iter_lines
from core.settings import PROJECT
from tests.fault.test_server_killed import worker_pid
from tests.support.live import REAL_SERVER, Listener, Live, until

pytestmark = [pytest.mark.fault, pytest.mark.training, pytest.mark.slow]

STEPS = 100_000
"""More steps than any machine can take during three server starts: the run is stopped before its end."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    if not (PROJECT / "cache" / "models" / "smollm2-135m-instruct").is_dir():
        pytest.skip("the built-in model is not installed: run setup")
    from tests.training.worker_runs import make_home

    server = Live(make_home(tmp_path_factory.mktemp("home")).root, REAL_SERVER).start()
    yield server
    server.close()


def config() -> dict[str, Any]:
    from tests.training.worker_runs import LLAMA, changed

    return changed(LLAMA, training__max_steps=STEPS, training__save_steps=4)


def test_the_server_killed_twice_and_the_worker_once(live: Live) -> None:
    """The server's death does not interrupt training, no row is lost or duplicated, and Resume continues."""
    chance = random.Random()
    name = f"real-{chance.getrandbits(32):08x}"  # A retry uses the same server.
    run = live.home / "outputs" / name
    live.ask("POST", "/api/training/start", {"config": config(), "session_id": name, "confirm_reward": True})
    live.wait(name, "training")
    listener = Listener(live.url, name)
    pid = worker_pid(run)
    for _ in range(2):
        time.sleep(chance.uniform(0.2, 1.5))
        live.kill()
        assert psutil.pid_exists(pid)
        time.sleep(chance.uniform(0.0, 1.0))
        live.start()
    view = until(lambda: live.status(name), lambda view: (view["checkpoint_step"] or 0) >= 4)
    assert view["attempt"] == 1
    psutil.Process(pid).kill()
    view = live.wait(name, "crashed")
    live.ask("POST", "/api/training/resume", {"session_id": name})
    goal = view["checkpoint_step"] + 6
    until(lambda: live.status(name), lambda now: now["attempt"] == 2 and now["step"] >= goal)
    live.ask("POST", "/api/training/stop", {"session_id": name})
    assert live.wait(name, "stopped", "failed", "crashed")["status"] == "stopped"
    rows = list(iter_lines(run / "metrics.jsonl"))
    until(lambda: len(listener.rows), lambda count: count == len(rows))
    listener.close()
    assert listener.rows == [row["row"] for row in rows] == list(range(1, len(rows) + 1))
    assert listener.doubles == []
    second = [row["step"] for row in rows if row["phase"] == "training" and row["attempt"] == 2]
    assert second == list(range(view["checkpoint_step"] + 1, second[-1] + 1))
    assert second[-1] >= goal
    assert _training_steps(run) == list(range(1, second[-1] + 1))


def _training_steps(run: Path) -> list[int]:
    return sorted({row["step"] for row in iter_lines(run / "metrics.jsonl") if row["phase"] == "training"})
