"""Background preparation: it takes seconds or, for a large Hugging Face dataset, many minutes.

There is one preparation at a time per dataset and one for the setup; a page polls it and can cancel it.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import TunesmithError
from core.job_dir import read_json
from services.datasets.library import Library

PATIENCE = 2.0
"""Seconds that a start waits, so that a small dataset needs no progress page."""
DRAFT = ""
"""The key of the new run's dataset; an upload's is its id."""


@dataclass(frozen=True)
class Preparing:
    """The status of a preparation.

    Attributes:
        under_way: Whether it is in progress.
        message: The current operation.
        seconds: Seconds since it began.
        error: Why it ended without a report; empty otherwise.
    """

    under_way: bool
    message: str
    seconds: int
    error: str


@dataclass
class _Work:
    folder: tempfile.TemporaryDirectory[str] = field(default_factory=lambda: tempfile.TemporaryDirectory("tunesmith"))
    began: float = field(default_factory=time.monotonic)
    process: subprocess.Popen[str] | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    stopped: bool = False
    error: str = ""

    @property
    def progress(self) -> Path:
        return Path(self.folder.name) / "progress.json"


class Preparations:
    """Operations on preparations.

    Args:
        library: Does the work and stores the reports.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._work: dict[str, _Work] = {}
        self._lock = threading.Lock()

    def start(self, key: str, config: dict[str, Any]) -> None:
        """Start a preparation, unless one for this dataset is in progress, and wait a moment for it to finish."""
        with self._lock:
            work = self._work.get(key)
            if work is None or work.ended.is_set():
                work = self._work[key] = _Work()
                threading.Thread(target=self._run, args=(work, config, key == DRAFT), daemon=True).start()
        work.ended.wait(PATIENCE)

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return not all(work.ended.is_set() for work in list(self._work.values()))

    def look(self, key: str) -> Preparing | None:
        """Its status, or None if there is none. A failure is reported until the next start."""
        work = self._work.get(key)
        if work is None:
            return None
        ended = work.ended.is_set()
        if ended and not work.error:
            return None
        message = str((read_json(work.progress) or {}).get("message") or "Starting")
        return Preparing(not ended, message, int(time.monotonic() - work.began), work.error)

    def stop(self, key: str) -> None:
        """Stop it. The previous report is kept, and nothing unfinished is left behind."""
        work = self._work.get(key)
        if work and not work.ended.is_set():
            work.stopped = True
            if work.process:
                work.process.kill()
            work.ended.wait(PATIENCE)

    def _run(self, work: _Work, config: dict[str, Any], draft: bool) -> None:
        def started(process: subprocess.Popen[str]) -> None:
            work.process = process
            if work.stopped:  # Stopped before there was a process to end.
                process.kill()

        try:
            self._library.prepare(config, draft=draft, progress=work.progress, started=started, timeout=None)
        except TunesmithError as error:
            work.error = "" if work.stopped else error.message
        except Exception as error:  # noqa: BLE001  # a thread's end: whatever it was is said on the page
            work.error = f"Preparation failed: {type(error).__name__}: {error}"
        finally:
            work.ended.set()
