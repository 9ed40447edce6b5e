"""The worker's ``status.json``, and its inputs: ``control.json`` and SIGTERM."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import deque
from types import FrameType
from typing import Any

from core.job import JobState, JobStatus
from core.job_dir import JobDir, step_of
from core.process import this_process

HEARTBEAT = 1.0
"""Seconds between refreshes of ``status.json``."""
THROTTLE = 0.2
"""More frequent changes wait for the next heartbeat."""
RESERVE = 64 * 1024
"""Bytes reserved in the job's folder, so that the final status fits on a full disk."""

log = logging.getLogger("tunesmith")


class Stopped(Exception):
    """The job was stopped on request and has saved its state. The message says what was kept."""


class Status:
    """Holds the job's :class:`JobStatus`, writes it, and listens for a stop.

    A thread refreshes the file every second, independent of the main thread, so that a long step is not taken for a
    crash.

    Args:
        run: The job's directory.
    """

    def __init__(self, run: JobDir) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._now = threading.Event()
        self._ended = threading.Event()
        self._written = 0.0
        self._step_times: deque[float] = deque(maxlen=10)
        self._reserve = run.path / ".reserve"
        before, saved = run.read_status(), run.numbered()
        # A killed worker may have saved a checkpoint without reporting it; a warm-up's has no number.
        steps = [step_of(folder) for folder in saved[-1:]]
        if before and before.checkpoint_step is not None:
            steps.append(before.checkpoint_step)
        me = this_process()
        self.value = JobStatus(
            state=JobState.STARTING,
            pid=me.pid,
            pid_started=me.started,
            boot=me.boot,
            attempt=before.attempt + 1 if before else 1,
            message="Starting",
            notes=before.notes if before else (),
            checkpoint_step=max(steps, default=None),
        )

    def begin(self) -> None:
        """Write the first status, start the heartbeat, listen for SIGTERM."""
        self._write()
        self._set_aside()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    @property
    def stop_asked(self) -> bool:
        """Whether to finish the current step, save a checkpoint and end."""
        self._listen()
        return self._stop.is_set()

    @property
    def now_asked(self) -> bool:
        """Whether to end immediately, with the last checkpoint. Cheap: called for every token."""
        return self._now.is_set()

    def update(self, **changes: Any) -> None:
        """Change fields of the status. State and phase are written immediately, others at most five times a second."""
        with self._lock:
            if self._ended.is_set():  # The heartbeat may have received a stop while the job was ending.
                return
            before = self.value.word
            self.value = self.value.model_copy(update=changes)
            due = self.value.word != before or time.time() - self._written > THROTTLE
        if due:
            self._try_to_write()

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.value.notes:
            log.info("%s", text)
            self.update(notes=(*self.value.notes, text))

    def begin_phase(self, phase: str, message: str, *, step: int, max_steps: int) -> None:
        """Enter a phase that counts its own steps; '' if the job has only one."""
        self._step_times.clear()
        begun = {"step": step, "max_steps": max_steps, "seconds_per_step": 0.0}
        self.update(state=JobState.RUNNING, phase=phase, message=message, **begun)

    def stepped(self, step: int, seconds: float) -> None:
        """Record an optimizer step of the current phase, which took ``seconds``."""
        self._step_times.append(seconds)
        self.update(step=step, seconds_per_step=sum(self._step_times) / len(self._step_times))

    def end(
        self, state: JobState, *, message: str = "", error: str | None = None, error_field: str | None = None
    ) -> None:
        """Write the terminal state; nothing is written after it."""
        self._ended.set()
        self._reserve.unlink(missing_ok=True)
        with self._lock:
            last = {"state": state, "phase": "", "message": message, "error": error, "error_field": error_field or ""}
            self.value = self.value.model_copy(update=last)
        self._write(last=True)

    def _write(self, *, last: bool = False) -> None:
        with self._lock:
            if self._ended.is_set() and not last:
                return
            self.value = self.value.model_copy(update={"heartbeat": time.time()})
            self._run.write_status(self.value)
            self._written = time.time()

    def _try_to_write(self) -> None:
        try:
            self._write()
        except OSError as error:
            # A full disk. Writes that must not be lost raise; a status can wait.
            log.warning("Could not refresh the status: %s", error)

    def _set_aside(self) -> None:
        try:
            self._reserve.write_bytes(b"\0" * RESERVE)
        except OSError as error:
            log.warning("Could not reserve %d bytes for the last status: %s", RESERVE, error)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            self._listen()
            self._try_to_write()

    def _listen(self) -> None:
        control = self._run.read_control()
        if control.stop:
            self._stop.set()
        if control.stop and control.now:
            self._now.set()
        if self._stop.is_set() and self.value.state in _STOPPABLE:
            self.update(state=JobState.STOPPING, message="Finishing the step and saving a checkpoint")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()


_STOPPABLE = frozenset({JobState.STARTING, JobState.RUNNING})
