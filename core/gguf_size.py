"""Expected size of a GGUF file, computed from the shapes of the model's tensors.

llama.cpp's quantizer mixes quantizations: it gives some tensors more bits than the file's name says, and a different
type to rows whose length is not divisible by its block size. This follows its rules (``llama-quant.cpp``) for dense
models, so that a size can be shown before anything is created. Tests compare it with files written by the installed
llama.cpp.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from core.export import UNREDUCED, Quantization

BLOCKS = {
    "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q8_0": (32, 34), "Q5_1": (32, 24), "Q5_0": (32, 22),
    "Q4_1": (32, 20), "Q4_0": (32, 18), "IQ4_NL": (32, 18), "Q6_K": (256, 210), "Q5_K": (256, 176), "Q4_K": (256, 144),
    "IQ4_XS": (256, 136), "Q3_K": (256, 110), "IQ3_S": (256, 110), "IQ3_XXS": (256, 98), "Q2_K": (256, 84),
    "IQ2_S": (256, 82), "IQ2_XS": (256, 74), "IQ2_XXS": (256, 66), "IQ1_M": (256, 56), "IQ1_S": (256, 50),
}  # fmt: skip
"""Weights in a block, and its bytes."""
SMALLER_BLOCKS = {
    "Q6_K": "Q8_0", "Q5_K": "Q5_1", "Q4_K": "Q5_0", "Q3_K": "Q4_0", "Q2_K": "Q4_0",
    **dict.fromkeys(("IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"), "IQ4_NL"),
}  # fmt: skip
"""Types for rows whose length is not divisible by 256."""
MAIN = {
    "Q5_K_M": "Q5_K", "Q5_K_S": "Q5_K", "Q4_K_M": "Q4_K", "Q4_K_S": "Q4_K", "Q3_K_L": "Q3_K", "Q3_K_M": "Q3_K",
    "Q3_K_S": "Q3_K", "IQ3_M": "IQ3_S", "IQ3_XS": "IQ3_S", "Q2_K_S": "Q2_K", "IQ2_M": "IQ2_S", "IQ2_S": "IQ2_XS",
}  # fmt: skip
"""The type of most tensors, if it differs from the file's name."""
TINY = ("IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S")
ROLES = {
    "embed_tokens": "embedding", "lm_head": "output", "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o",
    "qkv_proj": "qkv", "gate_proj": "up", "up_proj": "up", "gate_up_proj": "up", "down_proj": "down",
}  # fmt: skip
"""A tensor's role, by the name of its layer in transformers. A gate is quantized like the layer that it gates."""
PER_TOKEN = 35
"""Bytes of the header for each token of the vocabulary: its text, type and the merge that makes it; measured."""
PER_TENSOR = 64
"""Bytes of the header for each tensor: its name, shape, type and place."""
_PLACE = re.compile(r"(?:\.layers\.(\d+)\.)?(?:[a-z_]+\.)*?(\w+)\.weight$")


@dataclass(frozen=True, eq=False)  # compared and hashed by identity: sizes are kept for each
class ModelShape:
    """The properties of a model that determine its file sizes.

    Attributes:
        tensors: Each tensor's shape by its name in transformers; without an output matrix if it is tied to the
        embedding.
        layers: How many layers there are.
        sharing: Query heads for each head of keys and values.
        vocabulary: How many tokens there are.
    """

    tensors: Mapping[str, tuple[int, ...]]
    layers: int
    sharing: float
    vocabulary: int

    @property
    def parameters(self) -> int:
        """How many weights there are."""
        return sum(math.prod(dims) for dims in self.tensors.values())

    @cached_property
    def tied(self) -> bool:
        """Whether the embedding is also the output matrix."""
        return not any(name.startswith("lm_head.") for name in self.tensors)


def gguf_bytes(shape: ModelShape, kind: Quantization, *, matrix: bool = False) -> int:
    """Bytes of a GGUF file.

    Args:
        shape: Of the model.
        kind: The quantization.
        matrix: Whether an importance matrix is used, which changes a few choices.
    """
    header = PER_TOKEN * shape.vocabulary + PER_TENSOR * len(shape.tensors)
    return header + tensor_bytes(shape, kind, matrix=matrix)


@lru_cache(maxsize=256)
def tensor_bytes(shape: ModelShape, kind: Quantization, *, matrix: bool = False) -> int:
    """The same without the header."""
    return sum(
        _bytes(dims, tensor_type(name, dims, shape, kind, matrix=matrix)) for name, dims in shape.tensors.items()
    )


