"""The catalog of popular datasets: cards, and filter chips with their state in the URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import core.methods
from core.data.known_datasets import CATALOGUE, KnownDataset, find
from core.dataset import Shape
from core.rewards import PRESETS

NO_ANSWER = "none"
FIRST = 6
"""Cards shown without a search or filter."""
SIZES = (
    ("small", "Under 10,000 rows", 0, 10_000),
    ("medium", "10,000–100,000", 10_000, 100_000),
    ("large", "Over 100,000", 100_000, 10**12),
)
LICENSES = {
    "permissive": "Permissive (MIT, Apache)",
    "attribution": "Attribution (CC BY)",
    "share-alike": "Share-alike (CC BY-SA)",
    "noncommercial": "Non-commercial",
}


@dataclass(frozen=True)
class Chip:
    """A filter that a click toggles; ``query`` is its URL."""

    title: str
    chosen: bool
    count: int
    query: dict[str, str]


@dataclass(frozen=True)
class ChipGroup:
    """Chips of which at most one is active."""

    title: str
    chips: tuple[Chip, ...]


@dataclass(frozen=True)
class Card:
    """One dataset of the catalog. ``scoring`` is empty if there is no single right answer to check; ``fits`` says for
    which methods pairs and ratings are.
    """

    known: KnownDataset
    columns: str
    scoring: str
    fits: str


@dataclass(frozen=True)
class Catalogue:
    """The displayed part of the catalog.

    Attributes:
        kept: The part of the URL that is not a filter.
        found: How many datasets match; ``cards`` are the first of them.
        everything: The URL that shows all of them, if some are left out.
    """

    endpoint: str
    kept: dict[str, str]
    q: str
    active: dict[str, str]
    groups: tuple[ChipGroup, ...]
    cards: tuple[Card, ...]
    found: int
    total: int
    everything: dict[str, str]


def license_kind(known: KnownDataset) -> str:
    """The key of a license in :data:`LICENSES`."""
    text = known.licence.casefold()
    if "-nc-" in text or "non-commercial" in text:
        return "noncommercial"
    if text.startswith("cc-by-sa"):
        return "share-alike"
    return "attribution" if text.startswith("cc-by") else "permissive"


def size_kind(known: KnownDataset) -> str:
    """The key of a row count in :data:`SIZES`."""
    return next(key for key, _, least, below in SIZES if least <= known.rows < below)


def _rewards() -> dict[str, str]:
    used = {known.reward for known in CATALOGUE}
    return {name: preset.title for name, preset in PRESETS.items() if name in used} | {NO_ANSWER: "No answer to check"}


_KINDS: tuple[tuple[str, str, Callable[[KnownDataset], str], Callable[[], Mapping[str, str]]], ...] = (
    ("task", "Task", lambda one: one.category, lambda: {one.category: one.category.capitalize() for one in CATALOGUE}),
    ("size", "Size", size_kind, lambda: {key: title for key, title, _, _ in SIZES}),
    ("license", "License", license_kind, lambda: LICENSES),
    ("reward", "Reward", lambda one: one.reward or NO_ANSWER, _rewards),
)
"""Each filter's name in the URL, its title, a dataset's value, and the titles of its values."""


def catalogue(args: Mapping[str, str], endpoint: str, **kept: str) -> Catalogue:
    """The catalog filtered by a URL.

    Args:
        args: The URL's query; ``q`` is a search. Unknown values are ignored.
        endpoint: The page that shows it.
        kept: Other parts of the URL to keep.
    """
    q = args.get("q", "").strip()[:200]
    titles = {name: values() for name, _, _, values in _KINDS}
    active = {name: args[name] for name in titles if args.get(name, "") in titles[name]}
    value = {name: of for name, _, of, _ in _KINDS}
    matching = find(q)

    def counted(filters: Mapping[str, str]) -> list[KnownDataset]:
        return [one for one in matching if all(value[name](one) == wanted for name, wanted in filters.items())]

    def chip(name: str, key: str, title: str) -> Chip:
        others = {other: wanted for other, wanted in active.items() if other != name}
        chosen = active.get(name) == key
        query = kept | ({"q": q} if q else {}) | others | ({} if chosen else {name: key})
        return Chip(title, chosen, len(counted(others | {name: key})), query)

    groups = tuple(
        ChipGroup(title, tuple(chip(name, key, words) for key, words in titles[name].items()))
        for name, title, _, _ in _KINDS
    )
    found = counted(active)
    whole = bool(q or active or args.get("all")) or len(found) <= FIRST
    return Catalogue(
        endpoint=endpoint,
        kept=kept,
        q=q,
        active=active,
        groups=groups,
        cards=tuple(_card(one) for one in (found if whole else found[:FIRST])),
        found=len(found),
        total=len(CATALOGUE),
        everything={} if whole else kept | {"all": "1"},
    )


def _card(known: KnownDataset) -> Card:
    asks, answers = known.mapping["instruction_field"], known.mapping["response_field"]
    columns = f"the conversation in {asks}" if asks == answers else f"{asks} → {answers}"
    if known.shape is Shape.PAIRS:
        columns = f"{columns} and {known.mapping['rejected_field']}"
    if known.shape is Shape.RATINGS:
        columns = f"{columns}, rated by {known.mapping['label_field']}"
    return Card(known, columns, PRESETS[known.reward].title if known.reward else "", _fits(known))


def _fits(known: KnownDataset) -> str:
    """What its rows are for, with the methods; empty for examples, whose reward says it."""
    if known.shape is Shape.EXAMPLES:
        return ""
    terms = ", ".join(one.term for one in core.methods.METHODS if known.shape in one.shapes)
    return f"{str(known.shape).capitalize()}{f' for {terms}' if terms else ''}"
