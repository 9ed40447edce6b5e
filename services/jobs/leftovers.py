"""Cleans up after workers that did not end properly."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress

from core.job_dir import JobDir


def remove_unfinished(run_dir: JobDir) -> None:
    """Give back the disk that an export took which did not end well: its worker may have been killed.

    Finished files stay: then it was a comparison that did not end well.
    What the worker started may live a moment longer and write on, so it is tried more than once.
    """
    for folder in (run_dir.path / "files.partial", *(() if run_dir.made else (run_dir.files,))):
        for _ in range(20):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.05)
    for beside in run_dir.path.glob(".*"):  # what it had set aside or was writing beside
        if not beside.name.startswith(f".{run_dir.control.name}."):  # that one is this server's
            with suppress(OSError):  # a folder of that name, or one that may not be written
                beside.unlink(missing_ok=True)
