"""The only module that knows the file names inside a job's directory.

Web process and worker communicate only through these files, and each file has one writer:

=====================  ==============================  =====================================
file                   writer                          what it is
=====================  ==============================  =====================================
``config.json``        web, once                       the validated configuration
``control.json``       web                             requests to the worker
``status.json``        worker (write beside, rename)   :class:`core.job.JobStatus`
``given.jsonl``        web, once                       the prompts of an evaluation, where a user gave them
``metrics.jsonl``      worker, append only             one row per logged step
``completions.jsonl``  worker, append only             one group of completions per line
``worker.log``         worker                          everything it printed
``checkpoints/``       worker                          what resume needs
``adapter/``           worker                          the trained adapter
``environment.json``   worker                          versions and hardware of each attempt
``evaluation.json``    worker                          held-out answers before and after, compared
=====================  ==============================  =====================================

A reader takes only complete lines, so it never sees half a row; a restarted writer removes a torn last line before it
appends.

Any of these files may be damaged: empty, truncated, overwritten, deleted, replaced by a folder. That affects only its
job. Readers for pages (:func:`read_json`, :func:`checked_json`, :func:`read_lines`) return what can be
read, and :func:`damage_of` describes what is wrong. Files that are useful only as a whole, such as the rows
of a run, are read with :func:`whole_lines`.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeGuard, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.disk import disk_words
from core.errors import Damaged, NotFound, Unavailable
from core.job import Control, JobStatus, check_id
from core.text import json_line, whole

T = TypeVar("T")
JsonRow = dict[str, Any]
Check = Callable[[JsonRow], TypeGuard[T]]
"""Whether an object is a row of a kind of file: see :mod:`core.job_rows`."""


def is_any(_row: JsonRow) -> TypeGuard[JsonRow]:
    """For files whose rows may be any objects."""
    return True


LONGEST_LINE = 1 << 24
"""Bytes. A file without a line break for this long contains no rows."""


class JobDir:
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
        """The training and held-out rows, as they were when the run started."""
        self.environment = path / "environment.json"
        """Versions and hardware of each attempt; for the reproduction bundle."""
        self.given = path / "given.jsonl"
        """An evaluation's prompts, if they came with the request."""
        self.evaluation = path / "evaluation.json"
        """A run's :class:`core.evaluation.RunEvaluation`, written when it has completed."""
        self.rollout = path / ".rollout"
        """Files for the generating process; removed when the worker ends."""
        self.files = path / "files"
        """An export's finished files, complete or absent; they appear by a rename."""
        self.result = path / "result.json"
        """What an export made: ``files`` as :class:`core.export.ExportedFile`, ``commands``."""

    @property
    def made(self) -> bool:
        """Whether an export's files are complete: the document that lists them is written after they have appeared."""
        return bool((read_json(self.result) or {}).get("files")) and self.files.is_dir()

    @classmethod
    def open(cls, parent: Path, job_id: str) -> JobDir:
        """The existing directory ``parent/job_id``.

        Raises:
            InvalidInput: The id is malformed.
            NotFound: There is no such directory.
        """
        path = parent / check_id(job_id)
        if not path.is_dir() or path.resolve().parent != parent.resolve():
            raise NotFound(f"There is no session {job_id}. See the list of sessions.")
        return cls(path)

    @classmethod
    def known(cls, parent: Path, job_id: str) -> JobDir:
        """Like :meth:`open`, but for a directory that may have been deleted; then it reads as empty."""
        try:
            return cls.open(parent, job_id)
        except NotFound:
            return cls(parent / ".deleted" / check_id(job_id))

    def numbered(self, prefix: str = "checkpoint") -> list[Path]:
        """The complete checkpoints ``<prefix>-<step>``, by step."""
        try:
            found = list(self.checkpoints.iterdir())
        except OSError:  # none was saved yet, or the folder cannot be read
            return []
        return sorted((path for path in found if re.fullmatch(rf"{prefix}-\d+", path.name)), key=step_of)

    def superseded(self, keep: int = 1) -> list[Path]:
        """All but the newest ``keep`` checkpoints, and those whose deletion was interrupted."""
        return [*self.checkpoints.glob(".checkpoint-*"), *self.numbered()[:-keep]]

    def read_config(self) -> dict[str, Any]:
        return read_json(self.config) or {}

    def whole_config(self) -> dict[str, Any]:
        """The configuration, for a worker, which cannot run without it.

        Raises:
            Damaged: It is missing or cannot be read.
        """
        config = read_json(self.config)
        if not config:
            raise Damaged("config.json is missing or damaged, so this job cannot run. Start a new one.")
        return config

    def read_status(self) -> JobStatus | None:
        """The worker's latest status; None before the first one, and if it cannot be read."""
        return read_model(self.status, JobStatus)

    def read_control(self) -> Control:
        return read_model(self.control, Control) or Control()

    def write_status(self, status: JobStatus) -> None:
        write_json(self.status, status.model_dump(mode="json"))

    def write_control(self, control: Control) -> None:
        write_json(self.control, control.model_dump(mode="json"))


@contextmanager
def new_folder(path: Path) -> Iterator[JobDir]:
    """Create a job's directory, and remove it again if its files could not be written.

    Raises:
        FileExistsError: It already exists; it is unchanged.
    """
    path.mkdir(parents=True)
    try:
        yield JobDir(path)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def remove_folder(path: Path, what: str) -> None:
    """Delete a job's or dataset's directory and its contents. It is not an error if it does not exist.

    Args:
        path: The directory. If it is a link or a file, only that is deleted, not the link's target.
        what: Its name for users, to begin a sentence.

    Raises:
        Unavailable: Some of it remains, with the reason.
    """
    reasons: list[BaseException] = []
    try:
        if path.is_symlink() or path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path, onerror=lambda _do, _path, info: reasons.append(info[1]))
    except OSError as error:
        reasons.append(error)
    if path.exists() or path.is_symlink():
        why = next((message for error in reasons if (message := disk_words(error))), "")
        raise Unavailable(f"{what} could not be deleted completely and is still in the list. {why}".strip())


