"""The program inside the sandbox. Standard library only; it imports nothing of this project but the modules next to it.

Three kinds of process, each less trusted than the one above:

- The *keeper* (started once) loads common imports, then waits. It forks every other process
  and never reads a task, a value or a verdict: it only learns process ids. So the state that it passes on
  by forking never changes.
- The *judge* (one per task) reads the task with the expected results, and decides. It writes its verdict
  to the host itself. From a candidate it only gets plain data, rebuilt here: numbers, text, lists. An
  object with an ``__eq__`` that always returns True does not get through.
- The *candidate* runs the untrusted code. The keeper forks it, so nothing of a task is in its memory: it receives
  its program, and its inputs one by one. It has its own pipes, cannot signal, trace or read the others, and has
  limits on CPU time, memory, files and output.

So replaced builtins, printing 'passed', ``os._exit(0)`` or a patched assert affect only the candidate.
Judge and candidate both install the system call filter before they read any input.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import ctypes
import gc
import importlib
import json
import os
import re
import resource
import select
import signal
import socket
import struct
import sys
import time
import types
from collections.abc import Callable
from typing import Any, NoReturn

FRAME_LIMIT = 8 << 20
"""Largest message in bytes, in either direction."""
PRELOADED = (
    "bisect",
    "collections",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "io",
    "itertools",
    "math",
    "operator",
    "random",
    "re",
    "statistics",
    "string",
    "textwrap",
    "typing",
    "queue",
)

Plain = Any
"""The result of :func:`pack`: JSON."""


class Gone(Exception):
    """The candidate ended or was too slow; the message says which."""


class Unreadable(Gone):
    """Invalid data came through the candidate's pipe."""


class Expired(BaseException):
    """The judge's own time limit. Not an Exception, so that no test can catch it by accident."""


# --- frames ---


def read_exact(fd: int, count: int, deadline: float | None = None) -> bytes:
    """Read ``count`` bytes; fewer only if the other end was closed."""
    data = b""
    while len(data) < count:
        if deadline is not None and not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        piece = os.read(fd, min(1 << 16, count - len(data)))
        if not piece:
            break
        data += piece
    return data


def read_frame(fd: int, deadline: float | None = None) -> Any:
    """Read one message, or None at the end.

    Raises:
        TimeoutError: No complete message arrived before the deadline.
        ValueError: It is too long or not JSON.
    """
    head = read_exact(fd, 4, deadline)
    if len(head) < 4:
        return None
    (length,) = struct.unpack("<I", head)
    if length > FRAME_LIMIT:
        raise ValueError("too much output")
    return json.loads(read_exact(fd, length, deadline))


def write_frame(fd: int, message: Any, deadline: float | None = None) -> None:
    """Send one message.

    Raises:
        TimeoutError: It was not read completely before the deadline.
    """
    data = json.dumps(message).encode()
    view, most = memoryview(struct.pack("<I", len(data)) + data), 1 << 16
    if deadline is not None:
        most = select.PIPE_BUF  # this much can always be written
    while view:
        if deadline is not None and not select.select([], [fd], [], max(0.0, deadline - time.monotonic()))[1]:
            raise TimeoutError
        view = view[os.write(fd, view[:most]) :]


# --- values passed between judge and candidate ---


def pack(value: Any, keep: dict[int, Any] | None, depth: int = 0) -> Plain:
    """Plain data as tagged JSON. Anything else stays in ``keep`` and is sent as a handle.

    Raises:
        TypeError: It is not plain data and there is no ``keep``.
        RecursionError: It is nested too deeply.
    """
    if depth > 60:
        raise RecursionError("nested too deeply")
    if value is None or type(value) in {bool, str}:
        return value
    for sort, packed in _PACKERS:
        if isinstance(value, sort):
            return packed(value)
    if isinstance(value, dict):
        return ["d", [[pack(k, keep, depth + 1), pack(v, keep, depth + 1)] for k, v in value.items()]]
    for tag, sort in _SORTS.items():
        if isinstance(value, sort):
            return [tag, [pack(item, keep, depth + 1) for item in value]]
    if isinstance(value, Handle):
        return ["h", value._number]
    if keep is None:
        raise TypeError(f"a {type(value).__name__} cannot be passed to the program; only plain data can")
    keep[len(keep)] = value
    return ["o", len(keep) - 1, type(value).__name__]


