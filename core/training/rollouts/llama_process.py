"""Runs llama.cpp in a separate process and handles its crashes.

llama.cpp terminates its process on errors. Some crashes do not happen without its extra buffers (:mod:`core.llama`), so
every crash is retried once without them before it is reported. If that helps, they stay off on this machine.
"""

from __future__ import annotations

import json
import logging
import select
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from core import llama
from core.child import child_environment, script_command
from core.llama import SPIN
from core.settings import Home, Settings
from core.training.llama.selftest import ensure
from core.training.rollouts.generate import Interrupted

CHILD = Path(__file__).with_name("llama_cpp_child.py")

log = logging.getLogger("tunesmith")
_T = TypeVar("_T")


class ChildDied(Exception):
    """The llama.cpp process ended without a response.

    Args:
        code: Its exit code, negative for a signal; None if llama.cpp cannot be used here at all.
        message: Why not, in that case.
    """

    def __init__(self, code: int | None, message: str = "") -> None:
        super().__init__(message if code is None else llama.died(code))
        self.code = code


class Fallback:
    """How models are loaded: as the self-test determined, and without the extra buffers after a crash.

    Args:
        home: Its cache has the self-test's result; by default the installation's.

    Attributes:
        extra_buffers: For the next process.
    """

    def __init__(self, home: Home | None = None) -> None:
        self._home = home or Settings.from_env().home
        self.extra_buffers = ensure(self._home).extra_buffers
        self._crash: ChildDied | None = None
        self._cures = False

    def again(self, error: ChildDied) -> bool:
        """Whether to retry, after the first death by a signal; in safe mode if it was a crash."""
        if self._crash is not None or error.code is None or error.code >= 0:
            return False
        self._crash = error
        self._cures = self.extra_buffers and -error.code in llama.CRASHES
        if self._cures:
            self.extra_buffers = False
        how = "without its extra buffers" if self._cures else "with the same settings"
        log.warning("llama.cpp ended with %s; retrying once %s", error, how)
        return True

    def guarded(self, work: Callable[[], _T]) -> _T:
        """Run ``work``, which starts its own process; repeated once after a crash.

        Raises:
            ChildDied: It died again.
        """
        while True:
            try:
                found = work()
            except ChildDied as error:
                if not self.again(error):
                    raise
            else:
                self.worked()
                return found

    def worked(self) -> None:
        """The retry succeeded: if the buffers were the cause, they stay off on this machine."""
        if self._crash is not None and self._cures:
            self._cures = False
            llama.switch_off(self._home, str(self._crash))
            log.warning("llama.cpp works without its extra buffers; they stay off on this machine")


class Child:
    """One llama.cpp process and its protocol.

    Args:
        model: The base as GGUF.
        threads: Number of threads while it works; it is idle otherwise.
        interrupted: Called five times a second while waiting for a response.
        script: Script to run: the rollout child, or one that handles more requests.
        gpu: Whether a GPU that llama.cpp can use takes all layers.
        extra_buffers: Whether llama.cpp repacks weights; by default as the self-test says.

    Raises:
        ChildDied: It could not load the model, or llama.cpp cannot be used on this machine.
    """

    def __init__(
        self,
        model: Path,
        threads: int,
        interrupted: Callable[[], bool],
        script: Path = CHILD,
        *,
        gpu: bool = False,
        extra_buffers: bool | None = None,
    ) -> None:
        outcome = ensure(Settings.from_env().home)
        if outcome.unusable:
            raise ChildDied(None, f"it does not work on this machine ({outcome.unusable})")
        extra = outcome.extra_buffers if extra_buffers is None else extra_buffers
        self._interrupted = interrupted
        self.process = subprocess.Popen(
            script_command(script),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env={k: v for k, v in child_environment(GOMP_SPINCOUNT=SPIN).items() if k != "OMP_WAIT_POLICY"},
            bufsize=0,
        )
        self._in = cast("IO[bytes]", self.process.stdin)
        self._out = cast("IO[bytes]", self.process.stdout)
        self.ask({"op": "load", "model": str(model), "threads": threads, "gpu": gpu, "extra_buffers": extra})

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its response.

        Raises:
            ChildDied: The process has ended.
            Interrupted: The run must end immediately; the process is ended.
        """
        try:
            self._in.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise self._died() from None
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def _line(self) -> bytes:
        parts: list[bytes] = []
        while not (parts and parts[-1].endswith(b"\n")):
            ready, _, _ = select.select([self._out], [], [], 0.2)
            if self._interrupted():
                self.close()
                raise Interrupted
            if ready:
                parts.append(self._out.read(1 << 20))
                if not parts[-1]:
                    raise self._died()
        return b"".join(parts)

    def _died(self) -> ChildDied:
        code = self.process.wait()
        self.close()
        return ChildDied(code)

    def close(self) -> None:
        """Terminate the process."""
        self.process.kill()
        self.process.wait()
        self._in.close()
        self._out.close()
