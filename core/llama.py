"""The result of the llama.cpp self-test on this machine, and its consequences.

llama.cpp is compiled for the local processor, and some of its kernels crash on some processors (with AMX, compiled by
GCC 12, every quantized file did). So it is tested once in separate processes (:mod:`core.training.llama.selftest`), and
the result is cached in ``cache/llama.json`` until the processor, the compiled library or the test changes. Nothing here
loads llama.cpp.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import logging
import platform
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.job_dir import write_json
from core.settings import Home

log = logging.getLogger("tunesmith")

TEST = 1
"""Changes with the self-test: outcomes of other versions are ignored."""
CRASHES = frozenset(
    {signal.SIGILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS}
)
"""Signals of crashes. Any other signal came from outside."""
REMEDY = (
    "Stop the server and recompile llama.cpp for this processor: make llama. A container image must be rebuilt on "
    "this machine."
)
ELSEWHERE = "llama.cpp was compiled for another processor and uses an instruction that this one does not have (SIGILL)."
SPIN = "2000"
"""Rounds that a llama.cpp thread spins for the others before it sleeps (``GOMP_SPINCOUNT``). llama.cpp has a barrier
after every operation: measured on two cores, without spinning 118 tokens a second, 2,000 rounds 224, the default 219.
With another program on one of the cores the default falls below 29, and 2,000 rounds keep 88."""
_PROCESSOR = ("model name", "flags", "Features", "CPU implementer", "CPU part")
"""Lines of /proc/cpuinfo with instruction sets."""


class Outcome(BaseModel):
    """The result of the self-test.

    Attributes:
        fingerprint: Fingerprint of CPU, library and test.
        processor: Its name.
        extra_buffers: Whether models are loaded with llama.cpp's extra buffers: weights repacked for the
            processor's own matrix instructions (``use_extra_bufts``).
        crashed: How it died with them, by tensor type (``Q4_K``).
        dead: How it died in the mode in use: with them if none died, else without.
        unusable: How it died before it loaded anything; empty if it did not.
        learned: How it later died in use, if disabling the extra buffers fixed that.
        seconds: How long the test took.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    processor: str = ""
    extra_buffers: bool = True
    crashed: dict[str, str] = {}
    dead: dict[str, str] = {}
    unusable: str = ""
    learned: str = ""
    seconds: float = 0.0

    @property
    def works(self) -> bool:
        """Whether every number format can be used."""
        return not self.unusable and not self.dead

    def words(self) -> str:
        """One sentence for a user, with the remedy if there is one."""
        if self.unusable:
            return f"Does not work on this machine ({self.unusable}). {REMEDY}"
        if self.dead:
            return f"Crashes on: {', '.join(self.dead)}. All others work. {REMEDY}"
        if self.learned:
            return f"Works with its extra buffers turned off; it crashed with them ({self.learned})."
        if self.crashed:
            names = ", ".join(self.crashed)
            return f"Works with its extra buffers turned off; with them it crashes on this processor ({names})."
        return "Works with all quantizations."


NOT_TESTED = "Not tested yet. The first job that uses it tests it, which takes a few seconds."


def read(home: Home) -> Outcome | None:
    """The result for this machine and library; None if there is none, or the file is damaged."""
    try:
        found = Outcome.model_validate_json(_file(home).read_bytes())
    except (OSError, ValueError):
        return None
    return found if found.fingerprint == fingerprint() else None


def keep(home: Home, outcome: Outcome) -> None:
    """Store it. If the disk is full, the test runs again next time."""
    try:
        _file(home).parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(home), outcome.model_dump(mode="json"))
    except OSError as error:
        log.warning("The result of the llama.cpp self-test could not be saved: %s", error)


def switch_off(home: Home, how: str) -> None:
    """Load every model without the extra buffers from now on, because that fixed a crash in use.

    Args:
        home: Its cache stores it.
        how: How it died, such as ``SIGSEGV``.
    """
    with alone(home):
        outcome = read(home)
        if outcome is not None and outcome.extra_buffers:
            keep(home, outcome.model_copy(update={"extra_buffers": False, "learned": how}))


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Wait until no other process tests or writes."""
    home.cache.mkdir(parents=True, exist_ok=True)
    with (home.cache / ".llama.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def not_the_file(outcome: Outcome, code: int | None, types: Collection[str]) -> str:
    """Why a crash of llama.cpp says nothing about the file; empty if it does.

    llama.cpp aborts on a broken file as on its own bugs. They are distinguished by the self-test, which
    loads valid files of the same number formats.

    Args:
        outcome: This machine's.
        code: The process's exit code, negative for a signal; None if it was not even started. It had been
            tried without the extra buffers as well.
        types: The file's tensor types.
    """
    if outcome.unusable:
        return f"llama.cpp does not work on this machine ({outcome.unusable}). {REMEDY}"
    if code == -signal.SIGILL:
        return f"{ELSEWHERE} {REMEDY}"
    dead = [kind for kind in types if kind in outcome.dead]
    if dead:
        return f"llama.cpp crashes on this machine with every file that contains {', '.join(dead)}. {REMEDY}"
    if code is not None and code < 0 and -code not in CRASHES:
        return f"llama.cpp's process was killed ({died(code)}), most often because memory ran out."
    return ""


def died(code: int) -> str:
    """An exit code in words: 'SIGSEGV (signal 11)' or 'exit code 1'."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"{signal.Signals(-code).name} (signal {-code})"
    except ValueError:
        return f"signal {-code}"


def fingerprint() -> str:
    """Changes with the processor, with the compiled library and with the test."""
    digest = hashlib.sha256(f"{TEST} {platform.machine()} {_version()}\n".encode())
    for name, value in cpuinfo().items():
        digest.update(f"{name}: {value}\n".encode())
    for file in _libraries():
        found = file.stat()
        digest.update(f"{file.name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def processor() -> str:
    """Its name."""
    return cpuinfo().get("model name") or platform.processor() or platform.machine()


def cpuinfo() -> Mapping[str, str]:
    """/proc/cpuinfo of the first CPU, limited to what determines the instruction sets."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    lines = [line.partition(":") for line in text.split("\n\n")[0].splitlines()]
    return {name.strip(): value.strip() for name, _, value in lines if name.strip() in _PROCESSOR}


def _version() -> str:
    try:
        return importlib.metadata.version("llama_cpp_python")
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _libraries() -> list[Path]:
    found = importlib.util.find_spec("llama_cpp")
    if found is None or found.origin is None:
        return []
    folder = Path(found.origin).parent / "lib"
    return sorted(path for path in folder.glob("*.so*") if path.is_file())


def _file(home: Home) -> Path:
    return home.cache / "llama.json"
