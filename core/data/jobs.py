"""Jobs that become datasets: uploads, files being read, and imports from Hugging Face.

Each has a folder ``uploads/<id>.partial/`` until it is a dataset; then the folder loses its suffix by a rename. The
web process writes ``job.json`` and, for an upload, appends to ``part``; a separate process reads large files and
downloads, and writes ``progress.json`` atomically, about twice a second. The web process stays small and responsive
while gigabytes are read.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from core import progress
from core.dataset import BadRow
from core.job_dir import read_model
from core.progress import PROGRESS

PARTIAL = ".partial"
State = Literal["receiving", "working", "stopped", "failed", "bad_rows", "heading", "already", "done"]
VANISHED = "It stopped unexpectedly, possibly because memory ran out. What was downloaded is kept. Resume to continue."

JOB, PART, LOG, INFO = "job.json", "part", "worker.log", "info.json"
FILES = "files"
"""Folder of what an import has downloaded."""


class Job(BaseModel):
    """``job.json``: what was requested.

    Attributes:
        size: Total bytes of an upload.
        on_bad, heading, once: See :func:`core.data.ingest.ingest`.
        dataset: For a download, the dataset section of a configuration.
        most_rows: For a download, how many rows to fetch from the beginning; None for all.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["upload", "fetch"]
    name: str
    size: int = 0
    on_bad: Literal["stop", "skip"] = "stop"
    heading: Literal["auto", "yes", "no"] = "auto"
    once: bool = False
    dataset: dict[str, Any] = {}
    most_rows: int | None = None
    created_at: str = ""


class Progress(progress.Progress):
    """Its progress.

    Attributes:
        bytes, total_bytes: Read or downloaded, and the total; 0 if unknown.
        rows, total_rows: Found so far, and the total; 0 if unknown.
        field: Which field of the request the error is about.
        bad: Unusable rows that a user has to decide about.
        same_as: Id of the dataset that already holds the same content.
    """

    state: State
    bytes: int = 0
    total_bytes: int = 0
    rows: int = 0
    total_rows: int = 0
    field: str | None = None
    bad: tuple[BadRow, ...] = ()
    bad_rows: int = 0
    same_as: str = ""


def read_job(folder: Path) -> Job | None:
    """The request, or None if the folder is not a job or cannot be read."""
    return read_model(folder / JOB, Job)


def read_progress(folder: Path) -> Progress | None:
    """Its progress. A process that disappeared counts as failed."""
    return progress.read(folder, Progress, VANISHED)


def finished(folder: Path) -> None:
    """Turn the folder of a complete dataset into that dataset: delete the job's files and drop the suffix."""
    (folder / PART).unlink(missing_ok=True)
    shutil.rmtree(folder / FILES, ignore_errors=True)
    dataset = folder.rename(folder.with_name(folder.name.removesuffix(PARTIAL)))
    for name in (JOB, PROGRESS, LOG):
        (dataset / name).unlink(missing_ok=True)
