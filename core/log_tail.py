"""The end of a text file, as a terminal would show it."""

from __future__ import annotations

import re
from pathlib import Path

MOST = 1 << 20
"""Bytes looked at from the end of a file."""
NATIVE = (
    r"^(~?(llama|ggml|gguf|load|print|init|create|sched|graph|set|register|common|clip)_[a-z0-9_]*(::[a-z0-9_~]+)*"
    r"|load|alloc|build|decode|reserve): (?!.*\b([Ee]rror|[Ff]ail|out of memory))|^.{0,80}\d%\|"
)
"""Noise in a log: remarks of llama.cpp and ggml that are not errors, and progress bars.

An expression for both Python and JavaScript, because live pages apply it, too."""
_NATIVE = re.compile(NATIVE)
_SHOWN_OF_NATIVE = 400
"""Maximum number of these lines on a page, for 'Show everything'."""


def tail_text(path: Path, lines: int, *, useful: bool = False) -> str:
    """The last lines of a file; an empty text if there is none.

    Args:
        path: The file.
        lines: How many.
        useful: Count only lines that are not :func:`native`; those between them come along.
    """
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
    if useful:
        shown = _useful(shown, lines)
        lines = len(shown)
    return "\n".join(shown[-lines:]) if lines > 0 else ""


def native(line: str) -> bool:
    """Whether a line is a native library's remark or a progress bar.

    >>> native("llama_adapter_lora_init_impl: lora for blk.8 cannot use buft AMX, fallback to CPU")
    True
    >>> native("ggml_backend_alloc: failed to allocate 3 GB"), native("12:00:01 INFO training step 3: reward 0.5")
    (False, False)
    """
    return _NATIVE.search(line) is not None


def _useful(shown: list[str], lines: int) -> list[str]:
    """The last lines with so many that are not :func:`native`, and only the latest of the others."""
    kept, useful, others = [], 0, 0
    for line in reversed(shown):
        other = native(line)
        if not other and useful == lines:
            break
        useful, others = useful + (not other), others + other
        if not other or others <= _SHOWN_OF_NATIVE:
            kept.append(line)
    return kept[::-1]


def as_shown(line: str) -> str:
    """A line as shown in a terminal: a carriage return overwrites it (progress bars)."""
    return line.rstrip("\r").rsplit("\r", 1)[-1]


class Tail:
    """New complete lines of a growing file, from its current end on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = self._size()

    def new_lines(self) -> list[str]:
        """Lines that were completed since the last call."""
        size = self._size()
        if size < self._offset:  # It was cut or rewritten.
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
