"""Downloads a model in a separate process: its safetensors, configuration and tokenizer only."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core import progress
from core.data.fetch import fetch_file, progress_bar
from core.data.hub import What, explained
from core.errors import InvalidInput, TunesmithError, Unavailable
from core.model_hub.remote import INSTEAD, sizes_of
from core.model_hub.state import FILES, DownloadProgress, Job, read_job
from core.settings import Home

Report = Callable[..., None]
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
MARGIN = 500_000_000
"""Bytes that stay free on the disk: a full disk stops every job."""


def work(folder: Path, home: Home) -> None:
    """Run the download in ``job.json``, and report its progress."""
    job = read_job(folder)
    if job is None:
        raise SystemExit(f"{folder.name} is not a download")
    reporter = progress.Reporter(folder, DownloadProgress(state="working", message="Contacting Hugging Face"))
    try:
        download(job, folder, home, reporter.say)
    except TunesmithError as error:
        reporter.end("failed", error=error.message)
    except OSError as error:
        reporter.end("failed", error=f"The file could not be written: {error.strerror or error}. Resume to try again.")
    else:
        reporter.end("done", message="Downloaded")


def download(job: Job, folder: Path, home: Home, report: Report) -> Path:
    """Download a model into the cache that transformers reads.

    Returns:
        The folder of its snapshot.

    Raises:
        InvalidInput, NotFound: As :func:`core.model_hub.remote.about`.
        Unavailable: Hugging Face cannot be reached, or there is not enough disk space.
    """
    import huggingface_hub
    from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

    with explained(What("model", job.name, "model.name", INSTEAD)):
        api, patience = huggingface_hub.HfApi(), HF_HUB_ETAG_TIMEOUT
        info = api.model_info(job.name, revision=job.revision, files_metadata=True, timeout=patience)
        files, commit = sizes_of(info), _checked(str(info.sha))
        arrived, snapshot = folder / FILES / commit, _repo(home, job.name) / "snapshots" / commit
        arrived.mkdir(parents=True, exist_ok=True)
        # Files that a run has downloaded, or an earlier attempt has moved there, are not downloaded again.
        missing = {name: size for name, size in files.items() if _size(snapshot / name) != size}
        check_room(missing, arrived)
        before = sum(files.values()) - sum(missing.values())
        report(total_bytes=sum(files.values()), bytes=before, message="Downloading")
        for name, size in missing.items():
            url = huggingface_hub.hf_hub_url(job.name, name, revision=commit)
            fetch_file(url, arrived / name, size, progress_bar(before, report))
            before += size
            report(bytes=before)
    report(message="Finishing")
    keep(arrived, list(missing), snapshot, job.revision)
    shutil.rmtree(folder / FILES, ignore_errors=True)
    return snapshot


def check_room(missing: Mapping[str, int], arrived: Path) -> None:
    """Raises Unavailable if there is not enough disk space for the rest."""
    here = sum(_size(file) for file in arrived.iterdir())
    needed, free = sum(missing.values()) - here, shutil.disk_usage(arrived).free
    if needed + MARGIN > free:
        raise Unavailable(
            f"The download needs {needed / 1e9:.1f} GB more, and the disk has {free / 1e9:.1f} GB free. "
            "Free up space, then resume."
        )


def keep(arrived: Path, names: list[str], snapshot: Path, revision: str | None) -> None:
    """Move the files to where transformers looks for them; the reference comes last and makes them valid."""
    snapshot.mkdir(parents=True, exist_ok=True)
    for name in names:
        _move(arrived / name, snapshot / name)
    commit, references = snapshot.name, snapshot.parent.parent / "refs"
    if revision == commit:
        return
    reference = (references / (revision or "main")).resolve()
    if not reference.is_relative_to(references.resolve()):
        raise InvalidInput("This is not a valid revision. Use a branch, a tag or a commit.", field="model.revision")
    reference.parent.mkdir(parents=True, exist_ok=True)
    written = arrived / ".reference"  # Written elsewhere: an empty one would hide a model that is here.
    written.write_text(commit, encoding="ascii")
    _move(written, reference)


def _move(file: Path, target: Path) -> None:
    try:
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # The cache is a link to another disk.
        beside = target.with_name(f".{target.name}.part")
        shutil.copyfile(file, beside)
        beside.replace(target)


def _repo(home: Home, name: str) -> Path:
    """The model's folder in the cache that transformers reads."""
    return home.cache / "hub" / "hub" / f"models--{name.replace('/', '--')}"


def _checked(commit: str) -> str:
    """A commit becomes a folder's name, so it has to look like one."""
    if not _COMMIT.fullmatch(commit):
        raise InvalidInput("The server did not name a commit. Check HF_ENDPOINT.", field="model.revision")
    return commit


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def answer(request: Mapping[str, Any]) -> None:
    """The one request of :mod:`core.model_hub.__main__`: the download's folder and the home folder."""
    work(Path(request["folder"]), Home(Path(request["root"])))
