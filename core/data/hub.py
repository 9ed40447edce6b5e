"""Datasets on the Hugging Face Hub, read with its client.

The library is imported lazily: it takes a second, and most pages never need it. A dataset's own code is
never run; the library reads data files only.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import SourceFields
from core.data.conversation import without_nulls
from core.data.nested import TOO_DEEP, too_deep
from core.errors import InvalidInput, NotFound, TunesmithError, Unavailable
from core.settings import Home

log = logging.getLogger(__name__)


def load(name: str, dataset: SourceFields, home: Home) -> Iterator[dict[str, Any]]:
    """Every row of a split, downloaded once into ``cache/hub``.

    Raises:
        InvalidInput: The dataset has no such subset or split.
        NotFound: There is no such dataset, or it is private.
        Unavailable: Hugging Face cannot be reached, or requires a token.
    """
    import datasets

    cache = str(home.cache / "hub" / "datasets")
    with explained(dataset_words(name, dataset)):
        ask_once(name, dataset)
        subset = choose_subset(name, dataset)
        data = datasets.load_dataset(name, subset, split=dataset.split, revision=dataset.revision, cache_dir=cache)
    for row in data:
        yield _usable(row)


def peek(
    name: str, dataset: SourceFields, home: Home, samples: int
) -> tuple[list[dict[str, Any]], list[str], int | None]:
    """The first rows, streamed: only the beginning of the data is downloaded. Raises as :func:`load`."""
    import datasets

    with explained(dataset_words(name, dataset)):
        ask_once(name, dataset)
        subset = choose_subset(name, dataset)
        data = datasets.load_dataset(
            name,
            subset,
            split=dataset.split,
            revision=dataset.revision,
            streaming=True,
            cache_dir=str(home.cache / "hub" / "datasets"),
        )
        rows = [_usable(row) for row in data.take(samples)]
    columns = list(data.column_names or (rows[0] if rows else ()))
    return rows, columns, _total(data, dataset.split)


def _usable(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row unchanged, if pages and workers can traverse it."""
    if too_deep(row):
        raise InvalidInput(f"One of its rows cannot be used: {TOO_DEEP}.", field="dataset.source")
    return whole(row)


def whole(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without the nulls that the client adds to objects whose keys differ between rows."""
    return {name: without_nulls(cell) for name, cell in row.items()}


def ask_once(name: str, dataset: SourceFields) -> None:
    """Check within seconds whether Hugging Face responds; if not, use only the cache.

    By default the client retries each file six times over half a minute.
    """
    import datasets
    import httpx
    import huggingface_hub

    try:
        huggingface_hub.HfApi().dataset_info(
            name, revision=dataset.revision, timeout=huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT
        )
    except (httpx.TransportError, OSError) as error:
        if getattr(error, "response", None) is not None:  # it responded: not found, gated, …
            raise
        datasets.config.HF_HUB_OFFLINE = True
        huggingface_hub.constants.HF_HUB_OFFLINE = True


def choose_subset(name: str, dataset: SourceFields) -> str | None:
    """The requested subset, else 'main', 'default', or the only one.

    Raises:
        InvalidInput: There are several and none was named.
    """
    if dataset.subset:
        return dataset.subset
    import datasets

    known = datasets.get_dataset_config_names(name, revision=dataset.revision)
    for plain in ("main", "default"):
        if plain in known:
            return plain
    if len(known) <= 1:
        return known[0] if known else None
    raise InvalidInput(f"{name} has several subsets. Choose one: {', '.join(known[:40])}.", field="dataset.subset")


def _total(data: Any, split: str) -> int | None:
    splits = data.info.splits or {}
    return splits[split].num_examples if split in splits else None


def fetch_files(name: str, revision: str | None, files: list[str]) -> Path:
    """Small files of a Hugging Face model, such as its tokenizer; missing ones are left out.

    Returns:
        The snapshot folder in the cache of ``HF_HOME``.

    Raises:
        NotFound: There is no such model, or it is private.
        Unavailable: Hugging Face cannot be reached and the files are not in the cache, or it requires a token.
    """
    import huggingface_hub

    what = What(
        "model", name, "model.name", "Check your network connection, or choose the built-in model, which works offline."
    )
    with explained(what):
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=files))


@dataclass(frozen=True)
class What:
    """What was requested from Hugging Face, for error messages."""

    kind: str
    name: str
    field: str
    instead: str
    dataset: SourceFields | None = None


def dataset_words(name: str, dataset: SourceFields) -> What:
    """What was requested, for error messages."""
    instead = "Check your network connection, upload a file, or use generated arithmetic, which works offline."
    return What("dataset", name, "dataset.source", instead, dataset)


@contextlib.contextmanager
def explained(what: What) -> Iterator[None]:
    """Convert the client's exceptions into ours. They share no base class, so all are caught here."""
    try:
        yield
    except TunesmithError:
        raise
    except Exception as error:
        log.info("reading %s from Hugging Face failed", what.name, exc_info=True)
        raise explain(error, what) from None


def explain(error: BaseException, what: What) -> TunesmithError:
    """The Hugging Face client's error as one of ours, with what to do about it."""
    names = {kind.__name__ for cause in _causes(error) for kind in type(cause).__mro__}
    name, text = what.name, _shorten(str(error))
    offline = names & _OFFLINE or "offline" in text.casefold()
    if "GatedRepoError" in names or "gated dataset" in text:
        return Unavailable(
            f"{name} is gated. Accept its terms on its Hugging Face page, add a token of your account in Settings "
            "(or set HF_TOKEN), and try again.",
            field=what.field,
        )
    if names & _MISSING and not offline:
        return NotFound(
            f"Hugging Face has no {what.kind} named {name}, or it is private. Check the spelling, "
            "or add your token in Settings for a private one.",
            field=what.field,
        )
    if offline:
        return Unavailable(
            f"Hugging Face cannot be reached, and {name} is not cached on this machine. {what.instead}",
            field=what.field,
        )
    if "RevisionNotFoundError" in names:
        return InvalidInput(f"{name} does not have this revision.", field=what.field.partition(".")[0] + ".revision")
    return _unreadable(error, what, text)


def _unreadable(error: BaseException, what: What, text: str) -> TunesmithError:
    dataset = what.dataset
    if dataset and "BuilderConfig" in text and "not found" in text:
        return InvalidInput(f"{what.name} has no subset {dataset.subset!r}. {text}", field="dataset.subset")
    if dataset and "split" in text.casefold() and isinstance(error, ValueError | KeyError):
        return InvalidInput(f"{what.name} has no split {dataset.split!r}. {text}", field="dataset.split")
    return InvalidInput(f"{what.name} cannot be read: {text or type(error).__name__}", field=what.field)


_MISSING = {"RepositoryNotFoundError", "DatasetNotFoundError"}
_OFFLINE = {
    "ConnectionError",
    "ConnectError",
    "ConnectTimeout",
    "OfflineModeIsEnabled",
    "LocalEntryNotFoundError",
    "TimeoutException",
    "gaierror",
    "ReadTimeout",
    "ProxyError",
}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "…"
