"""LoRA: which layers of a model a preset adapts, and how many weights that trains. Reads names and shapes only.

The names are those of the model's tensors in its files, or of its modules once it is loaded: both end in the same
``self_attn.q_proj``, so both give the same layers (``tests/training/models/test_lora_layers.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from core.errors import InvalidInput

Preset = Literal["all", "attention", "feed_forward", "minimal", "custom"]
ALL_LINEAR: Literal["all-linear"] = "all-linear"
"""PEFT's name for every linear layer except the output layer."""

# fmt: off
ATTENTION = frozenset({"attn", "self_attn", "attention", "self_attention", "linear_attn"})
"""Names of the modules that hold attention layers. ``linear_attn`` is Qwen3.5's gated delta rule."""
FEED_FORWARD = frozenset({"mlp", "ffn", "feed_forward", "block_sparse_moe", "shared_expert", "shared_mlp"})
"""Names of the modules that hold feed-forward layers."""
ATTENTION_LAYERS = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "query_key_value", "Wqkv"})
FEED_FORWARD_LAYERS = frozenset({"gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1", "fc2", "fc_in", "fc_out"})
"""The same by the layer's own name, for models that hold them elsewhere, such as OPT, Phi and Nemotron-H."""
QUERIES_AND_VALUES = frozenset({
    "q_proj", "v_proj", "query", "value", "receptance", "q_a_proj", "q_b_proj", "kv_b_proj",
    # Fused layers compute queries, keys and values in one product and can only be adapted as a whole.
    "qkv_proj", "query_key_value", "Wqkv", "c_attn", "in_proj_qkv",
})
NOT_LINEAR = frozenset({
    "embed_tokens", "wte", "wpe", "word_embeddings", "embed_in", "embed_positions", "embeddings", "token_embedding",
    "embed_out", "lm_head", "head", "score", "gate", "router", "conv1d", "A_log",
})
"""Tensors of two dimensions that 'all-linear' leaves out: embeddings, output layers, routers."""
NOT_TEXT = frozenset({"visual", "vision_tower", "vision_model", "audio_tower", "multi_modal_projector", "mtp"})
"""Parts of a model's files that are not loaded to train its text part."""
STATE_SPACE = frozenset({"mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h"})
"""Types of models whose ``out_proj`` PEFT refuses to adapt, and so 'all-linear' too (peft 0.21.2). Their ``dt_proj``
would be accepted and never trained, because its weight is read without calling the layer."""
UNSUITED = frozenset({"out_proj", "conv1d", "dt_proj"})
TRANSPOSED = frozenset({"gpt2", "openai-gpt"})
"""Types of models that store the linear layers ``c_attn``, ``c_proj`` and ``c_fc`` as (in, out)."""
# fmt: on


@dataclass(frozen=True)
class Layers:
    """A model's tensors with two dimensions.

    Attributes:
        shapes: Each layer's (rows, columns), by its path without ``.weight``.
        model_type: As in the model's ``config.json``.
    """

    shapes: Mapping[str, tuple[int, int]]
    model_type: str = ""

    @property
    def linear(self) -> tuple[str, ...]:
        """The paths of the linear layers inside the model, without its embeddings and output layer."""
        return tuple(
            path for path in self.shapes if _name(path) not in NOT_LINEAR and NOT_TEXT.isdisjoint(_parts(path))
        )

    @property
    def mixture_of_experts(self) -> bool:
        """Whether files store experts one by one, which are one tensor when loaded."""
        return any("experts" in _parts(path) for path in self.shapes)


def layers_of(tensors: Mapping[str, tuple[int, ...]], model_type: str) -> Layers:
    """The layers of a model's files, by the shape of each tensor."""
    found = {
        name.removesuffix(".weight"): (dims[0], dims[1])
        for name, dims in tensors.items()
        if name.endswith(".weight") and len(dims) == 2
    }
    return Layers(found, model_type)


