"""kill -9 the worker: reported within five seconds, and no saved state is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import psutil
import pytest

from core.job_dir import iter_lines
from core.settings import Home
from tests.conftest import tiny
from tests.fault.test_server_killed import worker_pid
from tests.support.live import Listener, Live, held, until

pytestmark = pytest.mark.fault


@pytest.fixture
def live(home: Home) -> Iterator[Live]:
    server = Live(home.root).start()
    yield server
    server.close()


def test_a_killed_worker_is_crashed_within_five_seconds(live: Live) -> None:
    """All clients are notified, the checkpoint is named, and Resume continues from it."""
    with held(live.home):
        live.ask("POST", "/api/training/start", {"config": tiny(max_steps=20), "session_id": "run"})
        listener = Listener(live.url, "run")
        took = [killed_and_noticed(live, listener, 1)]
        while took[-1] >= 5 and len(took) < 3:  # The machine may have stalled in these seconds.
            live.ask("POST", "/api/training/resume", {"session_id": "run"})
            took.append(killed_and_noticed(live, listener, len(took) + 1))
    assert took[-1] < 5, took
    view = live.status("run")
    assert f"checkpoint at step {view['checkpoint_step']}" in view["error"]
    live.ask("POST", "/api/training/resume", {"session_id": "run"})
    live.wait("run", "completed")
    rows = list(iter_lines(live.home / "outputs" / "run" / "metrics.jsonl"))
    assert next(row["step"] for row in rows if row["attempt"] == len(took) + 1) == view["checkpoint_step"] + 1
    until(lambda: len(listener.rows), lambda count: count == len(rows))
    listener.close()
    assert listener.rows == list(range(1, len(rows) + 1))
    drawn = live.ask("GET", "/api/training/sessions/run/metrics?points=1000")["rows"]
    assert [row["step"] for row in drawn] == list(range(1, 21))


def killed_and_noticed(live: Live, listener: Listener, attempt: int) -> float:
    """Kill this attempt's worker; returns the seconds until the server reported a crash, in its whole seconds."""
    until(lambda: live.status("run"), lambda view: view["attempt"] == attempt and view["step"] >= 5)
    worker = psutil.Process(worker_pid(live.home / "outputs" / "run"))
    killed = time.time()
    worker.kill()
    until(lambda: [data["status"] for _, data in listener.events].count("crashed"), lambda told: told == attempt)
    return datetime.fromisoformat(live.status("run")["ended_at"]).timestamp() + 1 - killed


def test_the_next_in_the_queue_starts_after_a_crash(live: Live) -> None:
    """A crash does not block the queue."""
    live.ask("POST", "/api/training/start", {"config": tiny("dies"), "session_id": "first"})
    live.ask("POST", "/api/training/start", {"config": tiny(), "session_id": "second"})
    live.wait("second", "completed")
    assert live.status("first")["status"] == "crashed"


def test_two_starts_at_once_run_one_after_the_other(live: Live) -> None:
    """The second waits; both complete."""
    with held(live.home):
        for name in ("one", "two"):
            live.ask("POST", "/api/training/start", {"config": tiny(name), "session_id": name})
        live.wait("one", "training")
        assert live.status("two")["status"] == "queued"
    live.wait("two", "completed")
    assert live.status("one")["status"] == "completed"
