"""What a small process of its own says of how far it is, in a ``progress.json`` that is written beside and renamed.

Downloads, readings of large files and deliveries are such processes; each adds what it counts. Runs have their
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
    """What every such process says.

    Attributes:
        state: ``working`` while the process is at it; anything else is its last word.
        message: What it does now.
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
        """The same, said by a process."""
        return self.model_copy(update={"pid": process.pid, "pid_started": process.started, "boot": process.boot})


P = TypeVar("P", bound=Progress)


class Reporter(Generic[P]):
    """Writes the ``progress.json`` of this process, not more often than a person can read.

    Args:
        folder: Where it goes.
        first: What is said at once; the process is filled in.
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
        """Note what changed; it is written within a moment, also where nothing follows for long."""
        self.now = self.now.model_copy(update=changes)

    def end(self, state: str, **changes: Any) -> None:
        """Write the last word."""
        self.close()
        write_progress(self._folder, self.now.model_copy(update={"state": state, **changes}))

    def close(self) -> None:
        """Write nothing more."""
        self._closed.set()
        self._beat.join()

    def _write_on(self) -> None:
        while not self._closed.wait(EVERY_SECONDS):
            now = self.now
            if now != self._written:
                with suppress(OSError):  # a full disk: the next beat tries again
                    write_progress(self._folder, now)
                    self._written = now


def read(folder: Path, kind: type[P], vanished: str) -> P | None:
    """How far it is, or None where nothing was said.

    Args:
        folder: Where its ``progress.json`` lies.
        kind: What to read it as.
        vanished: The error of a process that ended without a last word.
    """
    progress = last_word(folder, kind)
    if progress is None or progress.state != "working" or process_of(progress):
        return progress
    # Once more: it may have said its last word, and ended, between the two looks.
    progress = last_word(folder, kind)
    if progress is None or progress.state != "working":
        return progress
    return progress.model_copy(update={"state": "failed", "error": vanished})


def last_word(folder: Path, kind: type[P]) -> P | None:
    """What was written last, whether or not its process is still there."""
    return read_model(folder / PROGRESS, kind)


def write_progress(folder: Path, progress: Progress) -> None:
    """Beside and renamed."""
    write_json(folder / PROGRESS, progress.model_dump(mode="json"))


def process_of(progress: Progress) -> psutil.Process | None:
    """The process that says so, where it is still there: a number alone may be given to a stranger."""
    return find(Identity(progress.pid, progress.pid_started, progress.boot))


def stop_process(folder: Path, progress: P, message: str = "") -> None:
    """End the process, gently and then not; what it said at last stands where it had ended by itself."""
    if process := process_of(progress):
        try:
            process.terminate()
            process.wait(5)
        except psutil.TimeoutExpired:
            process.kill()
        except psutil.Error:  # gone by itself, or not ours to end
            pass
    last = last_word(folder, type(progress))
    if last and last.state == "working":
        write_progress(folder, last.model_copy(update={"state": "stopped", "message": message or last.message}))