def targets(
    preset: Preset, chosen: str | Iterable[str], linear: Iterable[str], model_type: str
) -> Literal["all-linear"] | tuple[str, ...]:
    """The layers that get an adapter, as PEFT's ``target_modules``: names, or the ends of paths where names repeat.

    Args:
        preset: Which layers.
        chosen: ``model.target_modules``, for the preset ``custom``.
        linear: The paths of the model's linear layers.
        model_type: As in its ``config.json``.

    Raises:
        InvalidInput: The model has no such layers.

    >>> gpt2 = ["h.0.attn.c_attn", "h.0.attn.c_proj", "h.0.mlp.c_fc", "h.0.mlp.c_proj"]
    >>> targets("attention", (), gpt2, "gpt2")
    ('c_attn', 'attn.c_proj')
    >>> targets("minimal", (), gpt2, "gpt2")
    ('c_attn',)
    >>> targets("all", (), gpt2, "gpt2")
    'all-linear'
    """
    if preset == "custom":
        if isinstance(chosen, str):
            return ALL_LINEAR if chosen == ALL_LINEAR else (chosen,)
        return tuple(chosen)
    every = tuple(linear)
    if preset == "all" and model_type not in STATE_SPACE:
        return ALL_LINEAR
    usable = [path for path in every if model_type not in STATE_SPACE or _name(path) not in UNSUITED]
    wanted = [path for path in usable if preset == "all" or _belongs(path, preset)]
    if not wanted:
        what = {"attention": "attention", "minimal": "query and value", "feed_forward": "feed-forward"}
        raise InvalidInput(
            f"A model of the type {model_type or 'unknown'} has no {what.get(preset, 'linear')} layers that LoRA can "
            "adapt. Choose all layers, or name the layers yourself (custom).",
            field="model.lora_preset",
        )
    return _shortest(wanted, every)


def adapted(layers: Layers, preset: Preset, chosen: str | Iterable[str]) -> tuple[str, ...]:
    """The paths of the layers that get an adapter.

    Raises:
        InvalidInput: The model has no such layers.
    """
    found = targets(preset, chosen, layers.linear, layers.model_type)
    if found == ALL_LINEAR:
        return layers.linear
    # PEFT compares the end of a path in whole parts.
    paths = tuple(path for path in layers.shapes if any(f".{path}".endswith(f".{target}") for target in found))
    if not paths:
        raise InvalidInput(
            f"The model has no layer named {', '.join(found)}. Choose a preset, or layers that this model has.",
            field="model.target_modules",
        )
    return paths


def trainable(layers: Layers, paths: Iterable[str], rank: int, *, dora: bool) -> int:
    """How many weights an adapter has: rank x (inputs + outputs) for each layer, and with DoRA its outputs once more.

    >>> layers = Layers({"mlp.up_proj": (96, 64)})
    >>> trainable(layers, ["mlp.up_proj"], 4, dora=False), trainable(layers, ["mlp.up_proj"], 4, dora=True)
    (640, 736)
    """
    total = 0
    for path in paths:
        rows, columns = layers.shapes[path]
        transposed = layers.model_type in TRANSPOSED and _name(path).startswith("c_")
        total += rank * (rows + columns) + (columns if transposed else rows) * dora
    return total


def share_words(trained: int, every: int) -> str:
    """How many parameters are trained, in words.

    >>> share_words(4_884_480, 139_399_488), share_words(640, 6_400_000)
    ('4,884,480 of 139,399,488 parameters (3.5%)', '640 of 6,400,000 parameters (0.01%)')
    >>> share_words(1000, 1000)
    '1,000 of 1,000 parameters (100%)'
    """
    percent = 100 * trained / every
    return f"{trained:,} of {every:,} parameters ({percent:.{3 if percent > 10 else 2}g}%)"


def scale(alpha: float, rank: int, *, rslora: bool) -> float:
    """The factor on the adapter's product: alpha / rank, or alpha / sqrt(rank) with rsLoRA (Kalajdzievski, 2023).

    >>> scale(32, 16, rslora=False), scale(32, 16, rslora=True)
    (2.0, 8.0)
    """
    return alpha / (math.sqrt(rank) if rslora else rank)


def _belongs(path: str, preset: Preset) -> bool:
    name, within = _name(path), set(_parts(path)[:-1])
    attends = bool(within & ATTENTION) or name in ATTENTION_LAYERS
    if preset == "feed_forward":
        return not attends and (bool(within & FEED_FORWARD) or name in FEED_FORWARD_LAYERS)
    return attends and (preset == "attention" or name in QUERIES_AND_VALUES)


def _shortest(wanted: Iterable[str], every: Iterable[str]) -> tuple[str, ...]:
    """Ends of the wanted paths that match no other layer: the name alone if possible, else with its parent."""
    chosen = set(wanted)
    others = [path for path in every if path not in chosen]
    found = []
    for path in wanted:
        parts = _parts(path)
        ends = (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
        found.append(next(end for end in ends if not any(f".{one}".endswith(f".{end}") for one in others)))
    return tuple(dict.fromkeys(found))


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _parts(path: str) -> list[str]:
    return path.split(".")
