"""A filter on system calls, made by hand: what code inside the sandbox may ask of the kernel.

Standard library only: the sandbox loads this file by itself. The filter refuses new processes and
threads, sockets, signals to others, looking into other processes, every way to write, make or remove
a file, mounts, namespaces and keys. What is left is to compute, to read what is mounted, and to use
the pipes that are open.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

O_WRITING = 0o1 | 0o2 | 0o100 | 0o1000
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC."""

# name: (x86_64, aarch64); None where the architecture has no such call.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None),
    "vfork": (58, None),
    "clone": (56, 220),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "setrlimit": (160, 164),
    "personality": (135, 92),
    "quotactl": (179, 60),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "syslog": (103, 116),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "openat2": (437, 437),
    "creat": (85, None),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "setpriority": (141, 140),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "lookup_dcookie": (212, 18),
    "kcmp": (312, 272),
    "modify_ldt": (154, None),
    "vmsplice": (278, 75),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "link": (86, None),
    "linkat": (265, 37),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "rmdir": (84, None),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "utimensat": (280, 88),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "process_madvise": (440, 440),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "timer_create": (222, 107),
}
_CLONE3 = 435
_OPEN, _OPENAT, _PRLIMIT, _IOCTL = (2, None), (257, 56), (302, 261), (16, 29)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000


def build() -> bytes | None:
    """The filter as BPF for this processor, or None where its call numbers are not known here."""
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return None
    column, audit = known
    eperm, enosys = _REFUSE | errno.EPERM, _REFUSE | errno.ENOSYS
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    if column == 0:  # the x32 calls of the same processor have numbers of their own
        program += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, eperm)]
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, eperm)]
    # With clone3 'not there', the C library falls back on clone and gets its refusal from that.
    program += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, enosys)]
    program += _unless(_OPEN[column], argument=1, bits=O_WRITING, verdict=eperm)
    program += _unless(_OPENAT[column], argument=2, bits=O_WRITING, verdict=eperm)
    program += _unless(_PRLIMIT[column], argument=2, bits=0xFFFFFFFF, verdict=eperm)  # reading limits is fine
    program += _is(_IOCTL[column], argument=1, values=(0x5412, 0x541C), verdict=eperm)  # TIOCSTI, TIOCLINUX
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in program)


def install(program: bytes) -> None:
    """Put the filter on this process, for good.

    Raises:
        OSError: The kernel refused.
    """

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(program)
    wanted = Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p).value)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(wanted), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refused the filter on system calls")


def _unless(number: int | None, *, argument: int, bits: int, verdict: int) -> list[tuple[int, int, int, int]]:
    """Allow a call unless any of these bits is set in one argument (either half, for all bits)."""
    if number is None:
        return []
    low = 16 + 8 * argument
    steps = [(_LOAD, 0, 0, low), (_ANY_BIT, 0, 1, bits), (_RETURN, 0, 0, verdict)]
    if bits == 0xFFFFFFFF:
        steps += [(_LOAD, 0, 0, low + 4), (_ANY_BIT, 0, 1, bits), (_RETURN, 0, 0, verdict)]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return [(_EQUAL, 0, len(steps), number), *steps]


def _is(number: int | None, *, argument: int, values: tuple[int, ...], verdict: int) -> list[tuple[int, int, int, int]]:
    """Refuse a call with one of these values in one argument."""
    if number is None:
        return []
    steps = [(_LOAD, 0, 0, 16 + 8 * argument)]
    for value in values:
        steps += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, verdict)]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return [(_EQUAL, 0, len(steps), number), *steps]
