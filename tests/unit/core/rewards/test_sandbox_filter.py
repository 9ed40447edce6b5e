"""The system call filter decides correctly on both architectures, including the one not present."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable

import pytest

from core.rewards.sandbox import seccomp

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
OPENAT, MMAP, FCNTL, IOCTL, PRCTL, PRLIMIT, CLOCK = "openat", "mmap", "fcntl", "ioctl", "prctl", "prlimit64", "clock"
CHECKED = {
    OPENAT: (257, 56),
    MMAP: (9, 222),
    FCNTL: (72, 25),
    IOCTL: (16, 29),
    PRCTL: (157, 167),
    PRLIMIT: (302, 261),
    CLOCK: (228, 113),
}
EPERM, ENOSYS = errno.EPERM, errno.ENOSYS

Ask = Callable[..., int | str]


def decided(program: bytes, number: int, audit: int, arguments: tuple[int, ...]) -> int | str:
    """The kernel's decision on a call: 0 if allowed, an errno, or ``"killed"``."""
    data = struct.pack("<iIQ6Q", number, audit, 0, *(value & (1 << 64) - 1 for value in (*arguments, *[0] * 6)[:6]))
    steps = [struct.unpack("<HBBI", program[place : place + 8]) for place in range(0, len(program), 8)]
    place, held = 0, 0
    while True:
        code, yes, no, operand = steps[place]
        place += 1
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, operand)
        elif code == 0x06:
            return {0x7FFF0000: 0, 0x80000000: "killed"}.get(operand) if operand & 0xFFFF == 0 else operand & 0xFFFF  # type: ignore[return-value]
        else:
            holds = {0x15: held == operand, 0x35: held >= operand, 0x45: bool(held & operand)}[code]
            place += yes if holds else no


@pytest.fixture(params=["x86_64", "aarch64"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Ask the filter of an architecture about a system call by name or number."""
    machine = request.param
    column = 0 if machine == "x86_64" else 1
    programs = {judge: seccomp.build(machine, judge=judge) for judge in (False, True)}

    def asked(call: str | int, *arguments: int, judge: bool = False, audit: int = AUDIT[machine]) -> int | str:
        number = CHECKED[call][column] if isinstance(call, str) else call
        program = programs[judge]
        assert program is not None
        assert len(program) // 8 <= 4096  # the kernel's limit
        return decided(program, number, audit, arguments)

    return asked


def test_reading_is_allowed_and_writing_is_not(ask: Ask) -> None:
    """Based on the flags of open."""
    assert ask(OPENAT, 0, 0, os.O_RDONLY | os.O_CLOEXEC) == 0
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_ASYNC, os.O_TMPFILE):
        assert ask(OPENAT, 0, 0, flags) == EPERM


@pytest.mark.parametrize("command", [5, 6, 7, 8, 9, 10, 11, 15, 16, 36, 37, 38, 1024, 1025, 1026, 1031, 1033, 1 << 31])
def test_descriptors_have_no_owner_signal_lock_lease_notice_or_size(ask: Ask, command: int) -> None:
    """F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ and their like."""
    assert ask(FCNTL, 0, command) == EPERM
    assert ask(FCNTL, 0, command | 1 << 32) == EPERM


def test_flags_may_be_set_but_not_signals_on_arrival(ask: Ask) -> None:
    """O_NONBLOCK, but not O_ASYNC; the same for ioctl."""
    assert ask(FCNTL, 0, 4, os.O_NONBLOCK) == 0
    assert ask(FCNTL, 0, 4, os.O_NONBLOCK | os.O_ASYNC) == EPERM
    assert [ask(FCNTL, 0, command) for command in (0, 1, 2, 3, 1030)] == [0] * 5
    assert ask(IOCTL, 0, 0x5401) == 0
    for request in (0x5452, 0x8901, 0x8902, 0x5412, 0x541C, 0x5410):
        assert ask(IOCTL, 0, request) == errno.ENOTTY


def test_limits_may_be_read_of_itself_alone(ask: Ask) -> None:
    """No limit can be set, and none of another process can be read."""
    assert ask(PRLIMIT, 0, 7, 0, 1 << 40) == 0
    assert ask(PRLIMIT, 0, 7, 1 << 40, 0) == EPERM
    assert ask(PRLIMIT, 0, 7, 1, 0) == EPERM
    assert ask(PRLIMIT, 42, 7, 0, 1) == EPERM


def test_what_else_depends_on_arguments(ask: Ask) -> None:
    """Huge pages, process attributes, clocks of other processes."""
    assert ask(MMAP, 0, 4096, 3, 0x22) == 0
    assert ask(MMAP, 0, 4096, 3, 0x22 | 0x40000) == EPERM
    assert ask(PRCTL, 15) == 0
    assert [ask(PRCTL, option) for option in (1, 4, 22, 36, 38)] == [errno.EINVAL] * 5
    assert ask(CLOCK, 1) == 0
    assert ask(CLOCK, -6) == EPERM
    assert ask(CLOCK, -6, judge=True) == 0


def test_unknown_calls_are_refused(ask: Ask) -> None:
    """Calls that a later kernel adds are refused; those of other call tables kill the process."""
    assert ask(435) == ENOSYS  # clone3, so that the C library asks for clone
    assert [ask(number) for number in (424, 451, 457, 463, 600, 0x3FFFFFFF)] == [ENOSYS] * 6
    assert ask(0x40000000) == ENOSYS
    assert ask(0, audit=0x40000003) == "killed"
    assert ask(0, audit=0xC00000B8) == "killed"


def test_few_calls_are_allowed_with_any_arguments(ask: Ask) -> None:
    """Out of more than 450; the judge has two more."""
    allowed = {number for number in range(600) if ask(number) == 0}
    assert 60 < len(allowed) < 90
    more = {number for number in range(600) if ask(number, judge=True) == 0} - allowed
    assert len(more) == 1  # recvmsg; the other is the clock, by its argument


def test_other_processors_have_no_filter() -> None:
    """Their call numbers are unknown here."""
    assert seccomp.build("riscv64") is None
