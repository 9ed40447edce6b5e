"""Every architecture among the suggested base models is known, accepts an adapter and learns."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from services.models.families import BASE_MODELS
from services.models.support import UNCONVERTED, converted, converts, text_models, trainable

pytestmark = pytest.mark.training

SMALL = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip
"""If an architecture has these settings; unknown ones are stored but unused."""
ARCHITECTURES = sorted({info.architecture for info in BASE_MODELS})
TEXT_PART = {"Qwen3_5ForCausalLM": "qwen3_5_text"}
"""Architectures with two names in transformers: the whole model, and its text part."""


def model_type(architecture: str) -> str:
    found = [name for name, known in text_models().items() if known == architecture]
    return TEXT_PART.get(architecture) or found[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_adapter_on_it_learns(architecture: str) -> None:
    """On all linear layers, attention and feed-forward, as in training: the loss falls."""
    torch.manual_seed(1)
    config = AutoConfig.for_model(model_type(architecture), **SMALL)
    base = AutoModelForCausalLM.from_config(config)
    assert type(base).__name__ == architecture
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    adapted = {name.split(".lora_")[0].rpartition(".")[2] for name, _ in model.named_parameters() if ".lora_" in name}
    assert {"down_proj", "o_proj"} <= adapted
    learned = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=0.05)
    ids = torch.arange(3, 19).repeat(2, 1)
    losses = []
    for _ in range(30):
        loss = model(input_ids=ids, labels=ids).loss
        losses.append(float(loss.detach()))
        loss.backward()
        assert all(value.grad is not None for value in learned)
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_its_card_says_whether_it_can_be_exported(architecture: str) -> None:
    """The project's GGUF converter supports all except those that failed a test."""
    assert architecture in converted()
    assert converts(architecture) is (architecture not in UNCONVERTED)


def test_what_the_libraries_know_is_read_from_them() -> None:
    """The result is None for a missing name, and False for an unknown one."""
    assert trainable("llama") is True
    assert trainable("sees_pictures") is False
    assert trainable("") is None
    assert converts("NobodysForCausalLM") is False
    assert converts("") is None
