"""The only module that knows the file names inside a job's directory.

Web process and worker communicate only through these files, and each file has one writer:

=====================  ==============================  =====================================
file                   writer                          what it is
=====================  ==============================  =====================================
``config.json``        web, once                       the validated configuration
``control.json``       web                             requests to the worker
``status.json``        worker (temporary file, rename) :class:`core.job.JobStatus`
``given.jsonl``        web, once                       the prompts of an evaluation, if the user supplied them
``metrics.jsonl``      worker, append only             one row per logged step
``completions.jsonl``  worker, append only             one group of completions per line
``worker.log``         worker                          its output
``checkpoints/``       worker                          the state to resume from
``adapter/``           worker                          the trained adapter
``model/``             worker                          the trained model, if every weight is trained
``start.json``         worker, once                    the earlier run that this one went on from
``start/``             worker, once                    the adapter that this run went on with, as it was then
``base/``              worker, once                    the base model, if it is an earlier run's result
``environment.json``   worker                          versions and hardware of each attempt
``evaluation.json``    worker                          held-out answers before and after, compared
``reward_report.json`` worker                          what a reward model's scores are worth
``scored/``            web                             files of answers that a reward model has scored
``held_out.jsonl``     worker, append only             the result of each held-out row, one evaluation per line
``kept.json``          worker (temporary file, rename) the best evaluation, and whether the run ended early
=====================  ==============================  =====================================

Readers take only complete lines, so they never see a partial row. A restarted writer removes an incomplete last line
before it appends.

Any of these files may be damaged: empty, truncated, overwritten, deleted, or replaced by a folder. This affects only
its job. Readers for pages (:func:`read_json`, :func:`checked_json`, :func:`read_lines`) return what is readable, and
:func:`services.jobs.readings.damage` describes the damage. Files that are useful only if complete, such as a run's
rows, are read with :func:`whole_lines`.
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
from core.kept import Kept
from core.text import json_line, whole

T = TypeVar("T")
JsonRow = dict[str, Any]
Check = Callable[[JsonRow], TypeGuard[T]]
"""Checks whether an object is a row of a certain file: see :mod:`core.job_rows`."""


def is_any(_row: JsonRow) -> TypeGuard[JsonRow]:
    """Accept any object as a row."""
    return True


LONGEST_LINE = 1 << 24
"""Maximum bytes of a line. A file with a longer one is treated as damaged."""


class JobDir:
    """A job's directory, in ``outputs/`` or ``exports/``.

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
        self.model = path / "model"
        """The trained model of a run that trains every weight: safetensors, configuration and tokenizer."""
        self.start_facts = path / "start.json"
        """A :class:`core.start.Start`, written once ``start`` and ``base`` are complete."""
        self.start = path / "start"
        """The adapter of an earlier run that this run went on training, as it was at the start."""
        self.base = path / "base"
        """The base model of a run that went on from an earlier run's whole model."""
        self.prepared = path / "prepared"
        """The training and held-out rows, as prepared when the run started."""
        self.environment = path / "environment.json"
        """Versions and hardware of each attempt, for the reproduction bundle."""
        self.given = path / "given.jsonl"
        """An evaluation's prompts, if the request contained them."""
        self.evaluation = path / "evaluation.json"
        """A run's :class:`core.evaluation.RunEvaluation`, written when the run completes."""
        self.reward_report = path / "reward_report.json"
        """A reward model's :class:`core.reward_report.RewardReport`, written when its run completes."""
        self.scored = path / "scored"
        """Files of answers that a reward model has scored, a :class:`services.runs.score_files.ScoredFile` each."""
        self.held_out = path / "held_out.jsonl"
        """The results of single held-out rows, from which the intervals of differences are computed."""
        self.kept = path / "kept.json"
        """A run's :class:`core.kept.Kept`, if it keeps its best checkpoint or may end early."""
        self.rollout = path / ".rollout"
        """Files for the generation process, removed when the worker ends."""
        self.files = path / "files"
        """An export's finished files: complete or absent, because the folder is renamed into place."""
        self.result = path / "result.json"
        """An export's result: ``files`` as :class:`core.export.ExportedFile`, and ``commands``."""

    @property
    def made(self) -> bool:
        """Whether an export's files are complete. The result that lists them is written last."""
        return bool((read_json(self.result) or {}).get("files")) and self.files.is_dir()

    @classmethod
    def open(cls, parent: Path, job_id: str) -> JobDir:
        """Open the existing directory ``parent/job_id``.

        Raises:
            InvalidInput: The id is malformed.
            NotFound: The directory does not exist.
        """
        path = parent / check_id(job_id)
        if not path.is_dir() or path.resolve().parent != parent.resolve():
            raise NotFound(f"There is no session {job_id}. See the list of sessions.")
        return cls(path)

    @classmethod
    def known(cls, parent: Path, job_id: str) -> JobDir:
        """Like :meth:`open`, but a deleted directory is treated as empty."""
        try:
            return cls.open(parent, job_id)
        except NotFound:
            return cls(parent / ".deleted" / check_id(job_id))

    def numbered(self, prefix: str = "checkpoint") -> list[Path]:
        """Return the complete checkpoints ``<prefix>-<step>``, sorted by step."""
        try:
            found = list(self.checkpoints.iterdir())
        except OSError:  # no checkpoint yet, or the folder is unreadable
            return []
        return sorted((path for path in found if re.fullmatch(rf"{prefix}-\d+", path.name)), key=step_of)

    def superseded(self, keep: int = 1) -> list[Path]:
        """Return all but the newest ``keep`` checkpoints and a best one, and any whose deletion was interrupted."""
        kept = read_model(self.kept, Kept)
        best = kept.step if kept and kept.published else None
        older = (path for path in self.numbered()[:-keep] if step_of(path) != best)
        return [*self.checkpoints.glob(".checkpoint-*"), *older]

    def read_config(self) -> dict[str, Any]:
        return read_json(self.config) or {}

    def whole_config(self) -> dict[str, Any]:
        """Read the configuration for a worker, which needs it to run.

        Raises:
            Damaged: The configuration is missing or unreadable.
        """
        config = read_json(self.config)
        if not config:
            raise Damaged("config.json is missing or damaged, so this job cannot run. Start a new one.")
        return config

    def read_status(self) -> JobStatus | None:
        """Read the worker's latest status. None before the first one, or if it is unreadable."""
        return read_model(self.status, JobStatus)

    def read_control(self) -> Control:
        return read_model(self.control, Control) or Control()

    def write_status(self, status: JobStatus) -> None:
        write_json(self.status, status.model_dump(mode="json"))

    def write_control(self, control: Control) -> None:
        write_json(self.control, control.model_dump(mode="json"))


