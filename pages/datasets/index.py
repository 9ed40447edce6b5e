"""The list of datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.data.known_datasets import CATALOGUE, KnownDataset, find
from core.dataset import Damage, UploadInfo
from services.container import Services
from services.datasets.incoming import JobView
from services.datasets.library import CacheEntry


@dataclass(frozen=True)
class DatasetsPage:
    """Every dataset, what is under way, and what could be fetched."""

    uploads: tuple[UploadInfo, ...]
    damaged: tuple[Damage, ...]
    uses: dict[str, int]
    jobs: tuple[JobView, ...]
    known: tuple[KnownDataset, ...]
    categories: tuple[str, ...]
    category: str
    q: str
    cache: tuple[CacheEntry, ...]


def datasets_page(services: Services, args: Mapping[str, str]) -> DatasetsPage:
    """``args`` are ``q`` and ``category`` for the catalogue of well-known datasets."""
    uploads = tuple(services.datasets.list())
    return DatasetsPage(
        uploads=uploads,
        damaged=tuple(services.datasets.damaged()),
        uses=services.library.use_counts(),
        jobs=tuple(services.dataset_jobs.all()),
        known=tuple(find(args.get("q", ""), args.get("category", ""))),
        categories=tuple(dict.fromkeys(known.category for known in CATALOGUE)),
        category=args.get("category", ""),
        q=args.get("q", ""),
        cache=tuple(services.library.cache()),
    )