def tensor_type(
    name: str, dims: tuple[int, ...], shape: ModelShape, kind: Quantization, *, matrix: bool = False
) -> str:
    """The number format that a tensor gets, such as ``Q6_K``."""
    if len(dims) < 2:
        return "F32"
    if kind in UNREDUCED:
        return kind.label
    found = _PLACE.search(name)
    role = ROLES.get(found[2], "") if found else ""
    wanted = _wanted(role, int(found[1] or 0) if found else 0, shape, kind.label, matrix)
    if dims[-1] % BLOCKS[wanted][0]:
        wanted = SMALLER_BLOCKS.get(wanted, wanted)
    return "F16" if dims[-1] % BLOCKS[wanted][0] else wanted


def _bytes(dims: tuple[int, ...], kind: str) -> int:
    weights, size = BLOCKS[kind]
    return math.prod(dims) // weights * size


def _wanted(role: str, layer: int, shape: ModelShape, kind: str, matrix: bool) -> str:
    main = MAIN.get(kind, kind)
    if role == "output" or (role == "embedding" and shape.tied):
        if kind in {*TINY, "IQ3_XXS"}:
            return "Q5_K"
        return main if main == "Q8_0" else "Q6_K"
    if role == "embedding":
        special = {"IQ2_M": "IQ3_S", "IQ2_S": "IQ3_S", "IQ3_XXS": "IQ3_S"}
        return special.get(kind, "Q2_K" if kind in TINY else main)
    first, last = shape.layers // 8, 7 * shape.layers // 8
    early, middle = layer < first, first <= layer < last
    important = early or layer >= last or (layer - first) % 3 == 2
    if role == "v":
        return _values(layer, important, shape.sharing >= 4, kind, matrix) or main
    if role == "down":
        return _down(layer < shape.layers // 16, early, important, kind, matrix) or main
    if role in {"q", "k"}:
        return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(kind, main)
    if role == "up":
        return "IQ3_XXS" if kind == "IQ3_XS" and middle else main
    return OTHERS.get(role, {}).get(kind, main)


OTHERS = {
    "o": {
        "Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K", "IQ3_XXS": "IQ3_S", "IQ2_M": "IQ3_S",
        "IQ2_S": "IQ3_S", "IQ1_M": "IQ2_XXS", "IQ1_S": "IQ2_XXS",
    },
    "qkv": {"Q3_K_M": "Q4_K", "Q3_K_L": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"},
}  # fmt: skip


def _values(layer: int, important: bool, shared: bool, kind: str, matrix: bool) -> str | None:
    if kind in {"IQ4_NL", "IQ4_XS"}:
        return "Q5_K" if shared else None
    if shared and kind in {*TINY, "Q2_K", "Q2_K_S", "IQ3_XXS", "IQ3_XS", "IQ3_S"}:
        return "Q4_K"
    if kind in TINY:
        return "IQ3_S" if kind in {"IQ2_M", "IQ2_S"} else "Q2_K"
    if kind in {"Q4_K_M", "Q5_K_M"}:
        return "Q6_K" if important else None
    if kind == "Q4_K_S":
        return "Q5_K" if layer < 4 else None
    if kind == "Q3_K_M":
        return "Q5_K" if layer < 2 else "Q4_K"
    return {"Q2_K": "Q3_K", "IQ3_XXS": None if matrix else "IQ3_S", "IQ3_M": "Q4_K", "Q3_K_L": "Q5_K"}.get(kind)


def _down(first: bool, early: bool, important: bool, kind: str, matrix: bool) -> str | None:
    if kind in {"Q4_K_M", "Q5_K_M"}:
        return "Q6_K" if important else None
    if kind == "Q3_K_M":
        return "Q5_K" if first else "Q4_K"
    if kind in {"Q2_K", "Q3_K_L"}:
        return {"Q2_K": "Q3_K", "Q3_K_L": "Q5_K"}[kind]
    if kind == "IQ3_XXS":
        return None if matrix else "Q4_K" if early else "Q3_K"
    if not early:
        return None
    if kind in TINY:
        return "IQ3_S" if kind in {"IQ2_M", "IQ2_S"} else "Q2_K"
    if kind in {"IQ4_NL", "IQ4_XS"}:
        return None if matrix else "Q5_K"
    if kind in {"Q4_0", "Q5_0"}:
        return {"Q4_0": "Q4_1", "Q5_0": "Q5_1"}[kind] if matrix else None
    return {"Q2_K_S": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_S": "Q5_K"}.get(kind)
