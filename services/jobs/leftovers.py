"""Cleans up after workers that did not end properly."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress

from core.job_dir import JobDir


def remove_unfinished(run_dir: JobDir) -> None:
    """Remove incomplete files of an export that failed: its worker may have been killed.

    Finished files stay: then only a verification failed. The worker's children may live and write a moment longer, so
    this is retried.
    """
    for folder in (run_dir.path / "files.partial", *(() if run_dir.made else (run_dir.files,))):
        for _ in range(20):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.05)
    for beside in run_dir.path.glob(".*"):  # its reserve and temporary files
        if not beside.name.startswith(f".{run_dir.control.name}."):  # that one is this server's
            with suppress(OSError):  # a folder with that name, or not writable
                beside.unlink(missing_ok=True)
