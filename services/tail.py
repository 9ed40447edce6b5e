"""The end of a text file, as a terminal would show it."""

from __future__ import annotations

from pathlib import Path

MOST = 1 << 20
"""Bytes looked at from the end of a file."""


def tail_text(path: Path, lines: int) -> str:
    """The last lines of a file; an empty text where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MOST))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    shown = [as_shown(line) for line in text.split("\n")]
    if shown and not shown[-1]:
        shown.pop()
    return "\n".join(shown[-lines:]) if lines > 0 else ""


def as_shown(line: str) -> str:
    """What a terminal leaves of a line: a carriage return starts it again (progress bars)."""
    return line.rstrip("\r").rsplit("\r", 1)[-1]


class Tail:
    """New complete lines of a growing file, from its present end on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = self._size()

    def new_lines(self) -> list[str]:
        """Lines that were completed since the last call."""
        size = self._size()
        if size < self._offset:  # It was cut or written anew.
            self._offset = 0
        if size == self._offset:
            return []
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                chunk = file.read(MOST)
        except OSError:
            return []
        end = chunk.rfind(b"\n") + 1 or (MOST if len(chunk) == MOST else 0)
        self._offset += end
        return (
            [as_shown(line) for line in chunk[:end].decode("utf-8", "replace").removesuffix("\n").split("\n")]
            if end
            else []
        )

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0
