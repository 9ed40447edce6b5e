"""The size of a GGUF, checked against recorded llama.cpp files; tests/training uses real ones."""

from __future__ import annotations

import pytest

from core.export import NEED_MATRIX, Quantization
from core.gguf_size import BLOCKS, ModelShape, gguf_bytes, tensor_bytes, tensor_type

LAYERS, WIDTH, INNER, WORDS = 30, 576, 1536, 49152
SMOLLM: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (WORDS, WIDTH), "model.norm.weight": (WIDTH,)}
for _layer in range(LAYERS):
    _at = f"model.layers.{_layer}"
    SMOLLM |= {
        f"{_at}.self_attn.q_proj.weight": (WIDTH, WIDTH), f"{_at}.self_attn.k_proj.weight": (WIDTH // 3, WIDTH),
        f"{_at}.self_attn.v_proj.weight": (WIDTH // 3, WIDTH), f"{_at}.self_attn.o_proj.weight": (WIDTH, WIDTH),
        f"{_at}.mlp.gate_proj.weight": (INNER, WIDTH), f"{_at}.mlp.up_proj.weight": (INNER, WIDTH),
        f"{_at}.mlp.down_proj.weight": (WIDTH, INNER), f"{_at}.input_layernorm.weight": (WIDTH,),
        f"{_at}.post_attention_layernorm.weight": (WIDTH,),
    }  # fmt: skip
SHAPE = ModelShape(SMOLLM, LAYERS, 3.0, WORDS)
"""SmolLM2 135M, whose rows of 576 do not fit into blocks of 256."""
REAL = {
    "f32": 539845600, "f16": 270885856, "bf16": 270885856, "q8_0": 144810976, "q6_k": 138382816, "q5_1": 111633376,
    "q5_k_m": 112103392, "q5_k_s": 109974496, "q5_0": 104997856, "q4_1": 98362336, "q4_k_m": 105454048,
    "q4_k_s": 102039520, "q4_0": 91726816,
}  # fmt: skip
"""Bytes of the files that llama.cpp made from it."""


@pytest.mark.parametrize("kind", REAL)
def test_a_size_is_right_to_a_thousandth(kind: str) -> None:
    """Including the header."""
    assert gguf_bytes(SHAPE, Quantization(kind)) == pytest.approx(REAL[kind], rel=0.001)


def test_every_quantization_has_a_size_and_fewer_bits_are_never_larger() -> None:
    """Popular ones get smaller in order; all others are between the largest and one bit per weight."""
    ladder = [tensor_bytes(SHAPE, Quantization(kind)) for kind in ("f32", "f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m")]
    assert ladder == sorted(ladder, reverse=True)
    for kind in Quantization:
        for matrix in {kind in NEED_MATRIX, True}:
            assert SHAPE.parameters / 8 < tensor_bytes(SHAPE, kind, matrix=matrix) <= 4 * SHAPE.parameters


def test_tensors_that_matter_get_more_bits_and_odd_rows_another_format() -> None:
    """A wide model with its own output matrix, in which four query heads share each value head."""
    wide = ModelShape(
        {
            "model.embed_tokens.weight": (32000, 4096), "lm_head.weight": (32000, 4096),
            "model.layers.0.self_attn.v_proj.weight": (1024, 4096), "model.layers.0.mlp.down_proj.weight": (4096, 100),
            "model.layers.0.self_attn.qkv_proj.weight": (6144, 4096), "model.layers.0.self_attn.v_proj.bias": (1024,),
        }, 32, 4.0, 32000,
    )  # fmt: skip
    made = {name: tensor_type(name, dims, wide, Quantization.Q4_K_M) for name, dims in wide.tensors.items()}
    assert list(made.values()) == ["Q4_K", "Q6_K", "Q6_K", "F16", "Q5_K", "F32"]
    assert set(made.values()) <= set(BLOCKS)