@contextmanager
def new_folder(path: Path) -> Iterator[JobDir]:
    """Create a job's directory, and remove it if the block raises.

    Raises:
        FileExistsError: The directory already exists. It is left unchanged.
    """
    path.mkdir(parents=True)
    try:
        yield JobDir(path)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint."""
    return int(checkpoint.name.rpartition("-")[2])


def remove_folder(path: Path, what: str) -> None:
    """Delete a job's or dataset's directory with its contents. Does nothing if it does not exist.

    Args:
        path: The directory. A link or file is deleted itself, not the link's target.
        what: Its name for users, as the start of a sentence.

    Raises:
        Unavailable: Something could not be deleted. The message has the reason.
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
    """Delete a checkpoint. It is renamed first, so that even after kill -9 no partial checkpoint has its name.

    Raises:
        Unavailable: Something could not be deleted. The message has the reason.
    """
    going = path if path.name.startswith(".") else path.rename(path.with_name(f".{path.name}"))
    remove_folder(going, "The checkpoint")


# --- documents ---


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object. None if the file is missing or damaged."""
    try:
        data = _decoded(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def checked_json(path: Path, kind: Any) -> dict[str, Any] | None:
    """Like :func:`read_json`, but also None if the object does not match ``kind``, a model or dataclass."""
    data = read_json(path)
    return data if data is not None and _fits(data, kind) else None


def read_model(path: Path, kind: type[T]) -> T | None:
    """Read a JSON object as ``kind``. None if the file is missing or damaged."""
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
    """Write a JSON file atomically (temporary file and rename), so that readers see the old or the new content.

    A request and the watcher may write the same file at once, so each thread has its own temporary file.

    Args:
        path: The file.
        data: JSON data.
        private: Make the file readable only by its owner (mode 0600).
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
    """Decode JSON. NaN and infinity, which JSON does not allow, become None; lone surrogates become \\ufffd.

    Raises:
        ValueError: It is not valid JSON.
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
    """The result of :func:`read_lines`.

    Attributes:
        rows: The readable rows.
        offset: Byte offset of the end of the last complete line.
        bad: Numbers of the unreadable lines, counted from 1 at the first line read.
    """

    rows: list[T]
    offset: int
    bad: list[int]


def read_lines(path: Path, offset: int = 0, limit: int = LONGEST_LINE, *, fits: Check[T]) -> Lines[T]:
    """Read complete JSON lines from a byte offset. Lines that are not rows are skipped.

    Args:
        path: A ``.jsonl`` file. A missing or unreadable file counts as empty.
        offset: Bytes already read. Must be at the start of a line.
        limit: Maximum bytes to read in one call; -1 for all.
        fits: Checks whether an object is a row of this file.
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
    """Decode a line of a ``.jsonl`` file. None if it is not a row."""
    try:
        row = _decoded(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and fits(row) else None


def iter_lines(path: Path) -> Iterator[JsonRow]:
    """Iterate over the readable complete lines of a file, with any objects."""
    return iter_rows(path, is_any)


def iter_rows(path: Path, fits: Check[T]) -> Iterator[T]:
    """Iterate over the rows in the complete lines of a file."""
    offset = 0
    while True:
        rows, after, _ = read_lines(path, offset, fits=fits)
        if after == offset:
            return
        yield from rows
        offset = after


def whole_lines(path: Path) -> list[JsonRow]:
    """Read every row of a file that is useful only if it is complete.

    Raises:
        Damaged: The file or a row is unreadable. The message names it.
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
    """Appends rows, numbered from 1 across restarts.

    Each row gets its number as ``row``, and is written as one line. An incomplete last line after a crash is removed;
    no reader has seen it.
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
        """Append a row, and return it with its number."""
        numbered = {"row": self.count + 1, **row}
        self._file.write(json_line(numbered, allow_nan=False))
        self._file.flush()
        self.count += 1
        return numbered

    def close(self) -> None:
        self._file.close()
