"""The page of deleted items."""

from __future__ import annotations

from dataclasses import dataclass

from services.container import Services
from services.machine.bin import FOLDERS, Entry

WORDS = {
    "run": "Run",
    "probe": "Check before training",
    "evaluation": "Evaluation",
    "export": "Export",
    "dataset": "Dataset",
    "preset": "Preset",
    "reward": "Reward",
}
"""Kind to its name on the page."""


@dataclass(frozen=True)
class TrashItem:
    """One deleted item. ``gone_on`` is when it is deleted permanently, ISO 8601; '' for never."""

    id: str
    kind: str
    name: str
    deleted_at: str
    size: int
    gone_on: str
    restorable: bool


@dataclass(frozen=True)
class TrashPage:
    """Everything in the trash, last deleted first."""

    items: tuple[TrashItem, ...]
    total: int
    days: int


def trash_page(services: Services) -> TrashPage:
    """What can be restored, and until when."""
    entries = services.trash.list()
    return TrashPage(
        tuple(_item(services, entry) for entry in entries),
        sum(entry.size for entry in entries),
        services.preferences.get().trash_days,
    )


def _item(services: Services, entry: Entry) -> TrashItem:
    gone = services.trash.gone_on(entry)
    return TrashItem(
        entry.id,
        WORDS.get(entry.kind, "Unknown"),
        entry.name,
        entry.deleted_at,
        entry.size,
        gone.isoformat() if gone else "",
        entry.kind in FOLDERS,
    )
