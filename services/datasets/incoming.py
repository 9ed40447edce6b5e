"""Uploads in progress, in pieces that can be resumed, and imports from Hugging Face."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from core.child import script_command
from core.config import DatasetSection
from core.data import sources
from core.data.ingest import AlreadyHere, BadRows, HeadingChoice, HeadingUnsure, OnBad, ingest
from core.data.jobs import JOB, LOG, PART, PARTIAL, Job, Progress, finished, read_job, read_progress
from core.data.uploads import read_info, shown_name
from core.data.work import asked
from core.dataset import BadRow, UploadInfo
from core.errors import Conflict, InvalidInput, NotFound, TooLarge, Unavailable
from core.job import check_id, new_id
from core.job_dir import new_folder, remove_folder, write_json
from core.moment import now
from core.process import identify
from core.progress import PROGRESS, stop_process, write_progress
from core.settings import Home
from services.datasets.prompts import READER, reader_environment

SMALL = 8 << 20
"""Bytes. Files up to this size are read immediately; larger ones in a separate process."""
PIECE = 1 << 20
CHUNK = 8 << 20
"""Bytes that the page sends per request."""


@dataclass(frozen=True)
class JobView:
    """A job as shown on pages and in the API. ``offset`` is how many bytes of an upload have arrived."""

    id: str
    kind: str
    name: str
    state: str
    size: int
    offset: int
    bytes: int
    total_bytes: int
    rows: int
    total_rows: int
    message: str
    error: str
    bad: tuple[BadRow, ...]
    bad_rows: int
    same_as: str
    created_at: str

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"bad": [row.model_dump() for row in self.bad], "chunk": CHUNK}

    @property
    def share(self) -> float | None:
        """Progress from 0 to 1; None if unknown."""
        done, whole = (self.offset, self.size) if self.state == "receiving" else (self.bytes, self.total_bytes)
        if self.kind == "fetch" and self.total_rows:
            done, whole = self.rows, self.total_rows
        return min(1.0, done / whole) if whole else None


class DatasetJobs:
    """Operations on uploads and imports in progress.

    Args:
        home: Location of ``uploads/``.
        limit: Most bytes of an upload, before and after decompression.
    """

    def __init__(self, home: Home, limit: int) -> None:
        self._home = home
        self._limit = limit
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def begin(self, name: str, size: int) -> JobView:
        """Start an upload that is sent in pieces.

        Raises:
            TooLarge: It is larger than the limit.
            Unavailable: There is not enough disk space.
        """
        if size > self._limit:
            raise TooLarge(
                f"The file is {size / 2**30:.3g} GiB; the limit is {self._limit / 2**30:.3g} GiB (MAX_UPLOAD_GB).",
                field="size",
            )
        if shutil.disk_usage(self._home.uploads).free < size:
            raise Unavailable("There is not enough disk space for this file. Free some space and try again.")
        folder = self._open(Job(kind="upload", name=shown_name(name), size=size, created_at=now()))
        return self.get(_id(folder))

    def append(self, job_id: str, offset: int, stream: IO[bytes]) -> JobView:
        """Add the piece that starts at ``offset``. Data that arrives before a connection is lost is kept.

        Raises:
            Conflict: The piece does not begin where the file ends; ask for ``offset`` and continue there.
            TooLarge: More data arrives than was announced.
        """
        folder, job = self._folder(job_id), self._job(job_id)
        with self._alone(job_id), (folder / PART).open("ab") as file:
            if file.tell() != offset:
                raise Conflict(
                    f"{file.tell()} bytes have been received; the next piece starts there, not at {offset}.",
                    field="offset",
                )
            left = job.size - offset
            while piece := stream.read(min(PIECE, left + 1)):
                left -= len(piece)
                if left < 0:
                    raise TooLarge(f"Received more than the announced {job.size} bytes.", field="size")
                file.write(piece)
        return self.get(job_id)

    def finish(
        self, job_id: str, on_bad: OnBad = "stop", *, heading: HeadingChoice = "auto", once: bool = True
    ) -> UploadInfo | JobView:
        """Read a complete upload: immediately if it is small, otherwise in a separate process.

        Earlier decisions for this upload are kept: skipping bad rows, the meaning of the first line.

        Raises:
            AlreadyHere: ``once`` is set, and the same content is a dataset; the upload is removed.
            HeadingUnsure: A user has to say whether a table's first line is a header row.
            Conflict: Bytes are missing, or it is being read.
            BadRows, InvalidInput: As :func:`core.data.ingest.ingest`.
        """
        folder, job = self._folder(job_id), self._job(job_id)
        found = _size(folder / PART)
        if found != job.size:
            raise Conflict(f"{job.size - found} bytes are still missing. Continue from byte {found}.", field="offset")
        with self._alone(job_id):
            if _works(folder):
                raise Conflict("This is already in progress.")
            decided = {
                "on_bad": "skip" if job.on_bad == "skip" else on_bad,
                "heading": job.heading if heading == "auto" else heading,
                "once": once,
            }
            job = job.model_copy(update=decided)
            write_json(folder / JOB, job.model_dump(mode="json"))
            return self._start(folder) if found > SMALL else self._read_now(folder, job)

    def fetch(self, dataset: DatasetSection, most_rows: int | None = None) -> JobView:
        """Import a Hugging Face dataset, all of it or its first rows, in a separate process.

        Raises:
            InvalidInput: The source cannot be on Hugging Face.
        """
        name = sources.check_hub_id(dataset.source)
        given = dataset.model_dump(mode="json", exclude_unset=True) | {"source": name}
        folder = self._open(Job(kind="fetch", name=name, dataset=given, most_rows=most_rows, created_at=now()))
        with self._alone(_id(folder)):
            return self._start(folder)

    def resume(self, job_id: str) -> JobView:
        """Resume an import that was canceled or interrupted. Existing data is not downloaded again.

        Repeated calls resume it once.

        Raises:
            Conflict: It is an upload, which continues by sending the next piece.
        """
        folder = self._folder(job_id)
        if self._job(job_id).kind != "fetch":
            raise Conflict("To resume an upload, send the next piece.")
        with self._alone(job_id):
            return self.get(job_id) if _works(folder) else self._start(folder)

    def cancel(self, job_id: str) -> JobView:
        """Stop it and keep the downloaded data."""
        folder = self._folder(job_id)
        found = read_progress(folder)
        if found and found.state == "working":
            stop_process(folder, found)
            self._processes.pop(job_id, None)
        return self.get(job_id)

    def discard(self, job_id: str) -> None:
        """Stop it and delete its data."""
        folder = self._folder(job_id)
        self.cancel(job_id)
        remove_folder(folder, "The unfinished download")

    def get(self, job_id: str) -> JobView:
        """One job. Raises NotFound if there is none: it may have become a dataset."""
        folder, job = self._folder(job_id), self._job(job_id)
        received = _size(folder / PART)
        progress = read_progress(folder) or Progress(state="receiving")
        self._folder(job_id)  # Checked again: data read after it became a dataset does not describe it.
        return JobView(
            id=job_id, kind=job.kind, name=job.name, state=progress.state, size=job.size, offset=received,
            bytes=progress.bytes, total_bytes=progress.total_bytes, rows=progress.rows, total_rows=progress.total_rows,
            message=progress.message, error=progress.error, bad=progress.bad, bad_rows=progress.bad_rows,
            same_as=progress.same_as, created_at=job.created_at,
        )  # fmt: skip

    def all(self) -> list[JobView]:
        """Every job, newest first."""
        found = []
        for folder in sorted(self._home.uploads.glob(f"*{PARTIAL}"), reverse=True):
            try:
                found.append(self.get(_id(folder)))
            except (NotFound, InvalidInput):
                continue  # an upload in progress, or one that has just become a dataset
        return found

    def ended(self, job_id: str) -> UploadInfo | None:
        """The dataset that a job became, or None."""
        return read_info(self._home.uploads / check_id(job_id))

    def _read_now(self, folder: Path, job: Job) -> UploadInfo:
        try:
            info = ingest(
                folder / PART, folder, upload_id=_id(folder), name=job.name, on_bad=job.on_bad, heading=job.heading,
                once=job.once, limit=self._limit,
            )  # fmt: skip
        except (BadRows, HeadingUnsure) as error:
            write_progress(folder, Progress(**asked(error)))
            raise
        except (InvalidInput, AlreadyHere):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finished(folder)
        return info

    def _open(self, job: Job) -> Path:
        folder = self._home.uploads / f"{new_id()}{PARTIAL}"
        with new_folder(folder):
            write_json(folder / JOB, job.model_dump(mode="json"))
            if job.kind == "upload":
                (folder / PART).touch()
        return folder

    def _start(self, folder: Path) -> JobView:
        (folder / PROGRESS).unlink(missing_ok=True)
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                script_command(READER), stdin=subprocess.PIPE, stdout=log, stderr=log,
                env=reader_environment(self._home), start_new_session=True, cwd="/",
            )  # fmt: skip
        # Written before the process gets its task; afterwards only the process writes.
        write_progress(folder, Progress(state="working", message="Starting").by(identify(process.pid)))
        view = self.get(_id(folder))  # A small one may become a dataset, and no longer be a job, right after that.
        request = {"op": "work", "folder": str(folder), "root": str(self._home.root), "limit": self._limit}
        _tell(process, request)
        self._processes[_id(folder)] = process
        threading.Thread(target=process.wait, daemon=True).start()  # so that it does not stay a zombie
        return view

    def _alone(self, job_id: str) -> _Alone:
        return _Alone(self._lock, self._busy, job_id)

    def _folder(self, job_id: str) -> Path:
        folder = self._home.uploads / f"{check_id(job_id)}{PARTIAL}"
        if not (folder / JOB).is_file():
            raise NotFound(f"There is no upload or download {job_id} in progress.")
        return folder

    def _job(self, job_id: str) -> Job:
        job = read_job(self._folder(job_id))
        if job is None:
            raise NotFound(f"There is no upload or download {job_id} in progress.")
        return job


class _Alone:
    """Allows one request at a time per job; a second one is rejected."""

    def __init__(self, lock: threading.Lock, busy: set[str], job_id: str) -> None:
        self._lock, self._busy, self._id = lock, busy, job_id

    def __enter__(self) -> None:
        with self._lock:
            if self._id in self._busy:
                raise Conflict("Another request is already working on this upload. Wait for it to finish.")
            self._busy.add(self._id)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._busy.discard(self._id)


def _tell(process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    if process.stdin is not None:
        with process.stdin as pipe:
            pipe.write(json.dumps(request).encode())


def _works(folder: Path) -> bool:
    found = read_progress(folder)
    return found is not None and found.state == "working"


def _id(folder: Path) -> str:
    return folder.name.removesuffix(PARTIAL)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
