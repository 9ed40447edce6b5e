"""Runs a dataset job, an upload or a Hugging Face import, in a separate process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import progress
from core.data.jobs import INFO, PART, PARTIAL, Progress, finished, read_job
from core.dataset import UploadInfo
from core.errors import TunesmithError
from core.job_dir import read_model


def work(folder: Path, root: Path, limit: int) -> None:
    """Finish a job and turn its folder into a dataset. Called in a separate process."""
    from core.data.fetch import fetch
    from core.data.ingest import AlreadyHere, BadRows, HeadingUnsure, ingest
    from core.settings import Home

    job = read_job(folder)
    if job is None:
        raise SystemExit(f"{folder.name} is not a job folder")
    if read_model(folder / INFO, UploadInfo):  # The one before was killed when all was done but the last rename.
        finished(folder)
        return
    upload_id = folder.name.removesuffix(PARTIAL)
    words = "Reading the file" if job.kind == "upload" else "Contacting Hugging Face"
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
        finished(folder)  # Reported last: an earlier 'done' would announce a dataset that does not exist yet.


def asked(error: TunesmithError) -> dict[str, Any]:
    """Fields of :class:`Progress` for an upload that needs a user's decision or is a duplicate."""
    from core.data.ingest import AlreadyHere, BadRows

    found: dict[str, Any] = {"state": error.code, "error": error.message}
    if isinstance(error, BadRows):
        found |= {"bad": tuple(error.bad), "bad_rows": error.count, "rows": error.good}
    if isinstance(error, AlreadyHere):
        found |= {"state": "already", "same_as": error.info.id}
    return found
