"""Named steps with live progress and a stamp, used by the setup and the checks.

A step is skipped while the hash of its inputs equals the one stamped at its last success. Its commands' output goes
to a log file; the terminal shows the name, how long it has been running and its progress. If the output is not a
terminal, a line is printed every 15 seconds.
"""

from __future__ import annotations

import hashlib
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # an older Python without Self still gets to the error message
    from typing import Self

PROGRESS = re.compile(r"\[ *(\d+ */ *\d+|\d+%) *\]")
"""Output of ninja and make before each file that they compile."""
QUIET_EVERY = 15.0
"""Seconds between progress lines without a terminal."""


class StepFailed(Exception):
    """A step's command failed. ``advice`` is what the user can do."""

    def __init__(self, step: str, advice: str, tail: list[str]) -> None:
        super().__init__(step)
        self.step = step
        self.advice = advice
        self.tail = tail


@dataclass(frozen=True)
class Step:
    """One step of the setup.

    Attributes:
        title: Its description for users.
        stamp: File with the hash of the inputs after a success.
        inputs: Files and strings whose change makes the step run again.
        work: Does the work; gets the console for running commands.
        advice: What to do when it fails.
        present: Whether its result still exists.
        takes: Roughly how long it takes, for the user.
    """

    title: str
    stamp: Path
    inputs: tuple[Path | str, ...]
    work: Callable[[Console], None]
    advice: str
    present: Callable[[], bool] = field(default=lambda: True)
    takes: str = ""

    def fingerprint(self) -> str:
        """Hash of the inputs."""
        digest = hashlib.sha256()
        for item in self.inputs:
            digest.update(item.read_bytes() if isinstance(item, Path) else item.encode())
            digest.update(b"\0")
        return digest.hexdigest()

    def done(self) -> bool:
        """Whether it has succeeded with exactly these inputs and its result exists."""
        return self.stamp.is_file() and self.stamp.read_text() == self.fingerprint() and self.present()

    def run(self, console: Console) -> None:
        """Do the work and stamp it.

        Raises:
            StepFailed: A command of it failed.
        """
        console.begin(self.title, self.takes)
        self.stamp.unlink(missing_ok=True)
        try:
            self.work(console)
        except subprocess.CalledProcessError:
            raise StepFailed(self.title, self.advice, console.tail) from None
        self.stamp.parent.mkdir(parents=True, exist_ok=True)
        self.stamp.write_text(self.fingerprint())
        console.end()


class Console:
    """The terminal and the log of one setup.

    Args:
        log: File for all output of commands.
    """

    def __init__(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.path = log
        self.tail: list[str] = []
        self._log: TextIO = log.open("a", encoding="utf-8")
        self._live = sys.stdout.isatty()
        self._title = ""
        self._started = 0.0
        self._shown = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def say(self, text: str) -> None:
        """Print a line, and write it to the log."""
        self._clear()
        print(text, flush=True)
        self._write(text)

    def begin(self, title: str, takes: str = "") -> None:
        """Announce a step."""
        self._title, self._started, self._shown = title, time.monotonic(), time.monotonic()
        self.tail = []
        self.say(f"- {title}" + (f" (about {takes})" if takes else ""))

    def end(self) -> None:
        """Print how long the step took."""
        self.say(f"  done in {elapsed(time.monotonic() - self._started)}")

    def run(self, command: Iterable[str | Path], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
        """Run a command, with its output in the log and its progress on the terminal.

        Raises:
            subprocess.CalledProcessError: Its exit code was not 0.
        """
        arguments = [str(part) for part in command]
        self._write("$ " + " ".join(arguments))
        process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            self._follow(process)
        except BaseException:
            process.terminate()
            raise
        if process.wait() != 0:
            raise subprocess.CalledProcessError(process.returncode, arguments)

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            return
        with process.stdout, selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            rest, now = b"", ""
            while True:
                if selector.select(timeout=1.0):
                    chunk = os.read(process.stdout.fileno(), 65536)
                    if not chunk:
                        return
                    *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
                    for line in lines:
                        now = self._line(line.decode(errors="replace")) or now
                self._progress(now)

    def _line(self, text: str) -> str:
        """Log a line of output; returns the part that shows the command's progress."""
        text = text.rstrip()
        if not text:
            return ""
        self._write(text)
        self.tail = [*self.tail[-14:], text]
        found = PROGRESS.search(text)
        if found:
            return found.group(1).replace(" ", "")
        words = re.match(r"\s*(Collecting|Downloading|Building|Installing|Successfully) ?([^\s(]*)", text)
        return " ".join(words.groups()).strip() if words else ""

    def _progress(self, now: str) -> None:
        gone = time.monotonic() - self._started
        if self._live:
            width = os.get_terminal_size().columns
            print(f"\r\033[K  {elapsed(gone)}  {now}"[: width + 3], end="", flush=True)
        elif time.monotonic() - self._shown >= QUIET_EVERY:
            self._shown = time.monotonic()
            print(f"  {elapsed(gone)}  {now}", flush=True)

    def _clear(self) -> None:
        if self._live:
            print("\r\033[K", end="")

    def _write(self, text: str) -> None:
        self._log.write(text + "\n")
        self._log.flush()


def elapsed(seconds: float) -> str:
    """'0.4 s', '37 s' or '4 min 05 s'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
