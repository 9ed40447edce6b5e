"""The sandbox's client: a pool of sandboxes, one per processor core, that run tasks in parallel.

Starting a sandbox takes about a tenth of a second, once; a task in it costs two forks. A sandbox that times out or
dies is replaced, and its task reports it; others are not affected.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import select
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal

from core.errors import Unavailable
from core.rewards.sandbox.launch import WEAK_CONSENT, Level, available, command

MAX_ANSWER = 8 << 20
START_TIME = 60.0
"""Seconds that a sandbox may take to start on a busy machine."""


@dataclass(frozen=True)
class Limits:
    """Resource limits of a task.

    Attributes:
        cpu: Seconds of CPU time of each untrusted process.
        wall: Seconds of wall-clock time of each untrusted process; for custom rewards, of each row.
        memory: Bytes of address space.
        output: Bytes of standard output.
    """

    cpu: float = 4
    wall: float = 6
    memory: int = 512 << 20
    output: int = 256_000


@dataclass(frozen=True)
class Task:
    """One program to run.

    Attributes:
        kind: ``script`` (once for each of ``inputs``), ``calls`` (functions with arguments), ``tests``
            (assert statements), ``growth`` (time on growing inputs), ``rewards`` (a custom reward on rows).
        source: The untrusted program.
        payload: Its input, one at a time: ``inputs``, ``calls`` or ``items``.
        hidden: What it must not see, such as the tests.
        limits: See :class:`Limits`.
    """

    kind: Literal["script", "calls", "tests", "growth", "rewards"]
    source: str
    payload: dict[str, Any] = field(default_factory=dict)
    hidden: dict[str, Any] = field(default_factory=dict)
    limits: Limits = Limits()

    @property
    def longest(self) -> float:
        """Seconds after which the whole sandbox counts as stuck."""
        runs = max(len(self.payload.get("inputs", ())), len(self.payload.get("items", ())), 1)
        return 5 + (self.limits.wall + 1) * runs


@dataclass(frozen=True)
class Protection:
    """The protection available on this machine.

    Attributes:
        level: None if untrusted code is rejected.
        words: One to three sentences for a user.
    """

    level: Level | None
    words: str

    @property
    def state(self) -> str:
        """The same in a word or two."""
        weak = "Weaker sandbox" if self.level is Level.WEAK else "Sandboxed"
        return weak if self.level else "No sandbox"


_KEPT = (
    "It has no network, sees no files except Python's own (read-only), no environment variables, and no other "
    "processes. System calls are filtered, and time, memory, and output are limited."
)
_WORDS = {
    Level.BUBBLEWRAP: f"Your code and programs written by models run in a bubblewrap sandbox. {_KEPT}",
    Level.NAMESPACES: f"Your code and programs written by models run in a sandbox of Linux namespaces. {_KEPT}",
    Level.WEAK: (
        "Weaker protection, as you agreed: untrusted code cannot use the network, start programs, write files, or "
        "touch other processes, and its time and memory are limited, but it can read every file that your user can "
        "read."
    ),
}
_INSTALL = " For the strongest sandbox, install bubblewrap: sudo apt install bubblewrap."
_REFUSED = (
    "Custom Python rewards and programs cannot run: this machine supports neither bubblewrap nor Linux namespaces. "
    f"Install bubblewrap (sudo apt install bubblewrap), or set {WEAK_CONSENT}=1 to allow a weaker sandbox, in which "
    "code can read your files but cannot write files, start programs, or use the network."
)


@cache
def protection() -> Protection:
    """The strongest protection that starts on this machine, found by trying; cached."""
    for level in (Level.BUBBLEWRAP, Level.NAMESPACES):
        if available(level) and _starts(level):
            return _found(level)
    if os.environ.get(WEAK_CONSENT) == "1" and _starts(Level.WEAK):
        return _found(Level.WEAK)
    return Protection(None, _REFUSED)


def _found(level: Level) -> Protection:
    return Protection(level, _WORDS[level] + ("" if available(Level.BUBBLEWRAP) else _INSTALL))


def _starts(level: Level) -> bool:
    try:
        _Guest(level).close()
    except (OSError, TimeoutError):
        return False
    return True


class Sandbox:
    """A pool of sandboxes. Thread-safe.

    Args:
        size: How many; default one per processor core.
        level: The protection; default the strongest available.
        preload: Modules that each sandbox imports once for all its programs.

    Raises:
        Unavailable: There is no protection on this machine, and the weaker one was not accepted.
    """

    def __init__(self, size: int | None = None, level: Level | None = None, preload: Sequence[str] = ()) -> None:
        self.level = level or protection().level
        if self.level is None:
            raise Unavailable(protection().words)
        self.preload = tuple(preload)
        self.size = size or os.cpu_count() or 1
        # A sandbox ends with the thread that started it, so the pool's long-lived threads start them.
        self._threads = ThreadPoolExecutor(self.size, thread_name_prefix="sandbox")
        self._local = threading.local()
        self._guests: set[_Guest] = set()

    def run(self, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """Run tasks in parallel.

        Returns:
            For each task, in order, ``{"results": […]}``, ``{"passed", "total", "messages"}`` or
            ``{"rounds": […]}`` by its kind, or ``{"error": why}``. Never raises because of a program.
        """
        return list(self._threads.map(self._one, tasks))

    def close(self) -> None:
        """End every sandbox."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for guest in list(self._guests):
            guest.close()
        self._guests.clear()

    def _one(self, task: Task) -> dict[str, Any]:
        guest: _Guest | None = getattr(self._local, "guest", None)
        try:
            if guest is not None and not guest.idle:
                self._end(guest)
                guest = None
            if guest is None:
                guest = self._local.guest = _Guest(self.level or Level.BUBBLEWRAP, self.preload)
                self._guests.add(guest)
            return guest.ask(task)
        except (OSError, TimeoutError, ValueError, TypeError, RecursionError) as error:
            if guest is not None:
                self._end(guest)
            return {"error": str(error) or "the sandbox ended"}

    def _end(self, guest: _Guest) -> None:
        self._guests.discard(guest)
        guest.close()
        self._local.guest = None


