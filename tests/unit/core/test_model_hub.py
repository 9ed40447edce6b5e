"""What a model's files are, and the examples in the docstrings."""

from __future__ import annotations

import doctest

import core.model
from core.model_hub import files


def test_the_examples_of_the_docstrings_hold() -> None:
    for module in (core.model, files):
        found = doctest.testmod(module)
        assert found.attempted
        assert not found.failed


def test_only_what_is_loaded_is_downloaded() -> None:
    """The same weights in another layout, pickles, programs and folders stay where they are."""
    sizes = dict.fromkeys(
        (
            "config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja", files.INDEX,
            "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "consolidated.safetensors",
            "pytorch_model.bin", "modeling_own.py", "onnx/model.onnx", "original/model.safetensors", "README.md",
            "../config.json", "adapter_model.safetensors",
        ),
        1,
    )  # fmt: skip
    assert set(files.wanted(sizes)) == {
        "config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja", files.INDEX,
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    }  # fmt: skip
    assert list(files.wanted(sizes))[-1] == "model-00002-of-00002.safetensors"
