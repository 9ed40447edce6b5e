"""Writes a LoRA adapter in memory as a GGUF adapter for llama.cpp.

llama.cpp's own converter reads a folder and takes seconds; this runs after every optimizer step.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gguf import GGUFReader, GGUFWriter

LAYER = re.compile(r"\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)$")
HEAD = 512
"""Bytes that contain the first entry: after magic, version and two counts (24 bytes), its key, type and value."""
_KEY = b"general.architecture"
FIRST = struct.pack("<Q", len(_KEY)) + _KEY + struct.pack("<I", 8)
"""The bytes of this key with a text value (type 8)."""
NAMES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "qkv_proj": "attn_qkv",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
    "gate_up_proj": "ffn_up",
}
"""transformers' names of linear layers and GGUF's."""
PERMUTED = ("llama", "granite", "smollm3", "arcee", "olmo")
"""Architectures whose converter reorders the rows of q and k for llama.cpp's rotary embedding."""


class UnknownLayer(Exception):
    """The adapter is on a layer without a known GGUF name, or changes it in a way that llama.cpp does not know."""


class LoraLayer(NamedTuple):
    """One adapted layer.

    Attributes:
        name: GGUF name of the adapted tensor.
        module: PEFT's layer.
        heads: Heads by which the rows of B are reordered; 0 if they are not.
    """

    name: str
    module: Any
    heads: int


def architecture(gguf: Path) -> str:
    """``general.architecture`` of a GGUF file.

    Usually the first key, so the start of the file is enough. The library's reader takes over a second, because
    it reads the whole vocabulary.
    """
    with gguf.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(FIRST, 24):
        (length,) = struct.unpack_from("<Q", head, 24 + len(FIRST))
        return head[32 + len(FIRST) :][:length].decode()
    field = GGUFReader(gguf).get_field("general.architecture")
    return str(field.contents()) if field else ""


def layers(model: Any, *, permute: bool) -> list[LoraLayer]:
    """Every adapted layer of a ``PeftModel``.

    Args:
        permute: Whether the rows of q and k are reordered in the base's GGUF.

    Raises:
        UnknownLayer: One of them has no counterpart.
    """
    config = model.config.get_text_config()
    heads = {"q_proj": config.num_attention_heads, "k_proj": getattr(config, "num_key_value_heads", None)}
    found = []
    for path, module in model.named_modules():
        if not hasattr(module, "lora_A") or "default" not in module.lora_A:
            continue
        if "default" in module.lora_magnitude_vector:
            raise UnknownLayer("the adapter is DoRA, and llama.cpp has no place for its magnitudes")
        place = LAYER.search(path)
        if place is None or place[2] not in NAMES:
            raise UnknownLayer(f"the adapter changes {path.rsplit('.', 1)[-1]}, which has no known name in GGUF")
        turned = int(heads.get(place[2]) or 0) if permute else 0
        found.append(LoraLayer(f"blk.{place[1]}.{NAMES[place[2]]}.weight", module, turned))
    return found


def write(path: Path, arch: str, adapted: list[LoraLayer]) -> None:
    """Write the adapter named ``default``, in float32.

    llama.cpp multiplies by alpha over rank, but PEFT scales each layer separately (rsLoRA); the difference goes into
    B.
    """
    writer = GGUFWriter(path, arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    rank = adapted[0].module.lora_A["default"].weight.shape[0]
    writer.add_float32("adapter.lora.alpha", float(rank))
    for name, module, heads in adapted:
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        writer.add_tensor(f"{name}.lora_a", _array(a))
        # Layers may have different ranks; llama.cpp divides by each one's.
        factor = np.float32(module.scaling["default"] * a.shape[0] / rank)
        writer.add_tensor(f"{name}.lora_b", _permuted(_array(b) * factor, heads))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _array(weight: torch.Tensor) -> Any:
    return weight.detach().to("cpu", torch.float32).numpy()


def _permuted(rows: Any, heads: int) -> Any:
    """Reorders rows of each head from halves to pairs, as the converter does with the weights."""
    if not heads:
        return rows
    width = rows.shape[0] // heads // 2
    return np.ascontiguousarray(rows.reshape(heads, 2, width, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape))
