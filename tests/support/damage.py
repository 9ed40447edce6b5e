"""Ways to damage a file on disk, and a launcher whose workers are only files."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.job import JobState, JobStatus
from core.job_dir import JobDir, JsonlWriter
from core.process import Identity
from services.jobs.launcher import Handle, handle_of, process_of

Damage = Callable[[Path, random.Random], None]


def _empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def _cut(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data) + 1)])


def _half_a_line(path: Path, chance: random.Random) -> None:
    """As after a power failure, followed by more data."""
    data = path.read_bytes()
    place = chance.randrange(len(data) + 1)
    path.write_bytes(data[:place] + b"\n" + data[place + chance.randrange(40) :])


def _binary(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    place = chance.randrange(len(data) + 1)
    path.write_bytes(data[:place] + chance.randbytes(16) + data[place + 16 :])


def _noise(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(200) + b"\n" + chance.randbytes(100))


def _words(path: Path, chance: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(chance.randrange(len(lines) + 1), b"this is not JSON\n")
    path.write_bytes(b"".join(lines))


WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 3.5, 10**30, 1e300, "", "text", "caf\ud800", [], [1, "a", None], {}, {"a": {"b": []}}, [[[]]],
)  # fmt: skip


def _wrong_document(path: Path, chance: random.Random) -> None:
    path.write_text(json.dumps(chance.choice(WRONG)))


def _wrong_value(path: Path, chance: random.Random) -> None:
    """Valid JSON with one value replaced."""
    if path.suffix not in {".json", ".jsonl"}:
        return _binary(path, chance)
    lines = path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
    place = chance.randrange(len(lines))
    data = json.loads(lines[place])
    holder: Any = data
    while True:
        key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        deeper = holder[key]
        if not isinstance(deeper, dict | list) or not deeper or chance.random() < 0.5:
            break
        holder = deeper
    if isinstance(holder, dict) and chance.random() < 0.3:
        del holder[key]
    else:
        holder[key] = chance.choice(WRONG)
    lines[place] = json.dumps(data).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")
    return None


def _no_number(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    what = chance.choice([b"NaN", b"-Infinity", b"1e999", b"[" * 3000, b'"\\udfff"', b"9" * 5000])
    place = data.find(b":", chance.randrange(max(1, len(data)))) + 1
    path.write_bytes(data[:place] + what + data[place + 1 :])


def _deleted(path: Path, _: random.Random) -> None:
    path.unlink()


def _folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _full_folder(path: Path, _: random.Random) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)
    (path / "inside" / "file").write_text("x")


def _unreadable(path: Path, _: random.Random) -> None:
    """A link to itself: not even root can open it."""
    path.unlink()
    path.symlink_to(path)


def _no_parent(path: Path, _: random.Random) -> None:
    shutil.rmtree(path.parent)


OFTEN = frozenset({"half a line", "binary", "words"})
"""Damage that can affect several places of a file and leaves the rest readable."""

DAMAGES: dict[str, Damage] = {
    "empty": _empty, "cut": _cut, "half a line": _half_a_line, "binary": _binary, "noise": _noise, "words": _words,
    "another document": _wrong_document, "another value": _wrong_value, "no number": _no_number, "deleted": _deleted,
    "a folder": _folder, "a full folder": _full_folder, "unreadable": _unreadable, "its folder deleted": _no_parent,
}  # fmt: skip


class PaperLauncher:
    """Workers that are only files: once started they have finished, unless their folder prevents it.

    Attributes:
        living: Ids of jobs whose earlier worker is still alive.
    """

    def __init__(self) -> None:
        self.living: set[str] = set()

    slots = 1

    def start(self, job: JobDir) -> Handle:
        with suppress(OSError, ValueError, KeyError):  # then it crashes
            writer = JsonlWriter(job.metrics)
            for step in range(1, 4):
                writer.append({"attempt": 1, "phase": "training", "step": step, "reward": step / 10})
            writer.close()
            job.write_status(JobStatus(state=JobState.COMPLETED, step=3, max_steps=3, pid=9, pid_started=1.0))
        return handle_of(Identity(9, 1.0))

    def find(self, job: JobDir) -> Handle | None:
        return None

    def alive(self, worker: Handle, job: JobDir) -> bool:
        return job.path.name in self.living

    def wrote(self, worker: Handle, status: JobStatus) -> bool:
        return process_of(worker).pid == status.pid

    def exit_code(self, worker: Handle) -> int | None:
        return None

    def end(self, worker: Handle, job: JobDir, *, force: bool) -> None: ...

    def sweep(self, worker: Handle, job: JobDir) -> None: ...
