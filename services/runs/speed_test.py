"""Has this machine's speed measured once, by a process of its own, while no job runs.

Not part of a request or the start: the server is up before it begins. It has the lowest priority and is ended as soon
as a job starts; then it begins again when none is left. ``TUNESMITH_SPEED_TEST=0`` in the environment turns it off, as
in tests.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from core import speed
from core.errors import NotFound
from core.model import DEMO_MODEL, Device, local_folder
from core.settings import Settings
from services.jobs.launcher import ENTRY, worker_env

SWITCH = "TUNESMITH_SPEED_TEST"
PAUSE = 5.0
"""Seconds after the start, and between two looks whether it is possible now."""
GRACE = 3.0
"""Seconds that it has to remove its files when it is to end."""
MEMORY = 3 << 30
"""Bytes that must be free."""

log = logging.getLogger(__name__)


class SpeedTest:
    """Starts and ends the process.

    Args:
        settings: For its environment.
        device: What a run would use. Only a processor is measured.
        busy: Whether a job runs or waits.
        command: The program.
    """

    def __init__(
        self,
        settings: Settings,
        device: Callable[[], Device],
        busy: Callable[[], bool],
        command: tuple[str, ...] = (sys.executable, "-P", str(ENTRY), "speed"),
    ) -> None:
        self._settings, self._device, self._busy, self._command = settings, device, busy, command
        self._lock = threading.Lock()
        self._closing, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Measure in the background, if the speed is not known yet."""
        if os.environ.get(SWITCH) != "0":
            self._thread = threading.Thread(target=self._loop, name="speed", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the process, if there is one: a job starts."""
        with self._lock:
            self._stop.set()

    def close(self) -> None:
        """End for good."""
        self._closing.set()
        self.stop()
        if self._thread:
            self._thread.join(2 * GRACE)

    def _loop(self) -> None:
        while not self._closing.wait(PAUSE):
            device = self._device()
            if device.kind != "cpu" or speed.read(self._settings.home) or not self._installed():
                return
            if device.free > MEMORY and self._measured():
                return

    def _installed(self) -> bool:
        try:
            return local_folder(DEMO_MODEL, self._settings.home) is not None
        except NotFound:
            return False

    def _measured(self) -> bool:
        """Whether it ended by itself, also without a result: that would be no better the next time."""
        # A job that starts is in the database first and calls stop() then, so it is noticed here or there.
        with self._lock:
            if self._busy():
                return False
            self._stop.clear()
            process = subprocess.Popen(
                self._command,
                cwd=self._settings.home.root,
                env=worker_env(self._settings, ()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        while process.poll() is None:
            if self._stop.wait(0.5) or self._closing.is_set():
                _end(process)
                return False
        if process.returncode:
            log.warning("the speed of this machine could not be measured (exit code %d)", process.returncode)
        return True


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            return
