"""Which files of a repository make up a model, and whether a folder has all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from core.job_dir import read_json

INDEX = "model.safetensors.index.json"
TOKENIZER = frozenset(
    {
        "added_tokens.json",
        "chat_template.jinja",
        "merges.txt",
        "special_tokens_map.json",
        "spiece.model",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
    }
)
SMALL = TOKENIZER | {"config.json", "generation_config.json", INDEX}
_SHARD = re.compile(r".*-\d{5}-of-\d{5}(\.safetensors)?")


def wanted(sizes: Mapping[str, int]) -> dict[str, int]:
    """The files of a model, the small ones first.

    Weights are the safetensors that transformers loads, named ``model…``: repositories may also have the same
    weights in another layout, pickles and programs. Those are never downloaded.

    >>> wanted({"model.safetensors": 9, "config.json": 1, "pytorch_model.bin": 9, "modeling_x.py": 1, "gguf/a.gguf": 9})
    {'config.json': 1, 'model.safetensors': 9}

    Args:
        sizes: Bytes of every file by its path in the repository.
    """
    small = {name: sizes[name] for name in sorted(sizes) if name in SMALL}
    return small | {name: sizes[name] for name in sorted(sizes) if _is_weights(name)}


def _is_weights(name: str) -> bool:
    return name.startswith("model") and name.endswith(".safetensors") and "/" not in name


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a whole model: its configuration and every file of its weights."""
    if not (folder / "config.json").is_file():
        return False
    index = read_json(folder / INDEX) or {}
    if isinstance(shards := index.get("weight_map"), dict):
        return all((folder / str(name)).is_file() for name in set(shards.values()))
    return any(not _SHARD.fullmatch(file.stem) for file in folder.glob("*.safetensors"))
