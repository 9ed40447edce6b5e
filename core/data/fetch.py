"""Imports a Hugging Face dataset: all rows are stored locally, for paging, search and offline training.

A complete import downloads the data files one after the other through the Hugging Face client, resumes interrupted
downloads, and then reads them row by row. A partial import streams rows from the beginning and downloads nothing else.
``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HOME`` come from the environment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from core.config import DatasetSection
from core.data import hub
from core.data.cells import plain
from core.data.detect import guess_fields
from core.data.ingest import write_rows
from core.data.jobs import FILES, INFO, Job
from core.data.known_datasets import BY_PATH
from core.data.store import DATA
from core.dataset import UploadInfo
from core.errors import InvalidInput
from core.job_dir import write_json
from core.moment import now
from core.settings import Home

Report = Callable[..., None]


def fetch(job: Job, folder: Path, home: Home, *, upload_id: str, report: Report) -> UploadInfo:
    """Fetch the job's dataset into ``folder``.

    Raises:
        InvalidInput, NotFound, Unavailable: As :func:`core.data.hub.load`.
    """
    dataset = DatasetSection.model_validate(job.dataset)
    name = dataset.source
    with hub.explained(hub.dataset_words(name, dataset)):
        hub.ask_once(name, dataset)
        subset = hub.choose_subset(name, dataset)
        if job.most_rows:
            rows, size, revision = _streamed(name, subset, dataset, job.most_rows, report)
        else:
            rows, size, revision = _downloaded(name, subset, dataset, home, folder, report)
        survey = write_rows(folder, _counted(map(hub.whole, rows), report))
    if not survey.good:
        raise InvalidInput(f"The split '{dataset.split}' of {name} has no rows.", field="dataset.split")
    with (folder / DATA).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known = BY_PATH.get(name)
    info = UploadInfo(
        id=upload_id, name=" ".join(filter(None, (name, subset, dataset.split))), format="jsonl",
        size=size or (folder / DATA).stat().st_size, rows=survey.good, columns=tuple(survey.columns), sha256=digest,
        kinds={column: ", ".join(sorted(kinds)) or "empty" for column, kinds in survey.columns.items()},
        created_at=now(), fields=guess_fields(survey.sample), origin=name,
        hub={"subset": subset, "split": dataset.split, "revision": revision}, bad_rows=survey.count,
        bad=tuple(survey.bad),
        mapping={key: value for key, value in known.mapping.items() if key not in {"subset", "split"}} if known else {},
    )  # fmt: skip
    write_json(folder / INFO, info.model_dump(mode="json"))
    return info


Found = tuple[Iterator[dict[str, Any]], int, str | None]
"""Rows, bytes downloaded where known, and the commit."""


def _streamed(name: str, subset: str | None, dataset: DatasetSection, most: int, report: Report) -> Found:
    import datasets

    data = datasets.load_dataset(name, subset, split=dataset.split, revision=dataset.revision, streaming=True)
    report(total_rows=most, message="Fetching rows")
    return islice(iter(data), most), 0, dataset.revision


def _downloaded(
    name: str, subset: str | None, dataset: DatasetSection, home: Home, folder: Path, report: Report
) -> Found:
    import datasets

    builder = datasets.load_dataset_builder(
        name, subset, revision=dataset.revision, cache_dir=str(home.cache / "hub" / "datasets")
    )
    files = builder.config.data_files or {}
    if dataset.split not in files:
        there = ", ".join(map(str, files)) or "none"
        raise InvalidInput(f"{name} has no split {dataset.split!r}. Available: {there}.", field="dataset.split")
    paths, size, revision = _fetch_files(list(files[dataset.split]), folder / FILES, report)
    report(message="Reading rows")
    options = {"features": builder.info.features} if builder.info.features else {}
    form = builder.__module__.rpartition(".")[2]
    data = datasets.load_dataset(form, data_files={"train": paths}, split="train", streaming=True, **options)
    return iter(data), size, revision


def _fetch_files(addresses: list[str], folder: Path, report: Report) -> tuple[list[str], int, str | None]:
    """Download ``hf://datasets/<name>@<commit>/<file>`` one after the other, reporting bytes as they arrive.

    The client's own cache starts each file over in every process. Here each file has its ``.part``, and a
    later process requests only what is missing; the commit in the folder's name separates versions.
    """
    import huggingface_hub

    parsed = [huggingface_hub.HfFileSystem().resolve_path(address) for address in addresses]
    first = parsed[0]
    names = [one.path_in_repo for one in parsed]
    known = huggingface_hub.HfApi().get_paths_info(first.repo_id, names, revision=first.revision, repo_type="dataset")
    sizes = {one.path: one.size for one in known}
    target = folder / str(first.revision)[:40].replace("/", "-")
    target.mkdir(parents=True, exist_ok=True)
    report(total_bytes=sum(sizes.values()), message="Downloading")
    before, paths = 0, []
    for number, name in enumerate(names):
        path = target / f"{number}-{Path(name).name}"
        url = huggingface_hub.hf_hub_url(first.repo_id, name, repo_type="dataset", revision=first.revision)
        fetch_file(url, path, sizes[name], progress_bar(before, report))
        paths.append(str(path))
        before += sizes[name]
        report(bytes=before)
    return paths, before, first.revision


def fetch_file(url: str, path: Path, size: int, bar: Any) -> None:
    """Download one file from Hugging Face to a temporary name, then rename it; resumes an earlier process's download.

    Args:
        url: From ``huggingface_hub.hf_hub_url``.
        path: Destination; the incomplete file is beside it with ``.part``.
        size: Its bytes. Any other size is rejected.
        bar: Reports bytes: :func:`progress_bar`.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    if path.exists():
        return
    part = path.with_name(f"{path.name}.part")
    with part.open("ab") as file:
        http_get(
            url, file, resume_size=file.tell(), headers=build_hf_headers(), expected_size=size,
            displayed_filename=path.name,
            tqdm_class=bar,
        )  # fmt: skip
    part.rename(path)


def progress_bar(before: int, report: Report) -> Any:
    """A progress bar for the client that draws nothing and reports bytes."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": False, "file": _Nowhere()})
            report(bytes=before + int(self.n))

        def update(self, n: float | None = 1) -> Any:
            done = super().update(n)
            report(bytes=before + int(self.n))
            return done

    return Bar


class _Nowhere:
    def write(self, _text: str) -> None:
        """Nothing is drawn."""

    def flush(self) -> None:
        """Nothing to flush."""


def _counted(rows: Iterator[dict[str, Any]], report: Report) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        if number % 100 == 0:
            report(rows=number)
        yield {str(name): plain(cell) for name, cell in row.items()}
