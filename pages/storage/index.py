"""The page of disk usage."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from pages.trash.index import WORDS
from services.container import Services
from services.models.families import BASE_MODELS
from services.storage.usage import Download, Item, Usage

PARTS = {
    "runs": ("Runs", "Settings, results, adapters, and logs of your runs"),
    "checkpoints": ("Checkpoints", "Saved states to resume from"),
    "exports": ("Exports", ""),
    "datasets": ("Datasets", "Files you uploaded or imported"),
    "checks": ("Evaluations and checks", ""),
    "models": ("Base models", "Downloaded from Hugging Face, and the built-in model"),
    "downloaded": ("Downloaded datasets", "As they came from Hugging Face"),
    "caches": ("Caches", "Rebuilt when needed"),
    "logs": ("Logs", ""),
    "trash": ("Trash", ""),
}
"""Part to its title and what is in it, in the order of the page."""
KINDS = {**WORDS, "model": "Base model", "folder": "Folder that Tunesmith does not know"}
_PAGES = {"run": "/runs/{}", "export": "/exports/{}", "evaluation": "/evaluations/{}", "probe": "/probe/{}"}
_PAGES["dataset"] = "/datasets/{}"


@dataclass(frozen=True)
class PartLine:
    """A kind of item with its bytes; ``share`` of the total, 0 to 1."""

    key: str
    title: str
    text: str
    size: int
    share: float


@dataclass(frozen=True)
class ItemLine:
    """One large item; ``url`` is '' if it has no page."""

    kind: str
    name: str
    size: int
    url: str


@dataclass(frozen=True)
class StoragePage:
    """The latest measurement; ``usage`` is None before the first. ``trash`` is its current size."""

    usage: Usage | None
    measuring: bool
    free: int
    parts: tuple[PartLine, ...]
    largest: tuple[ItemLine, ...]
    downloads: tuple[Download, ...]
    trash: int
    titles: dict[str, str]


def storage_page(services: Services) -> StoragePage:
    """Disk usage as of the latest measurement."""
    usage, measuring = services.storage.look()
    return StoragePage(
        usage,
        measuring,
        shutil.disk_usage(services.settings.home.root).free,
        _parts(usage) if usage else (),
        tuple(_item(item) for item in usage.largest) if usage else (),
        usage.downloads if usage else (),
        sum(entry.size for entry in services.trash.list()),
        {info.name: info.title for info in BASE_MODELS},
    )


def _parts(usage: Usage) -> tuple[PartLine, ...]:
    whole = usage.total or 1
    return tuple(
        PartLine(key, title, text, usage.part(key), usage.part(key) / whole) for key, (title, text) in PARTS.items()
    )


def _item(item: Item) -> ItemLine:
    return ItemLine(KINDS[item.kind], item.name, item.size, _PAGES.get(item.kind, "").format(item.id))