# With the base classes' functions, so that overridden methods of subclasses are not called.
_PACKERS: tuple[tuple[Any, Callable[[Any], Plain]], ...] = (
    (bool, bool),
    (int, lambda value: ["i", int.__format__(value, "x")]),
    (float, lambda value: ["f", float.__repr__(float.__float__(value))]),
    (complex, lambda value: ["c", repr(value.real), repr(value.imag)]),
    (str, str.__str__),
    ((bytes, bytearray), lambda value: ["b", bytes(value).hex()]),
)
_SORTS: dict[str, Any] = {"l": list, "t": tuple, "s": set, "z": frozenset}


def unpack(data: Plain, candidate: Candidate | None, kept: dict[int, Any] | None = None) -> Any:
    """The inverse: built-in types only, or a handle to an object that stays in the candidate.

    Raises:
        Exception: Of any kind, if ``data`` was not made by :func:`pack`.
    """
    if not isinstance(data, list):
        return data
    tag, rest = data[0], data[1:]
    if tag in _SORTS:
        return _SORTS[tag](unpack(item, candidate, kept) for item in rest[0])
    simple: dict[str, Callable[[], Any]] = {
        "i": lambda: int(rest[0], 16),
        "f": lambda: float(rest[0]),
        "b": lambda: bytes.fromhex(rest[0]),
        "c": lambda: complex(float(rest[0]), float(rest[1])),
    }
    if tag in simple:
        return simple[tag]()
    if tag == "d":
        return {unpack(k, candidate, kept): unpack(v, candidate, kept) for k, v in rest[0]}
    if tag == "o" and candidate is not None:
        return Handle(candidate, int(rest[0]), str(rest[1]))
    if tag == "h" and kept is not None:
        return kept[int(rest[0])]
    raise ValueError("not a value")


class Handle:
    """An object in the candidate that is not plain data. Equal only to itself, whatever its ``__eq__`` says."""

    def __init__(self, candidate: Candidate, number: int, kind: str) -> None:
        self._candidate, self._number, self._kind = candidate, number, kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._candidate.value(
            {"op": "apply", "on": self._number, "args": pack(args, None), "kwargs": pack(kwargs, None)}
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._candidate.value({"op": "attribute", "on": self._number, "name": name})

    def __iter__(self) -> Any:
        return iter(list(self._candidate.value({"op": "items", "on": self._number})))

    def __len__(self) -> int:
        return int(self._candidate.value({"op": "length", "on": self._number}))

    def __getitem__(self, key: Any) -> Any:
        return self._candidate.value({"op": "item", "on": self._number, "key": pack(key, None)})

    def __repr__(self) -> str:
        return f"<{self._kind}>"


# --- the candidate ---


_FIXED_LIMITS = (
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NPROC, 0),
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_STACK, 64 << 20),
)


def confine(filtered: bytes | None, memory: int, cpu: float | None) -> None:
    """Apply limits and the system call filter; this cannot be undone.

    ``memory`` in bytes; ``cpu`` in seconds of CPU time, None for a process that runs only this file's code.
    """
    limits = [(what, most, most) for what, most in (*_FIXED_LIMITS, (resource.RLIMIT_AS, memory))]
    if cpu is not None:
        seconds = max(1, int(cpu + 0.999))
        limits.append((resource.RLIMIT_CPU, seconds, seconds + 1))
    for what, soft, hard in limits:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (soft, hard))
    if filtered is not None:
        _seccomp.install(filtered)


