"""The state of model downloads: folders, requests and progress.

A download has a folder ``cache/downloads/<owner>--<name>/``. The web process writes ``job.json``; the download process
writes ``progress.json`` and the files in ``files/<commit>/``. Complete downloads move into the cache that transformers
reads (``cache/hub``), so it never sees an incomplete model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from core import progress
from core.job_dir import read_model

JOB, FILES, LOG = "job.json", "files", "worker.log"
State = Literal["working", "stopped", "failed", "done"]
VANISHED = "The download stopped unexpectedly. What has been downloaded is kept: resume it."


class Job(BaseModel):
    """``job.json``: what was requested."""

    model_config = ConfigDict(frozen=True)

    name: str
    revision: str | None = None


class DownloadProgress(progress.Progress):
    """Its progress: bytes that are here, and of how many; 0 where not known yet."""

    state: State
    bytes: int = 0
    total_bytes: int = 0


def read_job(folder: Path) -> Job | None:
    """The request, or None if the folder is not a download, or its contents cannot be read."""
    return read_model(folder / JOB, Job)


def read_progress(folder: Path) -> DownloadProgress | None:
    """Its progress; a process that vanished without a word counts as failed."""
    return progress.read(folder, DownloadProgress, VANISHED)
