"""Sources of rows: an upload, a generated task, or a Hugging Face dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from core.config import DatasetSection, SourceFields
from core.data import arithmetic, hub, made_pairs, mix, tasks, uploads
from core.data.rows import map_rows
from core.errors import InvalidInput, NotFound
from core.job import ID_PATTERN
from core.settings import Home

UPLOAD = "upload:"
GENERATED = "generated:"
_HUB_ID = re.compile(r"[\w][\w.-]{0,95}(/[\w][\w.-]{0,95})?")


def load_rows(dataset: SourceFields, home: Home, *, whole: bool = False) -> list[dict[str, Any]]:
    """Every raw row of a dataset, before mapping. Loads everything into memory: for workers, not for pages.

    A mixture's rows are already mapped, because each source has its own mapping; ``whole`` is for this mapping, as in
    :func:`core.data.rows.map_row`.

    Raises:
        InvalidInput: The source, subset or split is invalid.
        NotFound: There is no such upload or Hugging Face dataset.
        Unavailable: Hugging Face cannot be reached.
    """
    return list(iter_rows(dataset, home, whole=whole))


def iter_rows(dataset: SourceFields, home: Home, *, whole: bool = False) -> Iterator[dict[str, Any]]:
    """The raw rows one by one. Raises as :func:`load_rows`."""
    source = dataset.source
    if isinstance(dataset, DatasetSection) and dataset.mix:
        parts = [map_rows(iter_rows(part, home), part, whole=whole)[0] for part in dataset.mix]
        yield from mix.draw(parts, [part.weight for part in dataset.mix], dataset.seed, dataset.max_samples)
    elif source == arithmetic.SOURCE:
        yield from arithmetic.arithmetic(dataset.size, dataset.max_operand, _seed(dataset))
    elif source == made_pairs.SOURCE:
        yield from made_pairs.pairs(dataset.size, dataset.max_operand, _seed(dataset))
    elif source == tasks.SOURCE:
        yield from tasks.rows(dataset.tasks, dataset.size, _seed(dataset))
    elif source.startswith(GENERATED):
        raise InvalidInput(
            f"There is no generator named {source!r}. Available: {arithmetic.SOURCE}, {made_pairs.SOURCE}, "
            f"{tasks.SOURCE}.",
            field="dataset.source",
        )
    elif source.startswith(UPLOAD):
        yield from uploads.iter_rows(upload_folder(source, home))
    else:
        yield from hub.load(check_hub_id(source), dataset, home)


def peek(
    dataset: SourceFields, home: Home, samples: int, *, whole: bool = False
) -> tuple[list[dict[str, Any]], list[str], int | None]:
    """The first rows, reading no more than necessary.

    Returns:
        At most ``samples`` raw rows, the column names, and the number of rows (None: unknown).

    Raises:
        As :func:`load_rows`.
    """
    source = dataset.source
    if isinstance(dataset, DatasetSection) and dataset.mix:
        return _peek_mix(dataset, home, samples, whole)
    if source.startswith(UPLOAD):
        folder = upload_folder(source, home)
        info = uploads.read_info(folder)
        rows = uploads.page(folder, 0, samples)
        return rows, list(info.columns if info else ()), info.rows if info else None
    if source.startswith(GENERATED):
        rows = list(islice(iter_rows(dataset, home), samples))
        return rows, list(rows[0]) if rows else [], dataset.size
    return hub.peek(check_hub_id(source), dataset, home, samples)


def _peek_mix(
    dataset: DatasetSection, home: Home, samples: int, whole: bool
) -> tuple[list[dict[str, Any]], list[str], int | None]:
    """Some rows of each source in the mixture's proportion; a run may draw others."""
    parts, sizes = [], []
    for part in dataset.mix:
        raw, _, total = peek(part, home, samples)
        parts.append(map_rows(raw, part, whole=whole)[0])
        sizes.append(min(total, part.max_samples or total) if total is not None else None)
    weights = [part.weight for part in dataset.mix]
    known = [size for size in sizes if size is not None]
    count = sum(mix.counts_of(known, weights, dataset.max_samples)) if len(known) == len(sizes) else None
    rows = mix.draw(parts, weights, dataset.seed, samples)
    return rows, list(dict.fromkeys(name for row in rows for name in row)), count


def _seed(dataset: SourceFields) -> int:
    return dataset.seed if isinstance(dataset, DatasetSection) else 0


def is_hub(source: str) -> bool:
    """Whether it is a Hugging Face dataset."""
    return not source.startswith((UPLOAD, GENERATED)) and source != "mix"


def upload_folder(source: str, home: Home, *, damaged: bool = False) -> Path:
    """The folder of ``upload:<id>``; with ``damaged`` even if it is damaged, to delete it.

    Raises:
        InvalidInput: The id is malformed.
        NotFound: There is no such upload.
    """
    upload_id = source.removeprefix(UPLOAD)
    if not ID_PATTERN.fullmatch(upload_id):
        raise InvalidInput(
            "This is not a valid dataset id. The list of datasets shows the ids.", field="dataset.source"
        )
    folder = home.uploads / upload_id
    there = folder.is_dir() if damaged else uploads.is_dataset(folder)
    if not there or folder.resolve().parent != home.uploads.resolve():
        raise NotFound(
            f"There is no dataset {upload_id}. It may have been deleted. Upload the file again.", field="dataset.source"
        )
    return folder


def check_hub_id(source: str) -> str:
    """Return ``source`` if it can be the id of a Hugging Face dataset.

    Raises:
        InvalidInput: It cannot; local paths, for example, are rejected.
    """
    if not _HUB_ID.fullmatch(source) or ".." in source:
        raise InvalidInput(
            f"{source!r:.200} is not a dataset. Enter owner/name as on Hugging Face or {arithmetic.SOURCE}, or upload "
            "a file.",
            field="dataset.source",
        )
    return source
