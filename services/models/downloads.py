"""Model downloads from Hugging Face. Each runs in a separate process and can be stopped and resumed."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.child import HUB_TOKEN, script_command
from core.errors import InvalidInput, NotFound
from core.job_dir import remove_folder, write_json
from core.model_hub.state import JOB, LOG, DownloadProgress, Job, read_job, read_progress
from core.process import identify
from core.progress import PROGRESS, stop_process, write_progress
from core.settings import PROJECT, Settings
from services.datasets.prompts import reader_environment
from services.machine.preferences import hub_token
from services.models.references import HUB_ID

SCRIPT = PROJECT / "core" / "model_hub" / "__main__.py"
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,200}")
_REVISION = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*){0,8}")


@dataclass(frozen=True)
class DownloadView:
    """A download as shown on pages and in the API. ``id`` is the model's name with ``--`` for the slash."""

    id: str
    name: str
    revision: str | None
    state: str
    bytes: int
    total_bytes: int
    message: str
    error: str

    def json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def share(self) -> float | None:
        """Progress from 0 to 1; None if unknown."""
        return min(1.0, self.bytes / self.total_bytes) if self.total_bytes else None


class Downloads:
    """Operations on downloads.

    Args:
        settings: For the home folder and the token.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.home.cache / "downloads"
        self._lock = threading.Lock()

    def start(self, name: str, revision: str | None = None) -> DownloadView:
        """Download a model, or resume its download. Repeated calls start it once.

        Raises:
            InvalidInput: It is not a valid Hugging Face model name or revision.
        """
        if not HUB_ID.fullmatch(name):
            message = "This is not a valid model name on Hugging Face. A name looks like Qwen/Qwen3-0.6B."
            raise InvalidInput(message, field="name")
        if revision and not _REVISION.fullmatch(revision):
            raise InvalidInput("This is not a valid revision. Use a branch, a tag or a commit.", field="revision")
        folder = self._root / name.replace("/", "--")
        with self._lock:
            before = read_progress(folder)
            if before and before.state == "working":
                return self.get(folder.name)
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / JOB, Job(name=name, revision=revision or None).model_dump(mode="json"))
            self._run(folder)
        return self.get(folder.name)

    def resume(self, download_id: str) -> DownloadView:
        """Resume a stopped or failed download. Raises NotFound."""
        job = self._job(self._folder(download_id))
        return self.start(job.name, job.revision)

    def cancel(self, download_id: str) -> DownloadView:
        """Stop it and keep the downloaded data. Raises NotFound."""
        folder = self._folder(download_id)
        found = read_progress(folder)
        if found and found.state == "working":
            stop_process(folder, found)
        return self.get(download_id)

    def discard(self, download_id: str) -> None:
        """Stop it and delete its data. A complete model stays. Raises NotFound."""
        folder = self._folder(download_id)
        self.cancel(download_id)
        remove_folder(folder, "The download")

    def get(self, download_id: str) -> DownloadView:
        """One download. Raises NotFound."""
        folder = self._folder(download_id)
        job = self._job(folder)
        found = read_progress(folder) or DownloadProgress(state="stopped")
        return DownloadView(
            folder.name, job.name, job.revision, found.state, max(0, found.bytes), found.total_bytes, found.message,
            found.error,
        )  # fmt: skip

    def all(self) -> list[DownloadView]:
        """Downloads that are running or could be resumed, by name."""
        names = sorted(folder.name for folder in self._root.glob("*") if (folder / JOB).is_file())
        return [view for view in map(self._found, names) if view and view.state != "done"]

    def _found(self, download_id: str) -> DownloadView | None:
        try:
            return self.get(download_id)
        except (NotFound, InvalidInput):
            return None

    def _run(self, folder: Path) -> None:
        home = self._settings.home
        token = hub_token(self._settings)
        environment = (
            reader_environment(home) | {"HF_HUB_DISABLE_TELEMETRY": "1"} | ({HUB_TOKEN: token} if token else {})
        )
        (folder / PROGRESS).unlink(missing_ok=True)
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                script_command(SCRIPT), stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment,
                start_new_session=True, cwd="/",
            )  # fmt: skip
        # Written before the process gets its task; afterwards only the process writes.
        first = DownloadProgress(state="working", message="Starting").by(identify(process.pid))
        write_progress(folder, first)
        if process.stdin is not None:
            with process.stdin as pipe:
                pipe.write(json.dumps({"folder": str(folder), "root": str(home.root)}).encode())
        threading.Thread(target=process.wait, daemon=True).start()  # so that it does not stay a zombie

    def _folder(self, download_id: str) -> Path:
        folder = self._root / download_id
        if not _ID.fullmatch(download_id) or not (folder / JOB).is_file():
            raise NotFound("There is no such download. It may have been discarded.")
        return folder

    def _job(self, folder: Path) -> Job:
        job = read_job(folder)
        if job is None:
            raise NotFound("There is no such download. It may have been discarded.")
        return job
