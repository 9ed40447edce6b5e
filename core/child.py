"""Child processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HUB_TOKEN = "HF_TOKEN"  # noqa: S105 (a variable's name)
JUDGE_KEY = "TUNESMITH_JUDGE_KEY"
SECRETS = frozenset({HUB_TOKEN, JUDGE_KEY})
"""Variables that only the process that uses them may have."""


RUNNER = Path(__file__).with_name("run_child.py")


def script_command(script: Path, *arguments: str) -> list[str]:
    """The command that runs a script in a separate process, with the project's modules to import."""
    return [sys.executable, "-P", str(RUNNER), str(script), *arguments]


def child_environment(**more: str) -> dict[str, str]:
    """This process's environment without secrets, for a child that does not need them.

    Args:
        more: Additional variables.
    """
    return {name: value for name, value in os.environ.items() if name not in SECRETS} | more
