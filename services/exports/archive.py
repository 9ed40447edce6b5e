"""Several files as one zip, streamed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

PIECE = 1 << 20
"""Bytes per read."""


class _Passage:
    """A writable file that passes on its input."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None: ...

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def zipped(paths: Sequence[Path]) -> Iterator[bytes]:
    """Stream files as one zip without compression; nothing is written to disk."""
    passage = _Passage()
    with zipfile.ZipFile(passage, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]  # writes only
        for path in paths:
            with archive.open(zipfile.ZipInfo(path.name), "w", force_zip64=True) as entry, path.open("rb") as file:
                while piece := file.read(PIECE):
                    entry.write(piece)
                    yield passage.take()
    yield passage.take()
