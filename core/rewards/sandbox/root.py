"""A private root for the sandbox if bubblewrap is not installed. Standard library only.

Runs inside fresh namespaces (made by ``unshare``): builds an empty file system, binds a few folders
into it read-only, makes it the root, and drops every capability.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_BIND, _REC, _PRIVATE, _REMOUNT, _READONLY, _NOSUID, _NODEV, _DETACH = 4096, 16384, 1 << 18, 32, 1, 2, 4, 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}


def enter(binds: list[str]) -> None:
    """Make a root with ``binds`` and the usual devices, all read-only, and enter it.

    Raises:
        OSError: The kernel refused a step.
    """
    new = _place(binds)
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", str(new), "tmpfs", _NOSUID | _NODEV, "size=1m")
    for path in [*binds, "/dev/null", "/dev/zero", "/dev/urandom"]:
        _bind(path, new)
    for link in ("/bin", "/lib", "/lib64", "/sbin"):
        if os.path.islink(link):  # noqa: PTH114 - this file stays free of what costs start-up time
            (new / link[1:]).symlink_to(os.readlink(link))  # noqa: PTH115
    _pivot(str(new))
    ctypes.CDLL(None).sethostname(b"sandbox", 7)
    _mount(None, "/", None, _REMOUNT | _READONLY | _NOSUID | _NODEV | _BIND)
    drop_capabilities()


def _place(binds: list[str]) -> Path:
    """A folder to mount over, which it hides: none that contains a bind source. Nothing is written to disk."""
    for place in ("/tmp", "/mnt", "/srv", "/media", "/run"):  # noqa: S108
        if Path(place).is_dir() and not any(path.startswith(f"{place}/") for path in binds):
            return Path(place)
    raise OSError("no folder to build a root on")


def _bind(path: str, new: Path) -> None:
    inside = new / path.lstrip("/")
    if Path(path).is_dir():
        inside.mkdir(parents=True, exist_ok=True)
    else:
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.touch()
    _mount(path, str(inside), None, _BIND)
    kept = os.statvfs(inside).f_flag & (_NOSUID | _NODEV | 8 | 1024 | 2048)  # flags that a namespace may not clear
    _mount(None, str(inside), None, _BIND | _REMOUNT | _READONLY | kept)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    if libc.mount(*texts, ctypes.c_ulong(flags), data.encode()):
        raise OSError(ctypes.get_errno(), f"cannot mount {target}")


def _pivot(new: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    os.chdir(new)
    if libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b".") or libc.umount2(b".", _DETACH):
        raise OSError(ctypes.get_errno(), "cannot change the root")
    os.chdir("/")


def drop_capabilities() -> None:
    """Drop every capability, including root's to read and signal other users' processes.

    Raises:
        OSError: The kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(64):
        libc.prctl(24, number, 0, 0, 0)  # PR_CAPBSET_DROP; the kernel rejects numbers that it does not know
    header = struct.pack("Ii", 0x20080522, 0)
    if libc.syscall(_CAPSET[os.uname().machine], header, bytes(24)):
        raise OSError(ctypes.get_errno(), "cannot give up capabilities")
