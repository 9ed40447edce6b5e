"""Identifies processes by more than their id, because ids are reused, especially after a reboot."""

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
        pid: Its process id; 0 for none.
        started: Seconds since the epoch, from psutil. Shifts when the clock is changed.
        boot: See :func:`boot`; '' if it was not recorded.
    """

    pid: int
    started: float
    boot: str = ""


@cache
def boot() -> str:
    """Identifies the current boot of this machine or container; '' if unavailable.

    A container has the machine's boot id but its own process ids, which start over with its first process.
    """
    try:
        boot_id = _BOOT_ID.read_text().strip()
    except OSError:
        return ""
    try:
        first = _FIRST.read_text().rpartition(")")[2].split()[19]  # its start, in ticks of a monotonic clock
    except (OSError, IndexError):
        first = ""
    return f"{boot_id}/{first}"


def identify(pid: int) -> Identity:
    """The identity of a running process; of one that has ended, only process id and boot id."""
    try:
        return Identity(pid, psutil.Process(pid).create_time(), boot())
    except psutil.Error:
        return Identity(pid, 0.0, boot())


def this_process() -> Identity:
    """The current process."""
    return identify(os.getpid())


def of_this_boot(known: Identity) -> bool:
    """Whether its process id can still refer to it, which is not the case after a reboot."""
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
