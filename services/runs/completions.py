"""Finds groups of completions by step or text without parsing the whole file each time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple, TypedDict

from core.job_dir import LONGEST_LINE, read_row
from core.job_rows import GroupRow, is_group

SEARCHED = 32 * 1024 * 1024
"""Bytes of a run's answers that one search reads."""


class Entry(NamedTuple):
    """The position of a group's line in the file, and the step it belongs to."""

    start: int
    length: int
    phase: str
    step: int
    attempt: int


class CompletionsPage(TypedDict):
    """Some of a run's groups, their total number, and all steps that have any."""

    groups: list[GroupRow]
    total: int
    steps: list[int]


class CompletionIndex:
    """Byte offsets of the groups in one ``completions.jsonl``; continues reading where it stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._entries: list[Entry] = []
        self._bad: list[int] = []
        self._offset = self._lines = self._file = 0

    def entries(self) -> list[Entry]:
        """All groups in order; if a step was repeated, only those of the later attempt."""
        with self._lock:
            self._read_on()
            found = list(self._entries)
        latest: dict[tuple[str, int], int] = {}
        for entry in found:
            latest[entry.phase, entry.step] = max(entry.attempt, latest.get((entry.phase, entry.step), 0))
        return [entry for entry in found if entry.attempt == latest[entry.phase, entry.step]]

    def bad(self) -> list[int]:
        """Numbers of the lines that are not valid groups, from 1."""
        with self._lock:
            self._read_on()
            return list(self._bad)

    def group(self, entry: Entry) -> GroupRow | None:
        """The group at an entry; None if the file has changed since."""
        try:
            with self._path.open("rb") as file:
                file.seek(entry.start)
                return read_row(file.read(entry.length), is_group)
        except OSError:
            return None

    def find(self, text: str, phase: str, limit: int) -> tuple[list[GroupRow], bool]:
        """Groups whose question, reference or answers contain a text, ignoring case; newest first.

        Returns:
            At most ``limit`` groups, and whether the search stopped early: at the limit or after
            :data:`SEARCHED` bytes.
        """
        found: list[GroupRow] = []
        read, words = 0, text.lower()
        for entry in reversed(self.entries()):
            if entry.phase != phase:
                continue
            if len(found) == limit or read > SEARCHED:
                return found, True
            read += entry.length
            group = self.group(entry)
            if group is not None and words in _text(group):
                found.append(group)
        return found, False

    def _read_on(self) -> None:
        try:
            found = self._path.stat()
            if found.st_size < self._offset or found.st_ino != self._file:  # It was truncated or rewritten.
                self._begin()
                self._file = found.st_ino
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while line := file.readline(LONGEST_LINE):
                    if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                        break
                    self._add(line)
        except OSError:
            self._begin()

    def _add(self, line: bytes) -> None:
        self._lines += 1
        row = read_row(line, is_group)
        if row is not None:
            place = (row.get("phase", "training"), row.get("step", 0), row.get("attempt", 1))
            self._entries.append(Entry(self._offset, len(line), *place))
        elif line.strip():
            self._bad.append(self._lines)
        self._offset += len(line)


def _text(group: GroupRow) -> str:
    """The searchable text of a group, in lower case."""
    said = [str(group["instruction"]), str(group.get("reference") or "")]
    return "\n".join([*said, *(answer["text"] for answer in group["completions"])]).lower()


class CompletionIndexes:
    """The indexes of the most recently viewed runs."""

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

    def discard(self, path: Path) -> None:
        with self._lock:
            self._indexes.pop(path, None)
