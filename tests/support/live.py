"""A server in a separate process, and a client that stores every row it receives."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import socketio

from core.settings import PROJECT

_T = TypeVar("_T")

PATIENCE = 120.0
"""Timeout in seconds for expected results; generous, because machines stall."""
FAKE_SERVER = PROJECT / "tests" / "support" / "server.py"
REAL_SERVER = PROJECT / "flask_app.py"


class Live:
    """Starts, kills and restarts a server on one home folder, and sends JSON requests."""

    def __init__(self, home: Path, script: Path = FAKE_SERVER, **env: str) -> None:
        self.home = home
        self.script = script
        self.env = {
            "PATH": os.environ["PATH"],
            "TUNESMITH_HOME": str(home),
            "PORT": "0",
            "TUNESMITH_SPEED_TEST": "0",
            **env,
        }
        self.token = ""
        self.url = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Live:
        """Start, and wait for its address. The first port is kept."""
        self.process = self.launch()
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("Tunesmith is at "):
                self.url = line.split()[-1]
                self.env["PORT"] = self.url.rsplit(":", 1)[1]
                return self
        raise AssertionError("the server ended: " + (self.home / "server.err").read_text())

    def launch(self) -> subprocess.Popen[str]:
        with (self.home / "server.err").open("a") as errors:
            return subprocess.Popen(
                self.launch_command(), env=self.env, cwd=PROJECT, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def launch_command(self) -> list[str]:
        return [sys.executable, str(self.script)]

    def kill(self) -> None:
        """End it with kill -9."""
        assert self.process
        assert self.process.stdout
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def close(self) -> None:
        if self.process and self.process.stdout:
            self.process.terminate()
            self.process.wait(timeout=PATIENCE)
            self.process.stdout.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The decoded response; raises AssertionError with its text on failure."""
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json", **headers}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                text = response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{error.code} {error.read().decode()}") from None
        answer: Any = json.loads(text) if text[:1] in {"{", "["} else text
        return answer

    def status(self, session_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/api/training/sessions/{session_id}")
        return found

    def wait(self, session_id: str, *states: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until a run is in one of the states."""
        return until(lambda: self.status(session_id), lambda view: view["status"] in states, seconds)


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Inside, the workers of :mod:`tests.support.fake_worker` wait before their last step."""
    gate = home / "hold"
    gate.touch()
    try:
        yield
    finally:
        gate.unlink()


def until(look: Callable[[], _T], right: Callable[[_T], object], seconds: float = PATIENCE) -> _T:
    """Retry until it is true; otherwise the error has the last value."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if right(found):
            return found
        assert time.monotonic() < end, f"after {seconds} s still {found}"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether this process has exited; a zombie counts as exited."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def socket_client(**options: Any) -> socketio.Client:
    """A client that delivers events one by one in order, and tolerates a stalled server.

    The library uses a thread per event and a five-second timeout per request.
    """
    client = socketio.Client(request_timeout=PATIENCE, **options)
    trigger = client.eio._trigger_event
    client.eio._trigger_event = lambda event, *args, **how: trigger(event, *args, **{**how, "run_async": False})
    return client


def hang_up(client: socketio.Client) -> None:
    """Disconnect at once. The library waits three seconds for a frame that its own reading thread has taken."""
    if client.eio.ws:
        client.eio.ws.close = functools.partial(client.eio.ws.close, timeout=0)
    client.disconnect()


class Listener:
    """A python-socketio client that reconnects after the server died, and watches one run.

    It follows docs/api.md: rows before the response to ``watch`` are set aside, then the response is applied,
    then the rows with higher numbers that were set aside. ``rows`` are the row numbers in the order they were
    applied; duplicates after that go into ``doubles``.
    """

    def __init__(self, url: str, session_id: str) -> None:
        self.session_id = session_id
        self.rows: list[int] = []
        self.doubles: list[int] = []
        self.events: list[tuple[str, Any]] = []
        self._early: list[dict[str, Any]] = []
        self._watching = False
        self._connection = 0
        self._lock = threading.Lock()
        self.client = socket_client(reconnection_delay=0.05, reconnection_delay_max=0.2, randomization_factor=0)
        self.client.on("connect", self._connected)
        self.client.on("disconnect", self._disconnected)
        self.client.on("training_update", self._heard)
        self.client.on("training_status", lambda data: self.events.append(("training_status", data)))
        self.client.connect(url, wait_timeout=PATIENCE)

    def _connected(self) -> None:
        with self._lock:
            self._connection += 1
            self._watching = False
        self.client.start_background_task(self._watch, self._connection)

    def _disconnected(self, *_: Any) -> None:
        self._watching = False

    def _watch(self, connection: int) -> None:
        after = self.rows[-1] if self.rows else 0
        answer = None
        # A killed server does not respond; the next connection asks again.
        with suppress(socketio.exceptions.SocketIOError):
            answer = self.client.call("watch", {"session_id": self.session_id, "after": after})
        if answer is None:
            return
        with self._lock:
            if connection != self._connection:  # The response was lost: the next connection asks again.
                return
            for row in [*answer["rows"], *(row for row in self._early if row["row"] > answer["next"])]:
                self._take(row)
            self._early.clear()
            self._watching = True

    def _heard(self, row: dict[str, Any]) -> None:
        if row["session_id"] != self.session_id:
            return
        with self._lock:
            if self._watching:
                self._take(row)
            else:
                self._early.append(row)

    def _take(self, row: dict[str, Any]) -> None:
        (self.doubles if row["row"] in self.rows else self.rows).append(row["row"])

    def close(self) -> None:
        hang_up(self.client)
