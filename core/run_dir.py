"""The only module that knows the file names inside a job's directory.

Web process and worker share nothing but these files, and each file has one writer:

=====================  ==============================  =====================================
file                   writer                          what it is
=====================  ==============================  =====================================
``config.json``        web, once                       the validated configuration
``control.json``       web                             what is asked of the worker
``status.json``        worker (write beside, rename)   :class:`core.run.JobStatus`
``given.jsonl``        web, once                       the prompts of an evaluation, where a person gave them
``metrics.jsonl``      worker, append only             a row a log step
``completions.jsonl``  worker, append only             a group of completions a line
``worker.log``         worker                          everything it printed
``checkpoints/``       worker                          what resume needs
``adapter/``           worker                          the trained adapter
``environment.json``   worker                          versions and hardware of each attempt
``evaluation.json``    worker                          held-out answers before and after, compared
=====================  ==============================  =====================================

A reader takes complete lines only, so it never sees half a row; a writer that starts again cuts a
torn last line off before it appends.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import NotFound
from core.run import Control, JobStatus, check_id
from core.text import json_line


class RunDir:
    """One job's directory, below ``outputs/`` or ``exports/``.

    Args:
        path: The directory itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.control = path / "control.json"
        self.status = path / "status.json"
        self.metrics = path / "metrics.jsonl"
        self.completions = path / "completions.jsonl"
        self.log = path / "worker.log"
        self.checkpoints = path / "checkpoints"
        self.adapter = path / "adapter"
        self.prepared = path / "prepared"
        """The rows this run trains on and holds out, as they were when it started."""
        self.environment = path / "environment.json"
        """Versions and hardware of each attempt; for the reproduction bundle."""
        self.given = path / "given.jsonl"
        """An evaluation's prompts, where they came with the request."""
        self.evaluation = path / "evaluation.json"
        """A training's :class:`core.evaluation.RunEvaluation`; there once it has completed."""
        self.rollout = path / ".rollout"
        """What the worker hands to the process that writes answers; gone when the worker ends."""
        self.files = path / "files"
        """An export's finished files; they appear by one rename, whole or not at all."""
        self.result = path / "result.json"
        """What an export made: ``files`` as :class:`core.export.ExportedFile`, ``commands``."""

    @classmethod
    def open(cls, parent: Path, job_id: str) -> RunDir:
        """The existing directory ``parent/job_id``.

        Raises:
            InvalidInput: The id is malformed.
            NotFound: There is no such directory.
        """
        path = parent / check_id(job_id)
        if not path.is_dir() or path.resolve().parent != parent.resolve():
            raise NotFound(f"There is no session {job_id}. The list of sessions shows what there is.")
        return cls(path)

    def numbered(self, prefix: str = "checkpoint") -> list[Path]:
        """The complete checkpoints ``<prefix>-<step>``, by step."""
        found = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return sorted((path for path in found if re.fullmatch(rf"{prefix}-\d+", path.name)), key=step_of)

    def read_config(self) -> dict[str, Any]:
        return read_json(self.config) or {}

    def read_status(self) -> JobStatus | None:
        """The worker's latest word, or None before the first."""
        data = read_json(self.status)
        return JobStatus.model_validate(data) if data else None

    def read_control(self) -> Control:
        return Control.model_validate(read_json(self.control) or {})

    def write_status(self, status: JobStatus) -> None:
        write_json(self.status, status.model_dump(mode="json"))

    def write_control(self, control: Control) -> None:
        write_json(self.control, control.model_dump(mode="json"))


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where the file is missing. Files here are replaced whole, never torn."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return data if isinstance(data, dict) else None


def write_json(path: Path, data: Any) -> None:
    """Write beside and rename, so that a reader or a crash meets the old file or the new one.

    A request and the watcher may write the same file at once, so each thread has a name of its own beside it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with beside.open("w", encoding="utf-8", errors="replace") as file:
            json.dump(data, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_lines(path: Path, offset: int = 0, limit: int = 1 << 24) -> tuple[list[dict[str, Any]], int]:
    """Complete JSON lines from a byte offset on.

    Args:
        path: A ``.jsonl`` file; a missing one is empty.
        offset: Bytes already read; always at the start of a line.
        limit: Most bytes to read in one call.

    Returns:
        The rows, and the offset after the last complete line.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            chunk = file.read(limit)
    except FileNotFoundError:
        return [], offset
    end = chunk.rfind(b"\n") + 1
    return [json.loads(line) for line in chunk[:end].splitlines() if line.strip()], offset + end


def iter_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every complete JSON line of a file, read as it goes."""
    offset = 0
    while True:
        rows, after = read_lines(path, offset)
        if after == offset:
            return
        yield from rows
        offset = after


class JsonlWriter:
    """Appends rows, numbering them from 1 over the file's whole life.

    Each row is one ``write`` of one line. ``row`` is added to it. After a crash a torn last line is
    cut off: no reader has seen it.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        self.count = self._mend(path)

    @staticmethod
    def _mend(path: Path) -> int:
        with path.open("r+b") as file:
            data = file.read()
            whole = data.rfind(b"\n") + 1
            if whole != len(data):
                file.truncate(whole)
        return data[:whole].count(b"\n")

    def append(self, row: dict[str, Any]) -> dict[str, Any]:
        """Append one row and return it with its number."""
        numbered = {"row": self.count + 1, **row}
        self._file.write(json_line(numbered, allow_nan=False))
        self._file.flush()
        self.count += 1
        return numbered

    def close(self) -> None:
        self._file.close()