class _Guest:
    """One running sandbox."""

    def __init__(self, level: Level, preload: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            command(level, preload),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            close_fds=True,
            start_new_session=True,
            bufsize=0,
        )
        try:
            self._read(time.monotonic() + START_TIME)
        except (OSError, TimeoutError, ValueError):
            self.close()
            raise

    def ask(self, task: Task) -> dict[str, Any]:
        """Run one task, from its announcement to the verdict.

        Raises:
            TimeoutError: It exceeded the sum of its limits.
            OSError: The sandbox ended.
        """
        token = secrets.token_hex(8)
        asked = {"kind": task.kind, "source": task.source, "limits": asdict(task.limits), "token": token}
        data = b"G" + _framed({**task.payload, **asked, "hidden": task.hidden})
        deadline = time.monotonic() + task.longest
        self._write(data, deadline)
        answer = self._read(deadline)
        if answer.pop("token", None) != token:
            raise ValueError("the sandbox did not answer")
        return answer

    @property
    def idle(self) -> bool:
        """Whether it is alive and has sent nothing unrequested."""
        assert self._process.stdout  # noqa: S101 - as below
        return self._process.poll() is None and not select.select([self._process.stdout.fileno()], [], [], 0)[0]

    def close(self) -> None:
        """End it and everything in it."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _write(self, data: bytes, deadline: float) -> None:
        assert self._process.stdin  # noqa: S101 - for the type checker: it was made with a pipe
        fd = self._process.stdin.fileno()
        view = memoryview(data)
        while view:
            if not select.select([], [fd], [], max(0.0, deadline - time.monotonic()))[1]:
                raise TimeoutError("the sandbox accepted no input")
            view = view[os.write(fd, view[:4096]) :]

    def _read(self, deadline: float) -> dict[str, Any]:
        (length,) = struct.unpack("<I", self._exactly(4, deadline))
        if length > MAX_ANSWER:
            raise ValueError("the sandbox's answer was too large")
        answer = json.loads(self._exactly(length, deadline))
        if not isinstance(answer, dict):
            raise ValueError("the sandbox's answer could not be read")
        return answer

    def _exactly(self, count: int, deadline: float) -> bytes:
        assert self._process.stdout  # noqa: S101 - as above
        fd, data = self._process.stdout.fileno(), b""
        while len(data) < count:
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the program took too long and its sandbox was stopped")
            piece = os.read(fd, min(1 << 16, count - len(data)))
            if not piece:
                raise OSError("its sandbox ended before it returned a verdict")
            data += piece
        return data


def _framed(message: Any) -> bytes:
    data = json.dumps(message, default=str).encode()
    if len(data) > MAX_ANSWER:
        raise ValueError("the program and its tests are longer than 8 MB")
    return struct.pack("<I", len(data)) + data


_SHARED: dict[tuple[str, ...], Sandbox] = {}
_SHARED_LOCK = threading.Lock()


def shared(preload: Sequence[str] = ()) -> Sandbox:
    """This process's pool for these modules, started on first use and ended with the process.

    Raises:
        Unavailable: As :class:`Sandbox`.
    """
    with _SHARED_LOCK:
        if not _SHARED:
            atexit.register(_close_all)
        key = tuple(preload)
        if key not in _SHARED:
            _SHARED[key] = Sandbox(preload=key)
        return _SHARED[key]


def _close_all() -> None:
    for sandbox in _SHARED.values():
        sandbox.close()
