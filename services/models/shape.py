"""The shapes of a model's tensors, read from the headers of its files without loading weights."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import TunesmithError
from core.gguf_size import ModelShape
from core.job_dir import read_json
from core.model import local_folder
from core.settings import Home
from services.models.memory import snapshot

LONGEST_HEADER = 100_000_000
"""Bytes; the format's limit."""
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
FOUR_BIT = "-bnb-4bit"


def shape_of(base: str, home: Home) -> ModelShape | None:
    """A base model's shape, or None if it is not on this machine, damaged or stored with fewer than 16 bits.

    Args:
        base: Its name or path. One that was loaded in 4-bit is exported from the model without that suffix.
        home: Location of models.
    """
    name = base.removesuffix(FOUR_BIT)
    try:
        folder = local_folder(name, home) or snapshot(name, home)
    except TunesmithError:
        return None
    if folder is None:
        return None
    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))
    try:
        return _read(folder, tuple((file, file.stat().st_mtime_ns) for file in files))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # violates the format
        return None


@lru_cache(maxsize=16)
def _read(folder: Path, files: tuple[tuple[Path, int], ...]) -> ModelShape | None:
    settings: dict[str, Any] = read_json(folder / "config.json") or {}
    tensors = {name: entry for file, _ in files for name, entry in header_of(file).items() if name != "__metadata__"}
    if not tensors or any(entry["dtype"] not in FLOATS for entry in tensors.values()):
        return None
    if settings.get("tie_word_embeddings"):
        tensors.pop("lm_head.weight", None)
    heads = int(settings["num_attention_heads"])
    return ModelShape(
        {name: tuple(map(int, entry["shape"])) for name, entry in tensors.items()},
        layers=int(settings["num_hidden_layers"]),
        sharing=heads / int(settings.get("num_key_value_heads") or heads),
        vocabulary=int(settings["vocab_size"]),
    )


def header_of(file: Path) -> dict[str, Any]:
    """The header of a safetensors file: its tensors by name.

    Raises:
        OSError, ValueError: It cannot be read, or violates the format.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > LONGEST_HEADER:
            raise ValueError("The header is longer than the format allows.")
        found: dict[str, Any] = json.loads(opened.read(length))
    return found
