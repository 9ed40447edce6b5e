"""Saving and loading what a run trains, an adapter or a whole model, without asking which."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from core.errors import Damaged
from core.weights import ADAPTER_WEIGHTS, weight_files

TRAINED = "default"
"""PEFT's name of the adapter that is trained, which get_peft_model assigns."""
LARGEST = "5GB"
"""Largest file of a whole model; more weights are split."""


def save(model: Any, folder: Path) -> None:
    """Write the trained weights in the format in which transformers or PEFT reads them."""
    if hasattr(model, "peft_config"):
        # All adapters are saved by default, all but "default" in their own folders. If such a folder exists,
        # transformers' Trainer loads the folders and not the trained adapter beside them.
        model.save_pretrained(folder, selected_adapters=[TRAINED])
    else:
        model.save_pretrained(folder, max_shard_size=LARGEST)


def load(model: Any, folder: Path) -> None:
    """Put saved weights into a model of the same kind.

    Raises:
        Damaged: Weights are missing, or belong to another model.
    """
    if hasattr(model, "peft_config"):
        set_peft_model_state_dict(model, load_file(folder / ADAPTER_WEIGHTS))
        return
    # A weight that is used in two places (embeddings and output layer) is saved once, and is one tensor here.
    wanted = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    filled: set[int] = set()
    for file in weight_files(folder):
        found = load_file(file)
        if unknown := sorted(set(found) - set(wanted)):
            raise Damaged(f"{file.name} does not belong to this model: it has weights for {unknown[0]}.")
        model.load_state_dict(found, strict=False)
        filled |= {wanted[name] for name in found}
    if missing := sorted(name for name, place in wanted.items() if place not in filled):
        raise Damaged(f"The weights in {folder.name} are incomplete: {missing[0]} is missing.")


def link(file: Path, target: Path) -> None:
    """A second name for a file that is never changed in place, without taking its space again; a copy if need be."""
    try:
        os.link(file, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(file, target)


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
