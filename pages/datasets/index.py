"""The list of datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.dataset import Damage, UploadInfo
from pages.datasets.catalogue import Catalogue, catalogue
from services.container import Services
from services.datasets.incoming import JobView
from services.datasets.library import CacheEntry


@dataclass(frozen=True)
class DatasetsPage:
    """Every dataset, imports in progress, and popular datasets; ``imported`` has the ids of imported ones."""

    uploads: tuple[UploadInfo, ...]
    damaged: tuple[Damage, ...]
    uses: dict[str, int]
    jobs: tuple[JobView, ...]
    known: Catalogue
    imported: dict[str, str]
    cache: tuple[CacheEntry, ...]


def datasets_page(services: Services, args: Mapping[str, str]) -> DatasetsPage:
    """``args`` are the search and filters of the catalog, see :func:`pages.datasets.catalogue.catalogue`."""
    uploads = tuple(services.datasets.list())
    return DatasetsPage(
        uploads=uploads,
        damaged=tuple(services.datasets.damaged()),
        uses=services.library.use_counts(),
        jobs=tuple(services.dataset_jobs.all()),
        known=catalogue(args, "datasets.index"),
        # The newest of several copies: it comes first in the list.
        imported={info.origin: info.id for info in reversed(uploads) if info.origin != "upload"},
        cache=tuple(services.library.cache()),
    )
