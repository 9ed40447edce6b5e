"""Reads a GGUF header: its single values, and the name and type of each tensor.

The library's own reader creates an array for every token, which takes seconds; here lists are skipped.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

TEXT, LIST = 8, 9
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
"""Format of a value of each other type."""
VERSIONS = (2, 3)
ALIGNMENT = 32

Value = str | int | float | bool


@dataclass(frozen=True)
class Tensor:
    """One tensor: its type's name, its weights and its bytes."""

    kind: str
    weights: int
    size: int


@dataclass
class Header:
    """Single values by key, and tensors by name."""

    fields: dict[str, Value] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


def read(path: Path) -> Header:
    """Read a file's header.

    Raises:
        ValueError: It is not a GGUF, is damaged, or is truncated.
        OSError: It cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Reader(data).header()
        except struct.error as error:
            raise ValueError(f"{path.name} ends inside its header") from error


class _Reader:
    """A sequential reader."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def header(self) -> Header:
        found = Header()
        version = self._version()
        if version not in VERSIONS:
            raise ValueError(f"unknown GGUF version: {version}")
        tensors, values = self._unpack("<Q"), self._unpack("<Q")
        for _ in range(values):
            key, kind = self._text(), self._unpack("<I")
            value = self._value(kind)
            if value is not None:
                found.fields[key] = value
        end = max((self._tensor(found) for _ in range(tensors)), default=0)
        step = int(found.fields.get("general.alignment", ALIGNMENT)) or 1
        if -(-self.at // step) * step + end > len(self.data):
            raise ValueError("the file ends before the end of its last tensor")
        return found

    def _version(self) -> int:
        if self.data[:4] != b"GGUF":
            return 0
        self.at = 4
        return int(self._unpack("<I"))

    def _unpack(self, form: str) -> int:
        value: int = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def _text(self) -> str:
        length = self._unpack("<Q")
        start = self.at
        self._skip(length)
        return self.data[start : self.at].decode()

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self.data):
            raise ValueError("the file ends inside its header")

    def _value(self, kind: int) -> Value | None:
        """The next value; None for a list, which is skipped."""
        if kind == TEXT:
            return self._text()
        if kind in SCALARS:
            return self._unpack(SCALARS[kind])
        if kind != LIST:
            raise ValueError(f"a value of unknown type {kind}")
        self._pass_over(self._unpack("<I"), self._unpack("<Q"))
        return None

    def _pass_over(self, kind: int, count: int) -> None:
        if kind in SCALARS:
            self._skip(count * struct.calcsize(SCALARS[kind]))
        elif kind == TEXT:
            self._pass_over_texts(count)
        else:
            for _ in range(count):
                self._value(kind)

    def _pass_over_texts(self, count: int) -> None:
        length, data, at = struct.Struct("<Q").unpack_from, self.data, self.at
        for _ in range(count):
            at += 8 + length(data, at)[0]
        self.at = at
        self._skip(0)

    def _tensor(self, found: Header) -> int:
        """Record the next tensor; returns its end, relative to the first one's start."""
        name = self._text()
        weights = math.prod(self._unpack("<Q") for _ in range(self._unpack("<I")))
        kind, start = GGMLQuantizationType(self._unpack("<I")), self._unpack("<Q")
        block, size = GGML_QUANT_SIZES[kind]
        if name in found.tensors:
            raise ValueError(f"two tensors are named {name}")
        found.tensors[name] = Tensor(kind.name, weights, weights * size // block)
        return start + found.tensors[name].size
