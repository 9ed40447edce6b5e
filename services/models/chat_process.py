"""A process that loads a model and answers one request at a time.

It is separate because llama.cpp terminates its process on errors and the server never loads torch. Requests and
responses are JSON lines over its standard input and output.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from core import llama
from core.child import HUB_TOKEN
from core.settings import Settings
from services.jobs.launcher import ENTRY, worker_env

log = logging.getLogger(__name__)

Heard = Callable[[dict[str, Any]], None]

IDLE = 600.0
"""Seconds without a request after which the model is unloaded."""
CANCEL_GRACE = 20.0
"""Seconds after which a process that ignores a cancel is ended."""
CRASHED = (
    "llama.cpp crashed ({how}). Your messages were kept. Send again to restart it in its safe mode. If it crashes "
    "again, try another file: if that one works, this file is damaged, so export or copy it again. If none works: "
    "{remedy}"
)
GONE = (
    "The model's process ended during the answer, usually because memory ran out. Your messages were kept. Send "
    "again to restart it, or choose a smaller model."
)


class ChatProcess:
    """Starts the process on the first request, and again after a crash.

    Args:
        settings: Settings for the process's environment and log file.
        entry: The script to call with ``chat``.
    """

    def __init__(self, settings: Settings, entry: Path = ENTRY) -> None:
        self._settings = settings
        self._entry = entry
        self._process: subprocess.Popen[str] | None = None
        self._turn = threading.Lock()
        self._state = threading.Lock()
        self._current: str | None = None
        self._cancelled: set[str] = set()
        self._idle: threading.Timer | None = None
        self._spoken = False
        self._crash: int | None = None
        """Exit code of llama.cpp's last crash, until it has answered without its extra buffers."""

    def ask(self, request: dict[str, Any], heard: Heard) -> None:
        """Send a request and forward every event until ``done`` or ``error``. Waits for its turn.

        Args:
            request: With an ``id`` that is unique among active ones.
            heard: Called with each event in order; the last has ``event`` ``done`` or ``error``.
        """
        with self._turn:
            with self._state:
                self._current = request["id"]
                if request["id"] in self._cancelled:
                    self._cancelled.discard(request["id"])
                    self._current = None
                    nothing = {"text": "", "tokens": 0, "seconds": 0.0, "finish": "cancelled"}
                    heard({"id": request["id"], "event": "done", **nothing})
                    return
            try:
                self._exchange(request, heard)
            finally:
                with self._state:
                    self._current = None
                    self._cancelled.discard(request["id"])
                self._start_idle_timer()

    def cancel(self, request_id: str) -> None:
        """End a request early: its ``done`` has the text so far."""
        with self._state:
            self._cancelled.add(request_id)
            under_way = self._current == request_id
        if under_way:
            self._send({"op": "cancel", "id": request_id})
            timer = threading.Timer(CANCEL_GRACE, self._kill_if_still_at, [request_id])
            timer.daemon = True
            timer.start()

    def release(self) -> None:
        """Release the memory, unless an answer is being generated."""
        if self._turn.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._turn.release()

    @property
    def alive(self) -> bool:
        """Whether its process is running, possibly with a model."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        if self._idle:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin:
            with suppress(OSError):  # unsent data is still in its buffer
                process.stdin.close()
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()

    def _exchange(self, request: dict[str, Any], heard: Heard) -> None:
        """Run one request, retried in safe mode if llama.cpp crashes before its first token."""
        if self._idle:
            self._idle.cancel()
        first = self._crash is None
        died = self._try(request, heard)
        if self._crash is not None and died is not None and first and not self._spoken:
            log.warning("llama.cpp ended with %s in a chat; retrying once", llama.died(died))
            died = self._try(request, heard)
        if died is not None:
            message = GONE if self._crash is None else CRASHED.format(how=llama.died(died), remedy=llama.REMEDY)
            heard({"id": request["id"], "event": "error", "message": message})

    def _try(self, request: dict[str, Any], heard: Heard) -> int | None:
        """Run a request; after a crash of llama.cpp without its extra buffers, which stay off if that helps.

        Returns:
            The process's exit code if it ended, None if it answered.
        """
        self._spoken = False
        gguf = (request.get("model") or {}).get("kind") == "gguf"
        if gguf and self._crash is not None:
            request = {**request, "model": {**request["model"], "safe": True}}
        process = self._running()
        last = self._listen(process, request, heard) if self._send(request) else ""
        if last:
            if last == "done" and self._crash is not None:
                llama.switch_off(self._settings.home, llama.died(self._crash))
                self._crash = None
            return None
        self.close()
        died = process.wait()
        if gguf and -died in llama.CRASHES:
            self._crash = died
        return died

    def _listen(self, process: subprocess.Popen[str], request: dict[str, Any], heard: Heard) -> str:
        """Forward events up to the last, ``done`` or ``error``. Returns it; '' if the process ended before."""
        with self._state:
            cancelled = request["id"] in self._cancelled
        if cancelled:  # Canceled while the process was starting, before it could receive that.
            self._send({"op": "cancel", "id": request["id"]})
        for line in process.stdout or ():
            event = _event(line)
            if event.get("id") != request["id"]:
                continue
            kind = str(event.get("event"))
            self._spoken = self._spoken or kind == "token"
            heard(event)
            if kind in {"done", "error"}:
                return kind
        return ""

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        with (self._settings.home.logs / "chat.log").open("ab") as log_file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(self._entry), "chat"],
                cwd=self._settings.home.root,
                env=worker_env(self._settings, {HUB_TOKEN}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        return self._process

    def _send(self, message: dict[str, Any]) -> bool:
        process = self._process
        if process is None or process.stdin is None:
            return False
        try:
            with self._state:
                process.stdin.write(json.dumps(message) + "\n")
                process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def _kill_if_still_at(self, request_id: str) -> None:
        with self._state:
            process = self._process if self._current == request_id else None
        if process:
            process.kill()

    def _start_idle_timer(self) -> None:
        self._idle = threading.Timer(IDLE, self.release)
        self._idle.daemon = True
        self._idle.start()


def _event(line: str) -> dict[str, Any]:
    """Libraries print to standard output as well: everything but events goes to the log."""
    try:
        event = json.loads(line)
    except ValueError:
        log.info("chat process: %s", line.rstrip()[:500])
        return {}
    return event if isinstance(event, dict) else {}
