"""Uploads a finished export to Hugging Face, with a model card, through Hugging Face's own client.

Large files are uploaded first, one by one; then one commit makes all of them visible. Files that have arrived are
identified by SHA-256, so a retry sends only what is missing.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from core.delivery.ollama import checked_sha256
from core.delivery.state import Job, NameTaken, Progress
from core.errors import Conflict, Forbidden, Unavailable
from core.job_dir import JobDir
from core.progress import Reporter
from core.settings import Home

NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,95}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
WITHOUT_ACCESS = (
    "There is no Hugging Face token. Create one with write access on Hugging Face, then add it in Settings or set "
    "HF_TOKEN in the environment."
)


class _Counted(io.BufferedReader):
    """A file that reports its read position."""

    def __init__(self, path: Path, told: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(str(path)))
        self._told = told

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._told(self.tell())
        return data


def deliver(job: Job, export: JobDir, home: Home, report: Reporter[Progress]) -> None:
    """Create or fill the repository ``job.name``.

    Raises:
        Forbidden: No token, or one without write access.
        NameTaken: The repository already has files, which may not be replaced.
        Unavailable: Hugging Face does not respond.
    """
    token = os.environ.get("HF_TOKEN", "")
    if not token:
        raise Forbidden(WITHOUT_ACCESS)
    from huggingface_hub import CommitOperationAdd, HfApi

    from core.delivery.card import CARD, model_card

    files = sorted(path for path in export.files.iterdir() if path.is_file() and path.name != CARD)
    report.say(
        message="Connecting to Hugging Face",
        total_files=len(files),
        total_bytes=sum(path.stat().st_size for path in files),
    )
    with explained(job.name):
        api = HfApi(token=token)
        repo = job.name if "/" in job.name else f"{api.whoami()['name']}/{job.name}"
        exists = api.repo_exists(repo)
        # An empty one may be left by an interrupted delivery: all files arrive with one commit.
        if exists and not job.replace and set(api.list_repo_files(repo)) - {".gitattributes"}:
            raise NameTaken(
                f"The repository {repo} already exists on Hugging Face. Nothing was uploaded. Choose another name, or "
                "confirm that files with the same names may be replaced."
            )
        api.create_repo(repo, private=job.private, exist_ok=exists)
        with ExitStack() as opened:
            operations = [_send(api, repo, path, export, report, opened) for path in files]
            card = model_card(export, home, repo=repo, licence=job.licence)
            report.say(message="Publishing", file="")
            operations.append(CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=card.encode()))
            api.create_commit(repo, operations, commit_message="Upload of a model trained with Tunesmith")
            url = f"{api.endpoint}/{repo}"
    report.end("done", message="Uploaded", url=url, command=f"hf download {repo}", file="")


def _send(api: Any, repo: str, path: Path, export: JobDir, report: Reporter[Progress], opened: ExitStack) -> Any:
    """Send one file's content; it is not visible before the commit."""
    from huggingface_hub import CommitOperationAdd

    before = report.now.bytes
    report.say(file=path.name, message="Checking the file")
    digest = checked_sha256(export, path.name, lambda read: report.say(bytes=before + read))
    report.say(message="Uploading", bytes=before)
    size = path.stat().st_size
    file = opened.enter_context(_Counted(path, lambda read: report.say(bytes=before + min(read, size))))
    operation = CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=file)
    operation.upload_info.sha256 = bytes.fromhex(digest)
    api.preupload_lfs_files(repo, additions=[operation])
    report.say(bytes=before + size, files=report.now.files + 1)
    return operation


@contextmanager
def explained(repo: str) -> Iterator[None]:
    """Convert the client's errors; they may quote URLs, but never the token."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 401:
            raise Forbidden(
                "Hugging Face doesn't accept the token. Create a new one with write access and replace it in Settings."
            ) from None
        if status == 403:
            raise Forbidden(f"The Hugging Face token has no write access to {repo}. Use one that has.") from None
        raise Unavailable(f"Hugging Face refused the upload ({status}): {_first_line(error)}") from None
    except (httpx.HTTPError, OSError) as error:
        if isinstance(error, (Conflict, Forbidden, Unavailable)):
            raise
        raise Unavailable(
            f"Hugging Face cannot be reached: {_first_line(error)}. Try again; uploaded files are not sent twice."
        ) from None


def _first_line(error: Exception) -> str:
    said = getattr(error, "server_message", None) or str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
