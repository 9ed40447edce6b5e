"""Steps with a name, live progress and a stamp: what the set-up and the checks are made of.

A step is skipped while the hash of its inputs is the one that was stamped when it last succeeded.
What its commands print goes to a log file; the terminal shows the name, how long it has been
running and how far it is. Where the output is no terminal, a line is printed every 15 seconds.
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

if TYPE_CHECKING:  # an older Python, which has no Self, still gets as far as being refused in words
    from typing import Self

PROGRESS = re.compile(r"\[ *(\d+ */ *\d+|\d+%) *\]")
"""What ninja and make print before each file that they compile."""
QUIET_EVERY = 15.0
"""Seconds between two lines of progress where there is no terminal."""


class StepFailed(Exception):
    """A step's command failed. ``advice`` is what the person can do."""

    def __init__(self, step: str, advice: str, tail: list[str]) -> None:
        super().__init__(step)
        self.step = step
        self.advice = advice
        self.tail = tail


@dataclass(frozen=True)
class Step:
    """One piece of the set-up.

    Attributes:
        title: What is being done, as a person would say it.
        stamp: File that holds the hash of the inputs after a success.
        inputs: Files and strings that, when changed, make the step run again.
        work: Does it; gets the console to run commands with.
        advice: What to do when it fails.
        present: Whether its result is still there.
        takes: Roughly how long it takes, for the person who waits.
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
        """Whether it has succeeded with these very inputs and its result is there."""
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
    """The terminal and the log of one set-up.

    Args:
        log: Where everything that the commands print is kept.
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
        """Print a line, and keep it in the log."""
        self._clear()
        print(text, flush=True)
        self._write(text)

    def begin(self, title: str, takes: str = "") -> None:
        """Announce a step."""
        self._title, self._started, self._shown = title, time.monotonic(), time.monotonic()
        self.tail = []
        self.say(f"- {title}" + (f" (about {takes})" if takes else ""))

    def end(self) -> None:
        """Say how long the step took."""
        self.say(f"  done in {elapsed(time.monotonic() - self._started)}")

    def run(self, command: Iterable[str | Path], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
        """Run a command, its output into the log and its progress onto the terminal.

        Raises:
            subprocess.CalledProcessError: It did not exit with 0.
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
        """Keep a line of output; the part of it that tells how far the command is."""
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
