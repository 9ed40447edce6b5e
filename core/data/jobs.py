"""Datasets on their way in: files being uploaded, files being read, and downloads from the Hub.

Each has a folder ``uploads/<id>.partial/`` until it is a dataset; then the folder loses its ending by one
rename. The web process writes ``job.json`` and, for an upload, appends to ``part``; a process of its own
reads large files and downloads, and writes ``progress.json`` beside and renamed, about twice a second.
The web process stays small and answers while a file of gigabytes is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from core import progress
from core.dataset import BadRow
from core.errors import TunesmithError
from core.progress import PROGRESS
from core.run_dir import read_model

PARTIAL = ".partial"
JOB, PART, LOG, INFO = "job.json", "part", "worker.log", "info.json"
State = Literal["receiving", "working", "stopped", "failed", "bad_rows", "heading", "already", "done"]
VANISHED = "It ended without a word; the machine may have run out of memory. What was downloaded is kept: resume it."


class Job(BaseModel):
    """``job.json``: what was asked for.

    Attributes:
        size: Bytes that an upload will have.
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
    """How far it is.

    Attributes:
        bytes, total_bytes: Read or downloaded, and of how many; 0 where not known.
        rows, total_rows: Found so far, and of how many; 0 where not known.
        field: Which field of the request the error is about.
        bad: Rows that cannot be used, where a person has to decide.
        same_as: Id of the dataset that holds the same content already.
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
    """What was asked for, or None where the folder is no job, or what is written there cannot be read."""
    return read_model(folder / JOB, Job)


def read_progress(folder: Path) -> Progress | None:
    """How far it is; a process that vanished without a word counts as failed."""
    return progress.read(folder, Progress, VANISHED)


def work(folder: Path, root: Path, limit: int) -> None:
    """Do a job to its end and turn its folder into a dataset. Called in a process of its own."""
    from core.data.fetch import fetch
    from core.data.ingest import AlreadyHere, BadRows, HeadingUnsure, ingest
    from core.settings import Home

    job = read_job(folder)
    if job is None:
        raise SystemExit(f"{folder.name} is no job")
    upload_id = folder.name.removesuffix(PARTIAL)
    words = "Reading the file" if job.kind == "upload" else "Asking the Hub"
    reporter = progress.Reporter(folder, Progress(state="working", total_bytes=job.size, message=words))
    try:
        if job.kind == "fetch":
            fetch(job, folder, Home(root), upload_id=upload_id, report=reporter.say)
        else:
            ingest(
                folder / PART, folder, upload_id=upload_id, name=job.name, on_bad=job.on_bad, heading=job.heading,
                once=job.once, limit=limit,
                progress=lambda read, rows: reporter.say(bytes=read, rows=rows),
            )  # fmt: skip
    except (BadRows, HeadingUnsure, AlreadyHere) as error:
        found = asked(error)
        reporter.end(found.pop("state"), **found)
    except TunesmithError as error:
        reporter.end("failed", error=error.message, field=error.field)
    else:
        reporter.close()
        finished(folder)  # This is the last word: 'done' before it would tell of a dataset that is not there.


def asked(error: TunesmithError) -> dict[str, Any]:
    """Fields of :class:`Progress` for an upload that a person has to decide about, or has already."""
    from core.data.ingest import AlreadyHere, BadRows

    found: dict[str, Any] = {"state": error.code, "error": error.message}
    if isinstance(error, BadRows):
        found |= {"bad": tuple(error.bad), "bad_rows": error.count, "rows": error.good}
    if isinstance(error, AlreadyHere):
        found |= {"state": "already", "same_as": error.info.id}
    return found


def finished(folder: Path) -> None:
    """Make the folder a dataset: its files of the way in go, and it loses its ending."""
    dataset = folder.rename(folder.with_name(folder.name.removesuffix(PARTIAL)))
    for name in (JOB, PROGRESS, LOG):
        (dataset / name).unlink(missing_ok=True)
