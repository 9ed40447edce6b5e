"""Mixes several sources: each with its own mapping, drawn by weight, shuffled by seed.

The shares are exact and no row is used twice: the source that would run out first limits how many rows
there are. Which rows are taken depends only on their content and the seed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from core.data.rows import content_hash
from core.data.tasks import shares
from core.dataset import Row

SOURCE = "mix"


def draw(parts: Sequence[list[Row]], weights: Sequence[float], seed: int, most: int | None = None) -> list[Row]:
    """Rows of all parts in proportion to their weights.

    Args:
        parts: The mapped rows of each source.
        weights: Relative: 2.0 and 1.0 mean two thirds and one third.
        seed: Determines which rows are taken, and their order.
        most: Upper limit of rows.

    >>> a = [{"instruction": str(i), "response": "a"} for i in range(9)]
    >>> b = [{"instruction": str(i), "response": "b"} for i in range(9)]
    >>> drawn = draw([a, b], [2.0, 1.0], seed=0)
    >>> len(drawn), sum(row["response"] == "a" for row in drawn)
    (13, 9)
    """
    counts = counts_of([len(part) for part in parts], weights, most)
    taken = [row for part, count in zip(parts, counts, strict=True) for row in _some(part, count, seed)]
    random.Random(f"mix:{seed}").shuffle(taken)  # noqa: S311 - reproducible, nothing secret
    return taken


def counts_of(sizes: Sequence[int], weights: Sequence[float], most: int | None = None) -> list[int]:
    """How many rows to take from each source, at most what it has."""
    whole = sum(weights)
    total = min(int(size * whole / weight) for size, weight in zip(sizes, weights, strict=True))
    total = min(total, most or total)
    while any(count > size for count, size in zip(shares(weights, total), sizes, strict=True)):
        total -= 1
    return shares(weights, total)


def _some(part: list[Row], count: int, seed: int) -> list[Row]:
    def key(row: Row) -> str:
        return hashlib.sha256(f"mix:{seed}:{content_hash(row)}".encode()).hexdigest()

    return sorted(part, key=key)[:count]
