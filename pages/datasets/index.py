"""The list of datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.dataset import Damage, Shape, UploadInfo
from pages.datasets.catalogue import Catalogue, catalogue
from services.container import Services
from services.datasets.incoming import JobView
from services.datasets.library import CacheEntry


@dataclass(frozen=True)
class Mapped:
    """What a dataset's rows hold: ``examples``, ``pairs`` or ``ratings``; and its columns in one line."""

    shape: str
    words: str


@dataclass(frozen=True)
class DatasetsPage:
    """Every dataset, imports in progress, and popular datasets; ``imported`` has the ids of imported ones."""

    uploads: tuple[UploadInfo, ...]
    damaged: tuple[Damage, ...]
    uses: dict[str, int]
    maps: dict[str, Mapped]
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
        maps={info.id: _mapped(services, info) for info in uploads},
        jobs=tuple(services.dataset_jobs.all()),
        known=catalogue(args, "datasets.index"),
        # The newest of several copies: it comes first in the list.
        imported={info.origin: info.id for info in reversed(uploads) if info.origin != "upload"},
        cache=tuple(services.library.cache()),
    )


def _mapped(services: Services, info: UploadInfo) -> Mapped:
    asks = info.mapping.get("instruction_field", info.fields.instruction)
    section = services.library.mapping(info)
    shape = Shape.of(section)
    if not asks:
        return Mapped("", "columns not mapped yet")
    if shape is Shape.PAIRS:
        return Mapped(shape, f"{asks} → {section['chosen_field']}, {section['rejected_field']}")
    answers = section["response_field"]
    if not answers:
        return Mapped("", f"{asks}, no answer column")
    return Mapped(shape, f"{asks} → {answers}" + (f", {section['label_field']}" if shape is Shape.RATINGS else ""))