def candidate_main(filtered: bytes | None, *ends: int) -> NoReturn:
    """Become a candidate on these ends of its pipes, receive the program, and run it.

    A script runs from top to bottom. Otherwise the program is loaded and then answers requests until the pipe is
    closed. Every response carries the random id of its request, so responses cannot be forged in advance.
    """
    wanted = [os.dup(end) for end in ends]
    high = [os.dup2(end, 100 + place) for place, end in enumerate(wanted)]
    for end, place in zip(high, (3, 4, 0, 1), strict=True):
        os.dup2(end, place)
    os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
    os.closerange(5, 1 << 16)
    told = read_frame(3)
    confine(filtered, int(told["limits"]["memory"]), told["limits"]["cpu"])
    script = told["script"]
    space: dict[str, Any] = {"__name__": "__main__"} if script else {"__name__": "program", "__builtins__": builtins}
    if not script:
        sys.stdout = _Nowhere()
        sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115 - it lives as long as the process
    answer = _guarded(lambda: exec(compile(told["source"], "<program>", "exec"), space))  # noqa: S102 - what it is for
    if script:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
    write_frame(4, {**answer, "of": told["number"]})
    kept: dict[int, Any] = {}
    while not script and (request := read_frame(3)) is not None:
        answer = _guarded(lambda r=request: {"value": pack(_perform(r, space, kept), kept)})
        write_frame(4, {**answer, "of": request["number"]})
    os._exit(0)


def _perform(request: dict[str, Any], space: dict[str, Any], kept: dict[int, Any]) -> Any:
    op = request["op"]
    args = unpack(request.get("args", ["t", []]), None, kept)
    kwargs = unpack(request.get("kwargs", ["d", []]), None, kept)
    if op == "call":
        return _lookup(space, request["name"])(*args, **kwargs)
    if op == "names":
        return {name: callable(value) for name, value in space.items() if name in request["wanted"]}
    if op == "value":
        return space[request["name"]]
    thing = kept[request["on"]]
    if op == "apply":
        return thing(*args, **kwargs)
    if op == "attribute":
        return getattr(thing, request["name"])
    if op == "items":
        return list(thing)
    if op == "length":
        return len(thing)
    return thing[unpack(request["key"], None, kept)]


def _lookup(space: dict[str, Any], name: str) -> Any:
    if name not in space and "Solution" in space:
        return getattr(space["Solution"](), name)
    if name not in space:
        raise NameError(f"the program defines no {name}")
    return space[name]


def _guarded(work: Any) -> dict[str, Any]:
    try:
        return work() or {}
    except MemoryError:
        return {"error": "it used more memory than allowed"}
    except SystemExit as error:
        return {"error": f"it exited with code {error.code!r:.40}"}
    except BaseException as error:  # noqa: BLE001 - whatever untrusted code raises is an answer
        return {"error": _told(error)}


