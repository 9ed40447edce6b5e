"""Cached contents of job files for pages, and descriptions of any damage."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from core.job import ENDED, JobState, JobStatus
from core.job_dir import Check, JobDir, Lines, checked_json, read_lines
from services.jobs.database import Job

DELETED = "Its folder was deleted, so only basic information is left. You can delete the entry."
_SHOWN = "the readable part is shown"


T = TypeVar("T")


class Readings(Generic[T]):
    """A cache of recently read ``.jsonl`` files.

    Args:
        fits: Whether a row is valid.
    """

    KEEP = 8

    def __init__(self, fits: Check[T]) -> None:
        self._fits = fits
        self._read: OrderedDict[Path, tuple[tuple[int, ...], Lines[T]]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, path: Path) -> Lines[T]:
        """The whole file, read again after changes."""
        stamp = _stamp(path)
        with self._lock:
            kept = self._read.get(path)
        if kept is None or kept[0] != stamp:
            kept = (stamp, read_lines(path, limit=-1, fits=self._fits))
        with self._lock:
            self._read[path] = kept
            self._read.move_to_end(path)
            while len(self._read) > self.KEEP:
                self._read.popitem(last=False)
        return kept[1]


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def damage(job: Job, run_dir: JobDir, **rows: Sequence[int]) -> list[str]:
    """Damage to a job's files, one sentence each; empty if there is none.

    Args:
        job: From the database.
        run_dir: Its directory.
        rows: For ``metrics`` and ``completions``, the lines that could not be read.
    """
    if not run_dir.path.is_dir():
        return [DELETED]
    found = [message for path, kind, lost in _documents(job, run_dir) if (message := _document(path, kind, lost))]
    ended = job.job_state in ENDED
    found += [_rows(path, rows.get(path.stem, ()), ended=ended) for path in (run_dir.metrics, run_dir.completions)]
    found.append(_unreadable(run_dir.log))
    if job.of_kind.has_charts and job.step and not run_dir.metrics.exists():
        found.append("metrics.jsonl was deleted, so there are no charts.")
    return [message for message in found if message]


def _documents(job: Job, run_dir: JobDir) -> list[tuple[Path, Any, str]]:
    """Each JSON file that a job has or should have, and what is unavailable without it."""
    found: list[tuple[Path, Any, str]] = [(run_dir.config, dict, "it cannot be resumed or exported")]
    found.append((run_dir.status, JobStatus, ""))
    demanded = {run_dir.config}
    for document in job.of_kind.documents:
        path = getattr(run_dir, document.file)
        if not document.demanded:
            found.append((path, document.model, document.lost))
        elif job.job_state is JobState.COMPLETED:
            found.append((path, document.model, document.lost))
            demanded.add(path)
    return [entry for entry in found if entry[0] in demanded or entry[0].exists()]


def _document(path: Path, kind: Any, lost: str) -> str:
    if checked_json(path, kind) is not None:
        return ""
    what = "is damaged" if path.exists() else "was deleted"
    return f"{path.name} {what}{f', so {lost}' if lost else ''}."


def _rows(path: Path, bad: Sequence[int], *, ended: bool) -> str:
    if unreadable := _unreadable(path):
        return unreadable
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        return f"{path.name} is damaged at row {bad[0]}{more}; {_SHOWN}."
    return f"{path.name} ends in the middle of a row; {_SHOWN}." if ended and _torn(path) else ""


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb"):
            return ""
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path.name} cannot be read: {(error.strerror or 'unknown error').lower()}."


def _torn(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if not file.seek(0, 2):
                return False
            file.seek(-1, 2)
            return file.read(1) != b"\n"
    except OSError:
        return False
