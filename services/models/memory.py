"""The memory a model needs for inference, estimated from its files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from core.model import Device
from core.model_hub.files import is_complete
from core.settings import Home
from services.models.families import BASE_MODELS

PROCESS = 500_000_000
"""Bytes of a process before it loads a model: Python and torch, measured."""
LLAMA_PROCESS = 150_000_000
"""The same with llama.cpp, which needs no torch."""
CONVERSATION = 1.15
"""Factor on the weights for the key-value cache and a forward pass."""
_FLOATS = {"F64", "F32", "F16", "BF16"}


def memory_needed(model: dict[str, Any], device: Device, home: Home) -> int | None:
    """Bytes that a process needs with a resolved model loaded.

    Args:
        model: From :meth:`services.models.references.References.resolve`.
        device: Determines the number format: 4 bytes per weight on a CPU, 2 on a GPU.
        home: Location of downloads.

    Returns:
        None if the model is not on this machine and of unknown size.
    """
    if model["kind"] == "gguf":
        return LLAMA_PROCESS + int(CONVERSATION * Path(model["path"]).stat().st_size)
    each = 2 if device.kind == "cuda" else 4
    folder = _folder(model, home)
    weights = weight_bytes(folder, each) if folder else _known(model["base"], each)
    return None if weights is None else PROCESS + int(CONVERSATION * weights)


def weight_bytes(folder: Path, each: int) -> int:
    """Bytes of a model's weights once loaded, from the headers of its safetensors files."""
    return sum(_tensor_bytes(file, each) for file in folder.glob("*.safetensors"))


def _tensor_bytes(file: Path, each: int) -> int:
    try:
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        return sum(
            math.prod(entry["shape"]) * each
            if entry["dtype"] in _FLOATS
            else entry["data_offsets"][1] - entry["data_offsets"][0]
            for entry in tensors
        )
    except (OSError, ValueError, KeyError, TypeError):
        return file.stat().st_size


def _folder(model: dict[str, Any], home: Home) -> Path | None:
    """The model's folder: its path, or the newest snapshot in the download cache."""
    base = Path(model["base"])
    return base if base.is_absolute() else snapshot(model["base"], home)


def snapshot(name: str, home: Home) -> Path | None:
    """The newest folder with a complete download of a Hugging Face model."""
    snapshots = home.cache / "hub" / "hub" / f"models--{name.replace('/', '--')}" / "snapshots"
    found = sorted(snapshots.iterdir(), key=lambda path: path.stat().st_mtime) if snapshots.is_dir() else []
    return next((path for path in reversed(found) if is_complete(path)), None)


def _known(name: str, each: int) -> int | None:
    parameters = next((info.parameters for info in BASE_MODELS if info.name == name), None)
    return None if parameters is None else int(parameters * 1e9 * each)
