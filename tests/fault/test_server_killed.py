"""kill -9 the server: nothing of a run is lost, duplicated or interrupted."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.job_dir import iter_lines
from core.settings import Home
from tests.conftest import tiny
from tests.support.live import PATIENCE, Listener, Live, gone, held, until

pytestmark = pytest.mark.fault


@pytest.fixture
def live(home: Home) -> Iterator[Live]:
    server = Live(home.root).start()
    yield server
    server.close()


def test_no_row_is_lost_or_doubled_when_the_server_is_killed_twice(live: Live) -> None:
    """A client that reconnects with ``watch`` has every row once; the worker never notices."""
    chance = random.Random(live.url)
    with held(live.home):
        live.ask("POST", "/api/training/start", {"config": tiny(max_steps=120), "session_id": "run"})
        live.wait("run", "training")
        pid = worker_pid(live.home / "outputs" / "run")
        listener = Listener(live.url, "run")
        for _ in range(2):
            time.sleep(chance.uniform(0.2, 1.0))
            live.kill()
            time.sleep(chance.uniform(0.0, 0.8))
            live.start()
    view = live.wait("run", "completed")
    until(lambda: len(listener.rows), lambda count: count == 120)
    listener.close()
    assert listener.rows == list(range(1, 121))
    assert listener.doubles == []
    assert view["attempt"] == 1
    rows = list(iter_lines(live.home / "outputs" / "run" / "metrics.jsonl"))
    assert [row["step"] for row in rows] == list(range(1, 121))
    assert {row["attempt"] for row in rows} == {1}
    until(lambda: gone(pid), bool)


def test_a_run_that_ended_while_no_server_ran_is_found_ended(live: Live) -> None:
    """With all its rows, and its final state."""
    with held(live.home):
        live.ask("POST", "/api/training/start", {"config": tiny(max_steps=20), "session_id": "run"})
        live.wait("run", "training")
        live.kill()
    until(lambda: (live.home / "outputs" / "run" / "status.json").read_text(), lambda text: '"completed"' in text)
    live.start()
    view = live.status("run")
    assert (view["status"], view["step"], view["reward"]) == ("completed", 20, 0.2)
    assert live.ask("GET", "/api/training/sessions/run/metrics")["next"] == 20


def test_a_worker_that_died_while_no_server_ran_is_found_crashed(live: Live) -> None:
    """And Resume continues from its checkpoint."""
    with held(live.home):
        live.ask("POST", "/api/training/start", {"config": tiny(max_steps=20), "session_id": "run"})
        until(lambda: live.status("run"), lambda view: view["step"] >= 4)
        live.kill()
        psutil.Process(worker_pid(live.home / "outputs" / "run")).kill()
    live.start()
    view = live.wait("run", "crashed")
    live.ask("POST", "/api/training/resume", {"session_id": "run"})
    assert live.wait("run", "completed")["attempt"] == 2
    rows = list(iter_lines(live.home / "outputs" / "run" / "metrics.jsonl"))
    assert next(row["step"] for row in rows if row["attempt"] == 2) == view["checkpoint_step"] + 1


def test_the_queue_keeps_its_order_across_a_restart(live: Live) -> None:
    """Three runs and a killed server: one at a time, first come, first served."""
    with held(live.home):
        for name in ("a", "b", "c"):
            live.ask("POST", "/api/training/start", {"config": tiny(name, max_steps=12), "session_id": name})
        live.wait("a", "training")
        assert [live.status(name)["queue_position"] for name in "abc"] == [None, 1, 2]
        live.kill()
        live.start()
    live.wait("c", "completed")
    files = {name: live.home / "outputs" / name / "metrics.jsonl" for name in "abc"}
    times = {name: [row["time"] for row in iter_lines(path)] for name, path in files.items()}
    assert times["a"][-1] < times["b"][0]
    assert times["b"][-1] < times["c"][0]


def test_a_second_server_on_the_same_home_is_refused(live: Live) -> None:
    """With the address of the first and what to do, without a traceback."""
    second = refused(live, live.env)
    assert second.returncode == 1
    assert f"already running in {live.home} at {live.url}" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_in_use_is_reported_with_what_to_do(live: Live, tmp_path: Path) -> None:
    """Another home folder, the same port."""
    env = {**live.env, "TUNESMITH_HOME": str(tmp_path / "other")}
    second = refused(live, env)
    assert second.returncode == 1
    assert "is already in use" in second.stderr
    assert "PORT=" in second.stderr
    assert "Traceback" not in second.stderr


def refused(live: Live, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Another server with this environment; it should exit by itself."""
    return subprocess.run(live.launch_command(), env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)


def worker_pid(run: Path) -> int:
    return int(json.loads((run / "status.json").read_text())["pid"])
