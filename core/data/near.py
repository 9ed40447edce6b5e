"""Near duplicates: MinHash signatures, compared within buckets, then verified on the words.

Two texts are near duplicates if they share at least :data:`ALIKE` of their three-word shingles. Case,
punctuation and spacing are ignored; digits are not, so sums with other numbers stay separate rows.
"""

from __future__ import annotations

import re
from zlib import crc32

import numpy as np

ALIKE = 0.8
"""Jaccard similarity of shingles from which two texts count as the same."""
RUN = 3
"""Words in a shingle."""
_PERMUTATIONS, _BANDS = 64, 16
_PRIME = (1 << 31) - 1
_WORD = re.compile(r"\w+")
_draw = np.random.default_rng(20260101)
_A = _draw.integers(1, _PRIME, _PERMUTATIONS, dtype=np.uint64)
_B = _draw.integers(0, _PRIME, _PERMUTATIONS, dtype=np.uint64)


class NearDuplicates:
    """Stores texts and finds the earlier one that a new text nearly repeats.

    Memory grows by about 1 kB per text.
    """

    def __init__(self) -> None:
        self._buckets: dict[tuple[int, bytes], list[int]] = {}
        self._seen: list[frozenset[int]] = []

    def add(self, text: str) -> int | None:
        """Index of an earlier near duplicate; if there is none, stores the text and returns None."""
        runs = runs_of(text)
        keys = _keys(runs)
        found = self._find(runs, keys)
        if found is None:
            for key in keys:
                self._buckets.setdefault(key, []).append(len(self._seen))
            self._seen.append(runs)
        return found

    def find(self, text: str) -> int | None:
        """Like :meth:`add`, but stores nothing."""
        runs = runs_of(text)
        return self._find(runs, _keys(runs))

    def _find(self, runs: frozenset[int], keys: list[tuple[int, bytes]]) -> int | None:
        for number in sorted({number for key in keys for number in self._buckets.get(key, ())}):
            if alike(runs, self._seen[number]) >= ALIKE:
                return number
        return None


def runs_of(text: str) -> frozenset[int]:
    """Hashes of a text's shingles; of its single words if it is short."""
    words = _WORD.findall(text.casefold())
    if len(words) < 2 * RUN:
        return frozenset({crc32(" ".join(words).encode("utf-8", "replace"))})
    return frozenset(
        crc32(" ".join(words[i : i + RUN]).encode("utf-8", "replace")) for i in range(len(words) - RUN + 1)
    )


def alike(one: frozenset[int], other: frozenset[int]) -> float:
    """Jaccard similarity of the shingles, 0 to 1."""
    return len(one & other) / len(one | other)


def _keys(runs: frozenset[int]) -> list[tuple[int, bytes]]:
    values = np.fromiter(runs, dtype=np.uint64, count=len(runs)) % _PRIME
    signature = ((values[:, None] * _A + _B) % _PRIME).min(axis=0).astype(np.uint32)
    width = _PERMUTATIONS // _BANDS
    return [(band, signature[band * width : (band + 1) * width].tobytes()) for band in range(_BANDS)]