def remove_checkpoint(path: Path) -> None:
    """Delete a checkpoint. It is renamed first: under its own name it is complete or absent, even after kill -9.

    Raises:
        Unavailable: Something of it stays, with the reason.
    """
    going = path if path.name.startswith(".") else path.rename(path.with_name(f".{path.name}"))
    remove_folder(going, "The checkpoint")


# --- documents ---


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if the file is missing or damaged."""
    try:
        data = _decoded(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def checked_json(path: Path, kind: Any) -> dict[str, Any] | None:
    """Like :func:`read_json`, but None too if the object lacks the fields of ``kind``, a model or dataclass."""
    data = read_json(path)
    return data if data is not None and _fits(data, kind) else None


def read_model(path: Path, kind: type[T]) -> T | None:
    """A JSON object as ``kind``, or None if the file is missing or damaged."""
    data = read_json(path)
    try:
        return None if data is None else _adapter(kind).validate_python(data)
    except ValidationError:
        return None


def _fits(data: JsonRow, kind: Any) -> bool:
    try:
        _adapter(kind).validate_python(data)
    except ValidationError:
        return False
    return True


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def write_json(path: Path, data: Any, *, private: bool = False) -> None:
    """Write atomically (temporary file and rename): readers and crashes see the old file or the new one.

    A request and the watcher may write the same file at once, so each thread has its own name beside it.

    Args:
        path: The file.
        data: JSON data.
        private: Whether only the file's owner may read it (mode 0600).
    """
    mode = 0o600 if private else 0o666
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    encoded = whole(json.dumps(data, ensure_ascii=False, indent=1)).encode()
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _decoded(data: bytes) -> Any:
    """Decoded JSON. NaN and infinity, which JSON does not allow, become None; lone surrogates become \\ufffd.

    Raises:
        ValueError: It is not JSON.
    """
    text = data.decode()
    if "\\u" in text:
        text = _HALF.sub(_whole_escape, text)
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


_DECODER = json.JSONDecoder(parse_constant=lambda _name: None, parse_float=_finite)
_HALF = re.compile(r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def _whole_escape(found: re.Match[str]) -> str:
    return "\\ufffd" if len(found.group()) == 6 else found.group()


# --- rows ---


class Lines(NamedTuple, Generic[T]):
    """What :func:`read_lines` found.

    Attributes:
        rows: Those that could be read.
        offset: Byte offset of the end of the last complete line.
        bad: Numbers of the unreadable lines, from 1 at the first line read.
    """

    rows: list[T]
    offset: int
    bad: list[int]


def read_lines(path: Path, offset: int = 0, limit: int = LONGEST_LINE, *, fits: Check[T]) -> Lines[T]:
    """Complete JSON lines from a byte offset on; lines that are not JSON objects are skipped.

    Args:
        path: A ``.jsonl`` file; one that is missing or cannot be opened is empty.
        offset: Bytes already read; always at the start of a line.
        limit: Maximum bytes to read in one call; -1 for all.
        fits: Whether an object is a row of this file.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            chunk = file.read(limit)
    except OSError:
        return Lines([], offset, [])
    end = chunk.rfind(b"\n") + 1
    if not end and len(chunk) >= LONGEST_LINE:
        return Lines([], offset + len(chunk), [1])
    rows, bad = [], []
    for number, line in enumerate(chunk[:end].split(b"\n")[:-1], 1):
        if (row := read_row(line, fits)) is not None:
            rows.append(row)
        elif line.strip():
            bad.append(number)
    return Lines(rows, offset + end, bad)


def read_row(line: bytes, fits: Check[T]) -> T | None:
    """One line of a ``.jsonl`` file, or None if it is not a row."""
    try:
        row = _decoded(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and fits(row) else None


def iter_lines(path: Path) -> Iterator[JsonRow]:
    """Every readable complete line of a file, with any object."""
    return iter_rows(path, is_any)


def iter_rows(path: Path, fits: Check[T]) -> Iterator[T]:
    """Iterate over the complete lines of a file that are rows of its kind."""
    offset = 0
    while True:
        rows, after, _ = read_lines(path, offset, fits=fits)
        if after == offset:
            return
        yield from rows
        offset = after


def whole_lines(path: Path) -> list[JsonRow]:
    """Every row of a file that is useful only if it is complete.

    Raises:
        Damaged: A row is missing or cannot be read; the message names it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read: {error.strerror or error}.") from None
    rows = []
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            row = read_row(line, is_any)
            if row is None:
                raise Damaged(f"{path.name} is damaged at row {number}.")
            rows.append(row)
    return rows


class JsonlWriter:
    """Appends rows, numbered from 1 over the file's whole lifetime.

    Each row is one ``write`` of one line. ``row`` is added to it. After a crash a torn last line is removed: no
    reader has seen it.
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

    def append(self, row: Mapping[str, Any]) -> JsonRow:
        """Append one row and return it, with its number."""
        numbered = {"row": self.count + 1, **row}
        self._file.write(json_line(numbered, allow_nan=False))
        self._file.flush()
        self.count += 1
        return numbered

    def close(self) -> None:
        self._file.close()
