"""Datasets of the Hugging Face Hub, through its own client.

The library is imported on use: it takes a second, and most pages never need it. A dataset's own code is
never run; the library reads data files only.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from core.config import DatasetSection
from core.errors import InvalidInput, NotFound, TunesmithError, Unavailable
from core.settings import Home

log = logging.getLogger(__name__)


def load(name: str, dataset: DatasetSection, home: Home) -> Iterator[dict[str, Any]]:
    """Every row of a split, downloaded once into ``cache/hub``.

    Raises:
        InvalidInput: Subset or split is not one of the dataset's.
        NotFound: There is no such dataset, or it is private.
        Unavailable: The Hub cannot be reached, or wants a token.
    """
    import datasets

    cache = str(home.cache / "hub" / "datasets")
    with _explained(name, dataset):
        subset = choose_subset(name, dataset)
        data = datasets.load_dataset(name, subset, split=dataset.split, revision=dataset.revision, cache_dir=cache)
    for row in data:
        yield dict(row)


def peek(name: str, dataset: DatasetSection, home: Home, samples: int) -> tuple[list[dict[str, Any]], list[str], int | None]:
    """The first rows, streamed: only the beginning of the data is downloaded. Raises as :func:`load`."""
    import datasets

    with _explained(name, dataset):
        subset = choose_subset(name, dataset)
        data = datasets.load_dataset(
            name, subset, split=dataset.split, revision=dataset.revision, streaming=True, cache_dir=str(home.cache / "hub" / "datasets")
        )
        rows = [dict(row) for row in data.take(samples)]
    columns = list(data.column_names or (rows[0] if rows else ()))
    return rows, columns, _total(data, dataset.split)


def choose_subset(name: str, dataset: DatasetSection) -> str | None:
    """The subset asked for, else 'main', 'default', or the only one.

    Raises:
        InvalidInput: There are several and none is plainly meant.
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
    raise InvalidInput(f"{name} has several subsets. Choose one of: {', '.join(known[:40])}.", field="dataset.subset")


def _total(data: Any, split: str) -> int | None:
    splits = data.info.splits or {}
    return splits[split].num_examples if split in splits else None


@contextlib.contextmanager
def _explained(name: str, dataset: DatasetSection) -> Iterator[None]:
    """Turn what the client raises into words. Its exceptions share no base class, so all are caught here."""
    try:
        yield
    except TunesmithError:
        raise
    except Exception as error:  # noqa: BLE001 - the border to a library that reads strangers' files
        log.info("reading %s from the Hub failed", name, exc_info=True)
        raise explain(error, name, dataset) from None


def explain(error: BaseException, name: str, dataset: DatasetSection) -> TunesmithError:
    """The error of the Hub's client as one of ours, with what to do."""
    chain = list(_causes(error))
    names = {kind.__name__ for cause in chain for kind in type(cause).__mro__}
    text = str(error)
    if "GatedRepoError" in names or "gated dataset" in text:
        return Unavailable(
            f"{name} is gated: accept its terms on its page of the Hub, then set HF_TOKEN to a token of your account and start again.",
            field="dataset.source",
        )
    if names & {"RepositoryNotFoundError", "DatasetNotFoundError"} and not names & _OFFLINE:
        return NotFound(
            f"The Hub has no dataset {name}, or it is private. Check the spelling; for a private one set HF_TOKEN.",
            field="dataset.source",
        )
    if "RevisionNotFoundError" in names:
        return InvalidInput(f"{name} has no revision {dataset.revision!r}.", field="dataset.revision")
    if names & _OFFLINE or "offline" in text.casefold():
        return Unavailable(
            f"The Hub cannot be reached, and {name} is not in the cache of this machine. "
            "Check the network, or upload a file, or use generated:arithmetic, which needs none.",
            field="dataset.source",
        )
    if "BuilderConfig" in text and "not found" in text:
        return InvalidInput(f"{name} has no subset {dataset.subset!r}. {_shorten(text)}", field="dataset.subset")
    if "split" in text.casefold() and isinstance(error, ValueError | KeyError):
        return InvalidInput(f"{name} has no split {dataset.split!r}. {_shorten(text)}", field="dataset.split")
    return InvalidInput(f"{name} cannot be read: {_shorten(text) or type(error).__name__}", field="dataset.source")


_OFFLINE = {"ConnectionError", "ConnectError", "ConnectTimeout", "OfflineModeIsEnabled", "LocalEntryNotFoundError", "TimeoutException", "gaierror", "ReadTimeout", "ProxyError"}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "…"
