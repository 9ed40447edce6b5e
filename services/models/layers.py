"""The layers of a model on this machine, read from its files: how much an adapter trains, and what suits its width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import InvalidInput, TunesmithError
from core.job_dir import read_json
from core.learning_rate import ModelFacts
from core.lora import NOT_TEXT, Layers, Preset, adapted, layers_of, trainable
from core.model import local_folder
from core.settings import Home
from services.models.memory import snapshot
from services.models.shape import FLOATS, FOUR_BIT, header_of


@dataclass(frozen=True)
class LocalLayers:
    """A model's layers, and how many parameters it has without an adapter."""

    layers: Layers
    parameters: int
    names: frozenset[str]
    """The last names of all layers, including those that a preset never chooses."""

    def trained(self, preset: Preset, chosen: str | Iterable[str], rank: int, *, dora: bool) -> tuple[int, int] | None:
        """How many parameters an adapter trains, and all of them with it.

        None if the files do not say: for layers that the model does not have, or experts, which are one tensor each in
        the files and one for all of them in the loaded model.
        """
        if self.layers.mixture_of_experts:
            return None
        try:
            count = trainable(self.layers, adapted(self.layers, preset, chosen), rank, dora=dora)
        except InvalidInput:
            return None
        return count, self.parameters + count

    def check(self, preset: Preset, chosen: str | tuple[str, ...]) -> tuple[str, str] | None:
        """Field path and message if the model has none of the chosen layers; None if it has."""
        try:
            # The loaded model's paths may begin differently, so only the layers' own names are compared.
            if preset == "custom" and not isinstance(chosen, str):
                if self.names.isdisjoint(name.rpartition(".")[2] for name in chosen):
                    adapted(Layers({}), preset, chosen)
            else:
                adapted(self.layers, preset, chosen)
        except InvalidInput as error:
            return error.field or "model.lora_preset", error.message
        return None


def layers_here(name: str, home: Home) -> LocalLayers | None:
    """The layers of a model, or None if it is not on this machine, damaged or stored with fewer than 16 bits.

    Args:
        name: Its name or path. One that is loaded in 4-bit has the layers of the model without that suffix.
        home: Location of models.
    """
    folder = _folder(name.removesuffix(FOUR_BIT), home)
    if folder is None:
        return None
    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))
    try:
        return _read(folder, tuple((file, file.stat().st_mtime_ns) for file in files))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # violates the format
        return None


def model_facts(name: str, adapter: str, home: Home) -> ModelFacts:
    """What a learning rate depends on; without the width if the model is not on this machine."""
    folder = _folder(name.removesuffix(FOUR_BIT), home) if name else None
    settings = _text_part(read_json(folder / "config.json") or {}) if folder else {}
    width = next((found for key in ("hidden_size", "n_embd", "d_model") if (found := settings.get(key))), None)
    return ModelFacts(adapter, width if isinstance(width, int) else None, str(settings.get("model_type") or ""))


def _folder(name: str, home: Home) -> Path | None:
    try:
        return local_folder(name, home) or snapshot(name, home)
    except TunesmithError:
        return None


def _text_part(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the text model, which models that also see have inside theirs."""
    inner = settings.get("text_config")
    return inner if isinstance(inner, dict) else settings


@lru_cache(maxsize=16)
def _read(folder: Path, files: tuple[tuple[Path, int], ...]) -> LocalLayers | None:
    settings = read_json(folder / "config.json") or {}
    tensors = {name: entry for file, _ in files for name, entry in header_of(file).items() if name != "__metadata__"}
    if not tensors or any(entry["dtype"] not in FLOATS for entry in tensors.values()):
        return None
    text = _text_part(settings)
    if settings.get("tie_word_embeddings", text.get("tie_word_embeddings")):
        tensors.pop("lm_head.weight", None)
    shapes = {
        name: tuple(map(int, entry["shape"]))
        for name, entry in tensors.items()
        if NOT_TEXT.isdisjoint(name.split(".")) and not name.endswith((".attn.bias", ".masked_bias", ".inv_freq"))
    }
    names = frozenset(name.rpartition(".")[0].rpartition(".")[2] for name in shapes)
    layers = layers_of(shapes, str(text.get("model_type") or ""))
    return LocalLayers(layers, sum(math.prod(dims) for dims in shapes.values()), names)
