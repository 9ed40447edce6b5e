"""The command that starts a sandbox, for each of the protections that a machine may have."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from core.rewards.sandbox import seccomp

HERE = Path(__file__).resolve().parent
WEAK_CONSENT = "TUNESMITH_WEAK_SANDBOX"
"""Set to 1 by a user who agrees to run untrusted code with the weaker protection."""


class Level(StrEnum):
    """How untrusted code is kept in, strongest first."""

    BUBBLEWRAP = "bubblewrap"
    """bubblewrap: no network, no files but Python's own, no sight of other processes."""
    NAMESPACES = "namespaces"
    """The same from the kernel's namespaces directly, where bubblewrap is not installed."""
    WEAK = "weak"
    """Filter on system calls and limits only. Code can read what this user can read, and do nothing else."""


def command(level: Level, preload: Sequence[str] = ()) -> list[str]:
    """The argument list that starts a sandbox of this level; it talks on standard input and output.

    ``preload`` names modules that are imported once, at the start, instead of by every program.
    """
    python = os.path.realpath(sys.executable)
    # Resolved, because only the real folder is bound: a project reached through a link works too.
    site = os.path.realpath(sysconfig.get_paths()["purelib"])
    inside = HERE if level is not Level.BUBBLEWRAP else Path("/sandbox")
    options = {
        "paths": [site],
        "root": level is Level.NAMESPACES,
        "binds": _binds(site),
        "preload": list(preload),
    }
    guest = [python, "-I", "-S", "-B", str(inside / "guest.py"), json.dumps(options)]
    if level is Level.WEAK:
        return guest
    if level is Level.NAMESPACES:
        spaces = ["--user", "--map-root-user", "--net", "--pid", "--ipc", "--uts", "--mount", "--fork", "--kill-child"]
        return [_found("unshare"), *spaces, *guest]
    return [
        _found("bwrap"),
        "--unshare-all",
        "--unshare-user",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--cap-drop",
        "ALL",
        "--uid",
        "65534",
        "--gid",
        "65534",
        "--hostname",
        "sandbox",
        *_bound(site),
        "--ro-bind",
        str(HERE),
        "/sandbox",
        "--dev",
        "/dev",
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
        "--chdir",
        "/",
        *guest,
    ]


def available(level: Level) -> bool:
    """Whether what this level needs is here; whether the kernel lets it is found by trying."""
    needed = {Level.BUBBLEWRAP: "bwrap", Level.NAMESPACES: "unshare"}.get(level)
    if sys.platform != "linux":
        return False
    # In the weak form the filter is all there is.
    return shutil.which(needed) is not None if needed else seccomp.build() is not None


def _found(program: str) -> str:
    return shutil.which(program) or program


def _binds(site: str) -> list[str]:
    """Folders that Python needs. The project, the home folder, /etc and /var are not among them."""
    roots = ["/usr", sys.base_prefix, site]
    chosen: list[str] = []
    for path in map(os.path.realpath, roots):
        if not any(path == kept or path.startswith(f"{kept}/") for kept in chosen):
            chosen.append(path)
    chosen += [path for path in ("/bin", "/lib", "/lib64") if Path(path).is_dir() and not Path(path).is_symlink()]
    # The guest's own files are not needed: they are loaded before the new root is entered.
    return chosen + [path for path in ("/etc/ld.so.cache",) if Path(path).exists()]


def _bound(site: str) -> list[str]:
    arguments: list[str] = []
    for path in _binds(site):
        arguments += ["--ro-bind", path, path]
    for link in ("/bin", "/lib", "/lib64", "/sbin"):
        if Path(link).is_symlink():
            arguments += ["--symlink", str(Path(link).readlink()), link]
    return arguments
