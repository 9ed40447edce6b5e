"""Finds groups of completions by step without reading the whole file each time."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """Where a group's line lies, and what it belongs to."""

    start: int
    length: int
    phase: str
    step: int
    attempt: int


class CompletionIndex:
    """Byte offsets of the groups in one ``completions.jsonl``; reads on from where it was."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[Entry] = []
        self._offset = 0
        self._lock = threading.Lock()

    def entries(self) -> list[Entry]:
        """Every group, in order; of a step done twice only the later attempt's."""
        with self._lock:
            self._read_on()
            found = list(self._entries)
        latest: dict[tuple[str, int], int] = {}
        for entry in found:
            latest[entry.phase, entry.step] = max(entry.attempt, latest.get((entry.phase, entry.step), 0))
        return [entry for entry in found if entry.attempt == latest[entry.phase, entry.step]]

    def group(self, entry: Entry) -> dict[str, Any]:
        with self._path.open("rb") as file:
            file.seek(entry.start)
            group: dict[str, Any] = json.loads(file.read(entry.length))
        return group

    def _read_on(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._add(line)
        except FileNotFoundError:
            return

    def _add(self, line: bytes) -> None:
        row = json.loads(line)
        entry = Entry(self._offset, len(line), row.get("phase", "training"), row.get("step", 0), row.get("attempt", 1))
        self._entries.append(entry)
        self._offset += len(line)


class CompletionIndexes:
    """The indexes of the runs looked at last."""

    KEEP = 16

    def __init__(self) -> None:
        self._indexes: OrderedDict[Path, CompletionIndex] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, path: Path) -> CompletionIndex:
        with self._lock:
            index = self._indexes.setdefault(path, CompletionIndex(path))
            self._indexes.move_to_end(path)
            while len(self._indexes) > self.KEEP:
                self._indexes.popitem(last=False)
        return index

    def forget(self, path: Path) -> None:
        with self._lock:
            self._indexes.pop(path, None)