def _told(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {str(error)[:300]}"
    except BaseException:  # noqa: BLE001 - its own __str__ may be hostile
        return "an error that cannot be shown"


# --- the judge ---


class Keeper:
    """The keeper as a judge sees it: it starts and ends candidates.

    A request is one letter and a process id; nothing else reaches the keeper.
    """

    def __init__(self, fd: int) -> None:
        self._socket, self._fd = socket.socket(fileno=fd), fd

    def start(self) -> tuple[int, list[int]]:
        """Start a candidate: its process id, and the judge's ends of its four pipes."""
        os.write(self._fd, _REQUEST.pack(b"S", 0))
        data, fds, _, _ = socket.recv_fds(self._socket, 4, 4)
        if len(data) < 4 or len(fds) < 4:
            raise OSError("the keeper is gone")
        return int.from_bytes(data, "little"), fds

    def end(self, pid: int) -> None:
        """End a candidate."""
        os.write(self._fd, _REQUEST.pack(b"K", pid))

    def status(self, pid: int) -> int | None:
        """A candidate's exit status from ``waitpid``; None if it is still alive after a tenth of a second."""
        os.write(self._fd, _REQUEST.pack(b"W", pid))
        (status,) = struct.unpack("<i", read_exact(self._fd, 4))
        return None if status < 0 else int(status)


_REQUEST = struct.Struct("<ci")


class Candidate:
    """The untrusted process as the judge sees it.

    Args:
        keeper: Starts it.
        source: Its code.
        limits: ``cpu`` and ``wall`` in seconds, ``memory`` and ``output`` in bytes.
        stdin: None: it answers requests. Text: it runs as a script with this as its standard input.
    """

    def __init__(self, keeper: Keeper, source: str, limits: dict[str, Any], stdin: str | None = None) -> None:
        self.limits, self._keeper = limits, keeper
        self.stdin = None if stdin is None else stdin.encode("utf-8", "replace")
        self.pid, (self._ask, self._answer, self._feed, self._output) = keeper.start()
        self.ended: str | None = None
        self.deadline = time.monotonic() + float(limits["wall"])
        self._number = _number()
        told = {"source": source, "limits": limits, "script": stdin is not None, "number": self._number}
        with contextlib.suppress(OSError):  # it may already be dead; the response tells
            write_frame(self._ask, told, self.deadline)

    def loaded(self) -> None:
        """Wait until its code has run.

        Raises:
            Gone: It failed, ended or was too slow.
        """
        self._result()

    def value(self, request: dict[str, Any]) -> Any:
        """Its response to one request, as plain data.

        Raises:
            Gone: It raised, ended, or was too slow.
        """
        if self.ended:
            raise Gone(self.ended)
        self._number = _number()
        try:
            write_frame(self._ask, {**request, "number": self._number}, self.deadline)
        except TimeoutError:
            raise self._late() from None
        except OSError:
            self._end()
        try:
            return unpack(self._result().get("value"), self)
        except Gone:
            raise
        except Exception:  # noqa: BLE001 - made by hand to be unreadable, in any way
            raise self._senseless() from None

    def run(self) -> dict[str, Any]:
        """Write standard input and collect standard output until the script ends."""
        data, feed, open_pipes = b"", self._feed, {self._output}
        out: bytes | None = self.stdin or b""
        limit = int(self.limits["output"])
        while open_pipes:
            left = self.deadline - time.monotonic()
            if left <= 0:
                self.kill()
                return {"error": f"it took longer than {self.limits['wall']:g} s", "output": ""}
            readable, writable, _ = select.select(list(open_pipes), [feed] if out is not None else [], [], left)
            if writable:
                out = self._push(feed, out)
            if readable:
                piece = os.read(self._output, 1 << 16)
                data += piece
                if not piece:
                    open_pipes.clear()
                if len(data) > limit:
                    self.kill()
                    return {"error": f"it wrote more than {limit // 1000} kB", "output": ""}
        return self._finished(data.decode("utf-8", "replace"))

    def kill(self) -> None:
        """End it and close its pipes."""
        self._keeper.end(self.pid)
        for fd in (self._ask, self._answer, self._output, self._feed):
            with contextlib.suppress(OSError):
                os.close(fd)

    @staticmethod
    def _push(feed: int, out: Any) -> Any:
        try:
            out = out[os.write(feed, out[:4096]) :]
        except OSError:
            out = b""
        if out:
            return out
        with contextlib.suppress(OSError):
            os.close(feed)
        return None

    def _finished(self, output: str) -> dict[str, Any]:
        error = ""
        try:
            self._result()
        except Gone as gone:
            error = str(gone)
        self.kill()
        # sys.exit(0) at the end of a script is a normal exit.
        if error in {"", "it exited with code 0", "it exited with code None"}:
            return {"output": output}
        return {"error": error, "output": output}

    def _result(self) -> dict[str, Any]:
        """The response to the last request; other output is skipped."""
        try:
            while isinstance(answer := read_frame(self._answer, self.deadline), dict):
                if answer.get("of") == self._number:
                    break
        except TimeoutError:
            raise self._late() from None
        except (ValueError, RecursionError, MemoryError):
            raise self._senseless() from None
        if answer is None:
            self._end()
        if not isinstance(answer, dict):
            raise self._senseless()
        if "error" in answer:
            raise Gone(str(answer["error"])[:400])
        return answer

    def _late(self) -> Gone:
        self.ended = f"it took longer than {self.limits['wall']:g} s"
        return Gone(self.ended)

    def _senseless(self) -> Unreadable:
        self.ended = "its answer could not be read"
        return Unreadable(self.ended)

    def _end(self) -> NoReturn:
        self.ended = self._death()
        raise Gone(self.ended)

    def _death(self) -> str:
        status = self._keeper.status(self.pid)
        if status is None:
            return "it closed its pipe to the judge"
        if not os.WIFSIGNALED(status):
            return "it exited before it answered"
        number = os.WTERMSIG(status)
        if number in {signal.SIGXCPU, signal.SIGKILL}:
            return f"it used more than {self.limits['cpu']:g} s of processor time"
        return f"it crashed ({signal.Signals(number).name})"


class _Nowhere:
    """Discards standard output."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


def judge(filtered: bytes | None, keeper: Keeper) -> None:
    """Read one task from standard input, decide it, and write the verdict to standard output."""
    task = read_frame(0)
    limits = task["limits"]
    # The tests come from a dataset, so they get limits as well.
    strange = task["kind"] in {"tests", "growth"}
    confine(filtered, max(2 * int(limits["memory"]), 1 << 30), limits["cpu"] if strange else None)
    try:
        verdict = decide(task, keeper)
    except (Gone, Expired) as gone:
        verdict = {"error": str(gone) or "it ran out of time"}
    except Exception as error:  # noqa: BLE001 - a task that cannot be decided is that task's trouble alone
        verdict = {"error": f"it could not be tested: {_told(error)}"}
    write_frame(1, {**verdict, "token": task["token"]})


def decide(task: dict[str, Any], keeper: Keeper) -> dict[str, Any]:
    """The verdict on one task.

    Raises:
        Gone: The program did not load.
    """
    kind, source, limits = task["kind"], task["source"], task["limits"]
    if kind == "script":
        runs = [Candidate(keeper, source, limits, stdin=text).run() for text in task["inputs"]]
        return {"results": _fitting(runs)}
    if kind == "rewards":
        return {"results": _fitting(judge_rewards(task, keeper))}
    if kind == "growth":
        _begin_clock(limits)
        return judge_growth(lambda: Candidate(keeper, source, limits), task["hidden"])
    candidate = Candidate(keeper, source, limits)
    candidate.loaded()
    if kind == "calls":
        return {"results": _fitting([one_call(candidate, call) for call in task["calls"]])}
    _begin_clock(limits)
    return judge_tests(candidate, task["hidden"])


def _begin_clock(limits: dict[str, Any]) -> None:
    signal.signal(signal.SIGALRM, _expire)
    signal.setitimer(signal.ITIMER_REAL, float(limits["wall"]) + 1)


def _fitting(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same; if all results together exceed a message, long ones are replaced by an error."""
    most = FRAME_LIMIT // (len(results) + 1)
    return [
        result
        if len(json.dumps(result)) <= most
        else {"error": f"it returned more than {most // 1000} kB", "output": ""}
        for result in results
    ]


def one_call(candidate: Candidate, call: dict[str, Any]) -> dict[str, Any]:
    """The result of one function call as packed data, or an error."""
    try:
        value = candidate.value({"op": "call", "name": call["name"], "args": call["args"], "kwargs": call["kwargs"]})
        return {"value": pack(value, None)}
    except (Gone, TypeError, RecursionError) as error:
        return {"error": str(error)}


_EXECUTES = re.compile(r"(?<![.\w])(exec|eval|compile|__import__|builtins|importlib|runpy)\b")


def judge_rewards(task: dict[str, Any], keeper: Keeper) -> list[dict[str, Any]]:
    """One result per item. A row that ends the process affects only that row.

    If the reward cannot be loaded three times in a row, the remaining rows are skipped: that is not a row's fault.
    """
    rows, results, broken = _Rows(task, keeper), list[dict[str, Any]](), 0
    for item in task["items"]:
        if broken >= 3:
            results.append(
                {
                    "error": f"not run: the reward could not be loaded three times in a row ({results[-1]['error'][-200:]})"
                }
            )
            continue
        result, unloaded = rows.score(item)
        results.append(result)
        broken = broken + 1 if unloaded else 0
    rows.close()
    return results


class _Rows:
    """A custom reward, loaded once for many rows, and again after a row that ended its process.

    If it may execute the answers, every row has a separate process: one answer could change the reward for the
    answers after it.
    """

    def __init__(self, task: dict[str, Any], keeper: Keeper) -> None:
        self._task, self._keeper = task, keeper
        self._candidate: Candidate | None = None
        self._alone = bool(_EXECUTES.search(task["source"]))

    def score(self, item: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The result for one row, and whether the reward could not be loaded."""
        if self._alone:
            self.close()
        used = self._candidate is not None
        try:
            return self._asked(item)
        except Unreadable as error:
            # Data that an earlier row left in the pipe is not this row's fault.
            return self.score(item) if used else ({"error": str(error)}, False)

    def _asked(self, item: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        unloaded = True
        try:
            if self._candidate is None:
                self._candidate = Candidate(self._keeper, self._task["source"], self._task["limits"])
                self._candidate.loaded()
            self._candidate.deadline = time.monotonic() + float(self._task["limits"]["wall"])
            unloaded = False
            args = pack((item["completion"], item["prompt"], item["row"]), None)
            value = self._candidate.value({"op": "call", "name": "reward", "args": args, "kwargs": ["d", []]})
            return {"value": pack(value, None)}, False
        except (Gone, TypeError, RecursionError) as error:
            if unloaded or (self._candidate and self._candidate.ended):
                self.close()
            if isinstance(error, Unreadable):
                raise
            return {"error": str(error)}, unloaded

    def close(self) -> None:
        """End its process."""
        if self._candidate is not None:
            self._candidate.kill()
            self._candidate = None


# --- assert tests ---


class _Counting(ast.NodeTransformer):
    """Makes asserts count, so that one failure does not hide the rest."""

    def __init__(self) -> None:
        self.asserts = 0

    def visit_Assert(self, node: ast.Assert) -> Any:
        if isinstance(node.test, ast.Constant):
            return ast.Pass()  # 'assert True' checks nothing
        self.asserts += 1
        counted = ast.parse(
            "try:\n pass\nexcept Exception as __e:\n __record__(False, __e)\nelse:\n __record__(True, None)"
        ).body[0]
        assert isinstance(counted, ast.Try)  # noqa: S101 - for the type checker
        counted.body = [node]
        return counted


def judge_tests(candidate: Candidate, hidden: dict[str, Any]) -> dict[str, Any]:
    """Run assert statements against the candidate.

    ``hidden``: ``tests`` (sources), ``setup``, ``prompt`` (trusted code with helpers), ``entry`` (the
    function's name, for tests with a ``check(candidate)``).
    """
    passed, counter = [0, 0], _Counting()
    messages: list[str] = []

    def record(good: bool, error: BaseException | None) -> None:
        passed[0] += good
        passed[1] += 1
        if not good and len(messages) < 3:
            messages.append(_told(error) if error and str(error) else "an assertion failed")

    space: dict[str, Any] = {"__name__": "tests", "__record__": record}
    entry = hidden.get("entry") or ""
    try:
        _trusted(hidden.get("prompt", ""), entry, space)
        exec(compile(hidden.get("setup", ""), "<setup>", "exec"), space)  # noqa: S102 - the tests themselves
        trees = [counter.visit(ast.parse(text)) for text in hidden["tests"]]
        _bind(trees, candidate, space, entry)
        for tree in trees:
            exec(compile(ast.fix_missing_locations(tree), "<tests>", "exec"), space)  # noqa: S102
        if callable(space.get("check")) and entry:
            space["check"](_function(candidate, entry))
    except Expired:
        record(False, TimeoutError("the tests ran out of time"))
    except Gone as gone:
        record(False, gone)
    except Exception as error:  # noqa: BLE001 - a test that raises is a test that failed
        record(False, error)
    return {"passed": passed[0], "total": max(passed[1], counter.asserts), "messages": messages}


def _trusted(prompt: str, entry: str, space: dict[str, Any]) -> None:
    """Run the task's imports and helpers, except the requested function."""
    with contextlib.suppress(SyntaxError):
        tree = ast.parse(prompt)
        tree.body = [node for node in tree.body if getattr(node, "name", None) != entry]
        exec(compile(tree, "<task>", "exec"), space)  # noqa: S102


def _bind(trees: list[Any], candidate: Candidate, space: dict[str, Any], entry: str) -> None:
    """Undefined names in the tests refer to the candidate. Built-in names never do."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    made = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    made |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    wanted = sorted(used - made - set(space) - set(dir(builtins)) - {"candidate", "check"})
    found = candidate.value({"op": "names", "wanted": wanted}) if wanted else {}
    for name in wanted:
        if found.get(name) is True:
            space[name] = _function(candidate, name)
        elif name in found:
            space[name] = candidate.value({"op": "value", "name": name})


def _function(candidate: Candidate, name: str) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return candidate.value({"op": "call", "name": name, "args": pack(args, None), "kwargs": pack(kwargs, None)})

    return call


def judge_growth(start: Callable[[], Candidate], hidden: dict[str, Any]) -> dict[str, Any]:
    """Seconds for three sizes, round by round, with inputs from ``make_input(n)``; measured by the judge.

    CPU speed varies: another process on the same core slows everything. So the larger sizes are timed between two
    timings of the small one, as one round. Every call has its own process and input, of an unpredictable size, so
    nothing can be cached between calls.

    ``hidden``: ``generator``, ``entry`` and ``sizes`` (three, ascending).
    """
    space: dict[str, Any] = {"__name__": "inputs"}
    rounds: list[list[float]] = []
    try:
        exec(compile(hidden["generator"], "<inputs>", "exec"), space)  # noqa: S102
        timing = _Timing(start, hidden["entry"], space)
        small, middle, large = hidden["sizes"]
        before = timing(small)
        # Long times are stable: they need no third round.
        while not rounds or (timing.spent < 3 and len(rounds) < 3) or (timing.spent < 0.6 and len(rounds) < 12):
            halfway, long = timing(middle), timing(large)
            after = timing(small)
            rounds.append([(before + after) / 2, halfway, long])
            before = after
    except (Expired, Gone) as error:
        return {"error": str(error) or "it ran out of time"}
    except Exception as error:  # noqa: BLE001 - a broken input generator is reported, not raised
        return {"error": f"the inputs could not be created: {_told(error)}"}
    return {"rounds": rounds}


class _Timing:
    """CPU time of one call in a fresh process, plus what its loading takes beyond imports."""

    LOADING = 0.5
    """Seconds of loading that are free, for imports. Precomputation counts."""

    def __init__(self, start: Callable[[], Candidate], entry: str, space: dict[str, Any]) -> None:
        self._start, self._entry, self._space = start, entry, space
        self.spent = 0.0
        """Seconds of CPU time so far, including loading."""

    def __call__(self, size: float) -> float:
        packed = self._made(size)
        candidate = self._start()
        try:
            # The kernel's count of its CPU time: it cannot be forged and excludes other load.
            clock = (~candidate.pid << 3) | 2
            candidate.loaded()
            loaded = time.clock_gettime(clock)
            candidate.value({"op": "call", "name": self._entry, "args": packed, "kwargs": ["d", []]})
            used = time.clock_gettime(clock)
            self.spent += used
            return used - loaded + max(0.0, loaded - self.LOADING)
        finally:
            candidate.kill()

    def _made(self, size: float) -> Plain:
        """An input of about this size: randomly a few percent smaller, if the generator supports that."""
        lower = size - int.from_bytes(os.urandom(4), "little") % (size // 32 + 1) if isinstance(size, int) else size
        try:
            args = self._space["make_input"](lower)
        except Exception:  # noqa: BLE001 - it may want a power of two, or a square
            args = self._space["make_input"](size)
        return pack(args if isinstance(args, tuple) else (args,), None)


def _number() -> str:
    """A request's unguessable id."""
    return os.urandom(8).hex()


def _expire(number: int, frame: Any) -> None:
    raise Expired


# --- the keeper ---


def serve(for_judge: bytes | None, for_candidate: bytes | None) -> None:
    """Fork a judge for each announced task, and the candidates that it requests."""
    while os.read(0, 1) == b"G":
        ours, theirs = socket.socketpair()
        judge_pid = os.fork()
        if not judge_pid:
            ours.close()
            _as_a_child(judge, for_judge, Keeper(theirs.detach()))
        theirs.close()
        attend(ours, for_candidate)
        ours.close()
        died = os.waitpid(judge_pid, 0)[1]
        _reap()
        if died:
            return  # the judge died, perhaps before reading its whole task: the host starts a fresh sandbox


def attend(control: socket.socket, for_candidate: bytes | None) -> None:
    """Serve a judge's requests until it has finished, and leave no candidate behind."""
    living: set[int] = set()
    while len(request := read_exact(control.fileno(), _REQUEST.size)) == _REQUEST.size:
        what, pid = _REQUEST.unpack(request)
        if what == b"S":
            living.add(_candidate(control, for_candidate))
        elif what == b"W":
            status = _status(pid) if pid in living else None
            if status is not None:
                living.remove(pid)
            control.sendall(struct.pack("<i", -1 if status is None else status))
        elif pid in living:
            living.remove(pid)
            os.kill(pid, signal.SIGKILL)
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def _candidate(control: socket.socket, filtered: bytes | None) -> int:
    """Fork one and pass the judge its ends of the pipes."""
    questions, answers, feed, output = os.pipe(), os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        _as_a_child(candidate_main, filtered, questions[0], answers[1], feed[0], output[1])
    with contextlib.suppress(OSError):  # the judge may have died in the meantime
        socket.send_fds(control, [pid.to_bytes(4, "little")], [questions[1], answers[0], feed[1], output[0]])
    for fd in (*questions, *answers, *feed, *output):
        os.close(fd)
    return pid


def _as_a_child(work: Callable[..., Any], *given: Any) -> NoReturn:
    code = 1
    try:
        work(*given)
        code = 0
    finally:
        os._exit(code)


def _status(pid: int) -> int | None:
    for _ in range(50):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    return None


def _reap() -> None:
    """Reap exited children; the others are reaped after the next task."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


class _Hollow(types.ModuleType):
    """A stub module in which every name exists and does nothing."""

    __path__ = []  # noqa: RUF012 - what makes it a package, to the import system

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def _stand_in() -> None:
    """Checker libraries import matplotlib, which takes seconds and needs a writable folder."""
    parts = ("", ".pyplot", ".animation", ".collections")
    for name in (*(f"matplotlib{part}" for part in parts), "mpl_toolkits", "mpl_toolkits.mplot3d"):
        sys.modules[name] = _Hollow(name)


def main() -> None:
    """Load common imports, enter the root, report ready, and serve."""
    options = json.loads(sys.argv[1])
    # numpy would start threads on import, which are not allowed here.
    os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    if options["root"]:
        _root.enter(options["binds"])
    else:
        _root.drop_capabilities()
    sys.path.extend(options["paths"])
    _stand_in()
    for name in (*PRELOADED, *options["preload"]):
        importlib.import_module(name)
    # Existing objects stay: garbage collection in forked processes does not touch and thus copy them.
    gc.collect()
    gc.freeze()
    # Permanent, and inherited by forks: other processes of the same user cannot inspect them.
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    write_frame(1, {"ready": True})
    serve(_seccomp.build(judge=True), _seccomp.build())


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[0].rpartition("/")[0])
    # Imported by file name: there is no package core inside the sandbox.
    import root as _root  # type: ignore[import-not-found]
    import seccomp as _seccomp  # type: ignore[import-not-found]

    sys.path.pop(0)
    main()
