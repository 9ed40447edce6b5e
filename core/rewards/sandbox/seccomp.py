"""A handwritten system call filter: an allowlist for code inside the sandbox.

Standard library only: the sandbox loads this file alone. A call that is not on the list is refused, including those
of future kernels. Code may compute, read what is mounted, use the open pipes, and get the time. For some calls the
arguments decide (``_CHECKED``).

The result of a refused call:

- from 424 on (``pidfd_send_signal``, Linux 5.1): ``ENOSYS``. Libraries have to run on older kernels and
  fall back; the C library's ``clone3`` falls back to ``clone``, which is refused.
- before that: ``EPERM``.
- a call of another architecture (32 bits on a 64-bit machine) ends the process: no library makes one.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Sequence

O_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000 | 0o20000000
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_ASYNC, and O_TMPFILE's own bit."""
O_ASYNC = 0o20000
MAP_HUGETLB = 0x40000
NEWER = 424
"""The first call number that all architectures share."""

# name: (x86_64, aarch64); None if the architecture has no such call. The most frequent come first.
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "newfstatat": (262, 79),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "close": (3, 57),
    "futex": (202, 98),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "getdents64": (217, 61),
    # reading
    "readv": (19, 65),
    "pread64": (17, 67),
    "writev": (20, 66),
    "stat": (4, None),
    "lstat": (6, None),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getcwd": (79, 17),
    # its own descriptors
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "close_range": (436, 436),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    # time
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getrusage": (98, 165),
    "clock_getres": (229, 114),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "alarm": (37, None),
    "setitimer": (38, 103),
    "getitimer": (36, 102),
    "pause": (34, None),
    "restart_syscall": (219, 128),
    # signals to itself, from the kernel
    "sigaltstack": (131, 132),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "rt_sigsuspend": (130, 133),
    # process identity and location
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getpgrp": (111, None),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getgroups": (115, 158),
    "getrlimit": (97, 163),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getcpu": (309, 168),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    # own memory, and bookkeeping of threads
    "set_tid_address": (218, 96),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "mseal": (462, 462),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
# What the judge also needs: it receives the pipes to a candidate, and reads the candidate's CPU clock.
_JUDGE: dict[str, tuple[int | None, int | None]] = {"recvmsg": (47, 212), "clock_gettime": (228, 113)}

_F_SETFL = 4
_FCNTL = (0, 1, 2, 3, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC: no owner, signal, lease, lock, notification or pipe size."""
_IOCTL = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""Is it a terminal, terminal width, readable bytes, blocking mode, close on exec."""
_PRCTL = (15, 16)
"""Process name."""
_MADVISE = (0, 1, 2, 3, 4, 8, 14, 15, 16, 17, 102, 103)
"""Advice that the C library and Python's allocator give about their own memory."""

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = _REFUSE | errno.EPERM, _REFUSE | errno.ENOSYS

Step = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


# Built once instead of in every process that installs the filter, which would take half a millisecond each.
_LIBC = ctypes.CDLL(None, use_errno=True)


def build(machine: str = "", *, judge: bool = False) -> bytes | None:
    """The filter as BPF for an architecture, by default this one, or None if its call numbers are unknown.

    ``judge`` allows what the judge needs and the candidate does not.
    """
    known = _ARCHITECTURES.get(machine or platform.machine())
    if known is None:
        return None
    column, audit = known
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    # The x32 calls of the same architecture have their own numbers.
    program += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _ENOSYS)]
    for numbers in (_ALLOWED | (_JUDGE if judge else {})).values():
        if (number := numbers[column]) is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for numbers, steps in _CHECKED:
        if (number := numbers[column]) is not None:
            program += [(_EQUAL, 0, len(steps), number), *steps]
    program += [(_AT_LEAST, 0, 1, NEWER), (_RETURN, 0, 0, _ENOSYS), (_RETURN, 0, 0, _EPERM)]
    return b"".join(struct.pack("HBBI", *step) for step in program)


def install(program: bytes) -> None:
    """Install the filter in this process, permanently.

    Raises:
        OSError: The kernel refused.
    """

    buffer = ctypes.create_string_buffer(program)
    wanted = _Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p).value)
    if _LIBC.prctl(38, 1, 0, 0, 0) or _LIBC.prctl(22, 2, ctypes.byref(wanted), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel rejected the system-call filter")


def _low(argument: int) -> Step:
    """Load the lower half of an argument; the kernel reads no more of an int."""
    return (_LOAD, 0, 0, 16 + 8 * argument)


def _without(argument: int, bits: int, refusal: int = _EPERM) -> list[Step]:
    """Allow unless any of these bits is set."""
    return [_low(argument), (_ANY_BIT, 0, 1, bits), (_RETURN, 0, 0, refusal), (_RETURN, 0, 0, _ALLOW)]


def _one_of(argument: int, values: Sequence[int], refusal: int = _EPERM) -> list[Step]:
    """Allow only these values."""
    steps = [_low(argument)]
    for value in values:
        steps += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*steps, (_RETURN, 0, 0, refusal)]


def _zero(*halves: int) -> list[Step]:
    """Allow if these halves of arguments (two per argument, the lower first) are all 0."""
    steps: list[Step] = []
    for half in halves:
        steps += [(_LOAD, 0, 0, 16 + 4 * half), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _EPERM)]
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _fcntl() -> list[Step]:
    set_flags = _without(2, O_ASYNC)
    return [_low(1), (_EQUAL, 0, len(set_flags), _F_SETFL), *set_flags, *_one_of(1, _FCNTL)]


_CHECKED: tuple[tuple[tuple[int | None, int | None], list[Step]], ...] = (
    ((257, 56), _without(2, O_WRITING)),  # openat
    ((2, None), _without(1, O_WRITING)),  # open
    ((9, 222), _without(3, MAP_HUGETLB)),  # mmap: the host's huge pages are counted for all
    ((28, 233), _one_of(2, _MADVISE, _REFUSE | errno.EINVAL)),  # madvise
    ((228, 113), _without(0, 1 << 31)),  # clock_gettime: negative ids are clocks of other processes
    ((72, 25), _fcntl()),
    ((16, 29), _one_of(1, _IOCTL, _REFUSE | errno.ENOTTY)),  # ioctl
    ((157, 167), _one_of(0, _PRCTL, _REFUSE | errno.EINVAL)),  # prctl
    ((302, 261), _zero(0, 4, 5)),  # prlimit64: to read its own
)
