"""The command that starts a sandbox, for each level of protection."""

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
"""Set to 1 by a user who accepts running untrusted code with the weaker protection."""


class Level(StrEnum):
    """How untrusted code is contained, strongest first."""

    BUBBLEWRAP = "bubblewrap"
    """bubblewrap: no network, no files but Python's own, other processes hidden."""
    NAMESPACES = "namespaces"
    """The same with kernel namespaces directly, if bubblewrap is not installed."""
    WEAK = "weak"
    """Only the system call filter and limits. Code can read what this user can read, and nothing more."""


def command(level: Level, preload: Sequence[str] = ()) -> list[str]:
    """The argument list that starts a sandbox of this level; it communicates on standard input and output.

    ``preload`` names modules that are imported once, at the start, instead of by every program.
    """
    python = os.path.realpath(sys.executable)
    # Resolved, because only the real folder is bound: the project may be behind a symlink.
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
    """Whether this level's tools are installed; whether the kernel allows it is found by trying."""
    needed = {Level.BUBBLEWRAP: "bwrap", Level.NAMESPACES: "unshare"}.get(level)
    if sys.platform != "linux":
        return False
    # At the weak level the filter is the only protection.
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
