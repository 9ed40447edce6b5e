"""A GGUF header is read as the library reads it, and an incomplete GGUF is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter

from core.training.gguf import header as gguf_header

VALUES: dict[str, tuple[Any, GGUFValueType]] = {
    "text": ("größer", GGUFValueType.STRING),
    "empty": ("", GGUFValueType.STRING),
    "yes": (True, GGUFValueType.BOOL),
    "small": (-7, GGUFValueType.INT8),
    "byte": (200, GGUFValueType.UINT8),
    "short": (-3000, GGUFValueType.INT16),
    "word": (60_000, GGUFValueType.UINT16),
    "whole": (-70_000, GGUFValueType.INT32),
    "count": (4_000_000_000, GGUFValueType.UINT32),
    "long": (-(1 << 40), GGUFValueType.INT64),
    "large": (1 << 63, GGUFValueType.UINT64),
    "half": (0.5, GGUFValueType.FLOAT32),
    "double": (0.1, GGUFValueType.FLOAT64),
}
LISTS: dict[str, list[Any]] = {
    "words": ["a", "", "größer"],
    "numbers": [1, 2, 3],
    "shares": [0.5, 0.25],
    "answers": [True, False],
}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A file with every type of value, lists between them, and tensors with and without blocks."""
    path = tmp_path / "whole.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    for (name, (value, kind)), (title, values) in zip(VALUES.items(), [*LISTS.items()] * 4, strict=False):
        writer.add_key_value(name, value, kind)
        writer.add_array(f"{name}.{title}", values)
    writer.add_tensor("plain", np.ones((3, 5), dtype=np.float32))
    blocks: Any = np.zeros((2, 34), dtype=np.uint8)
    writer.add_tensor("blocks", blocks, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_it_says_what_the_library_says(whole: Path) -> None:
    """Every single value, and each tensor's type, weights and bytes; lists are skipped."""
    found, reader = gguf_header.read(whole), GGUFReader(whole)
    assert {name: found.fields[name] for name in VALUES} == {name: value for name, (value, _) in VALUES.items()}
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    alone = {name: field.contents() for name, field in fields.items() if field.types[0] != GGUFValueType.ARRAY}
    assert found.fields == alone
    assert {name: (one.kind, one.weights, one.size) for name, one in found.tensors.items()} == {
        one.name: (one.tensor_type.name, int(one.n_elements), int(one.n_bytes)) for one in reader.tensors
    }
    assert found.tensors["blocks"] == gguf_header.Tensor("Q8_0", 64, 68)


def test_a_file_that_was_cut_anywhere_is_refused(whole: Path) -> None:
    """After any byte, including the last tensor's."""
    content, end = whole.read_bytes(), _end(whole)
    for length in range(end):
        whole.write_bytes(content[:length])
        with pytest.raises(ValueError):
            gguf_header.read(whole)
    whole.write_bytes(content[:end])
    assert len(gguf_header.read(whole).tensors) == 2


def _end(path: Path) -> int:
    """The end of the last tensor; padding follows."""
    return max(int(one.data_offset + one.n_bytes) for one in GGUFReader(path).tensors)


@pytest.mark.parametrize(("place", "value"), [(0, b"GGML"), (4, b"\x09"), (16, b"\xff\xff\xff\xff"), (24, b"\xff" * 8)])
def test_another_beginning_is_refused(whole: Path, place: int, value: bytes) -> None:
    """Not a GGUF, an unknown version, too many values, a key longer than the file."""
    content = bytearray(whole.read_bytes())
    content[place : place + len(value)] = value
    whole.write_bytes(content)
    with pytest.raises(ValueError):
        gguf_header.read(whole)
