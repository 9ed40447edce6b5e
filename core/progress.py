"""Progress of small separate processes, in a ``progress.json`` that is written atomically.

Downloads, reading of large files and deliveries are such processes; each adds its own counters. Runs have a
``status.json`` instead (:class:`core.job.JobStatus`).
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import psutil
from pydantic import BaseModel, ConfigDict, Field

from core.job import LARGEST_PID
from core.job_dir import read_model, write_json
from core.process import Identity, find, this_process

PROGRESS = "progress.json"
EVERY_SECONDS = 0.3


class Progress(BaseModel):
    """The progress of such a process.

    Attributes:
        state: ``working`` while the process runs; any other value is final.
        message: The current operation.
        error: What went wrong and what to do.
        pid, pid_started, boot: The process, its start in seconds since the epoch as psutil gives it, and the boot
            that it belongs to (:func:`core.process.boot`).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: str
    message: str = ""
    error: str = ""
    pid: int = Field(0, ge=0, le=LARGEST_PID)
    pid_started: float = 0.0
    boot: str = ""

    def by(self, process: Identity) -> Self:
        """The same, with the identity of the process that writes it."""
        return self.model_copy(update={"pid": process.pid, "pid_started": process.started, "boot": process.boot})


P = TypeVar("P", bound=Progress)


class Reporter(Generic[P]):
    """Writes the ``progress.json`` of this process, at a limited rate.

    Args:
        folder: Its folder.
        first: Written immediately; the process identity is added.
    """

    def __init__(self, folder: Path, first: P) -> None:
        self._folder = folder
        self.now = first.by(this_process())
        self._written = self.now
        write_progress(folder, self.now)
        self._closed = threading.Event()
        self._beat = threading.Thread(target=self._write_on, name="progress", daemon=True)
        self._beat.start()

    def say(self, **changes: Any) -> None:
        """Record a change. It is written within a moment, even if no other change follows."""
        self.now = self.now.model_copy(update=changes)

    def end(self, state: str, **changes: Any) -> None:
        """Write the final state."""
        self.close()
        write_progress(self._folder, self.now.model_copy(update={"state": state, **changes}))

    def close(self) -> None:
        """Stop writing."""
        self._closed.set()
        self._beat.join()

    def _write_on(self) -> None:
        while not self._closed.wait(EVERY_SECONDS):
            now = self.now
            if now != self._written:
                with suppress(OSError):  # disk full: the next beat retries
                    write_progress(self._folder, now)
                    self._written = now


def read(folder: Path, kind: type[P], vanished: str) -> P | None:
    """The progress, or None if there is none.

    Args:
        folder: Location of its ``progress.json``.
        kind: What to read it as.
        vanished: Error message for a process that ended without writing a final state.
    """
    progress = last_word(folder, kind)
    if progress is None or progress.state != "working" or process_of(progress):
        return progress
    # Read again: it may have written its final state and ended in between.
    progress = last_word(folder, kind)
    if progress is None or progress.state != "working":
        return progress
    return progress.model_copy(update={"state": "failed", "error": vanished})


def last_word(folder: Path, kind: type[P]) -> P | None:
    """The latest progress, whether or not its process is still running."""
    return read_model(folder / PROGRESS, kind)


def write_progress(folder: Path, progress: Progress) -> None:
    """Write atomically."""
    write_json(folder / PROGRESS, progress.model_dump(mode="json"))


def process_of(progress: Progress) -> psutil.Process | None:
    """The process that wrote it, if it is still running; the process id alone could have been reused."""
    return find(Identity(progress.pid, progress.pid_started, progress.boot))


def stop_process(folder: Path, progress: P, message: str = "") -> None:
    """Terminate the process, then kill it. If it had ended by itself, its final state is kept."""
    if process := process_of(progress):
        try:
            process.terminate()
            process.wait(5)
        except psutil.TimeoutExpired:
            process.kill()
        except psutil.Error:  # already gone, or not ours to end
            pass
    last = last_word(folder, type(progress))
    if last and last.state == "working":
        write_progress(folder, last.model_copy(update={"state": "stopped", "message": message or last.message}))
