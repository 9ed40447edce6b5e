"""The reproduction bundle: all that another machine needs to run a training again and compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.run_dir import RunDir
from core.settings import Home


def write_bundle(session: RunDir, target: Path, *, home: Home, stop: Callable[[], bool] = lambda: False) -> None:
    """Write one zip file with what a run was made from and what it gave.

    Args:
        session: The run's directory in ``outputs/``.
        target: The zip file to write; it appears by one rename.
        home: Where base models and uploads lie.
        stop: Asked between two files; true ends the writing and leaves nothing.

    Raises:
        Conflict: The run has not started yet, so there is nothing to reproduce.
    """
    raise NotImplementedError
