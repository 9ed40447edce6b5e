"""Identifies processes by more than their number, because numbers are reused, immediately so after a reboot."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FIRST = Path("/proc/1/stat")


class Identity(NamedTuple):
    """Identity of a process.

    Attributes:
        pid: Its number; 0 for none.
        started: Seconds since the epoch, as psutil gives them. Moves when the clock is set.
        boot: See :func:`boot`; '' where whoever wrote it down did not know.
    """

    pid: int
    started: float
    boot: str = ""


@cache
def boot() -> str:
    """Names the time since this machine, or this container, was started; '' where the system cannot say.

    A container has the machine's boot id and numbers of its own, which start over with its first process.
    """
    try:
        boot_id = _BOOT_ID.read_text().strip()
    except OSError:
        return ""
    try:
        first = _FIRST.read_text().rpartition(")")[2].split()[19]  # its start, in ticks of a clock that nobody sets
    except (OSError, IndexError):
        first = ""
    return f"{boot_id}/{first}"


def identify(pid: int) -> Identity:
    """The identity of a running process; of one that has ended, only number and boot id."""
    try:
        return Identity(pid, psutil.Process(pid).create_time(), boot())
    except psutil.Error:
        return Identity(pid, 0.0, boot())


def this_process() -> Identity:
    """The current process."""
    return identify(os.getpid())


def of_this_boot(known: Identity) -> bool:
    """Whether its number can still refer to it, which is not the case after a reboot."""
    return known.pid > 1 and known.boot in {"", boot()}


def find(known: Identity) -> psutil.Process | None:
    """The process, if it is still running and is the same one."""
    if not of_this_boot(known):
        return None
    try:
        process = psutil.Process(known.pid)
        same = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - known.started) < 1
    except psutil.Error:
        return None
    return process if same else None
