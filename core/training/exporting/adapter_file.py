"""Exports only the adapter: PEFT's folder, or a GGUF LoRA for llama.cpp and Ollama."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from core.errors import Unavailable
from core.export import no_adapter
from core.training.exporting.merge import Origin, name_base, tokenizer_source
from core.training.gguf import adapter as gguf_adapter
from core.weights import ADAPTER_SETTINGS, ADAPTER_WEIGHTS, TOKENIZER_FILES


def copy(origin: Origin, target: Path) -> None:
    """Copy only the files of adapter and tokenizer: a checkpoint also has an optimizer."""
    folder = origin.weights
    for name in (ADAPTER_SETTINGS, ADAPTER_WEIGHTS):
        shutil.copy2(folder / name, target / name)
    tokenizer = Path(tokenizer_source(origin))
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copy2(tokenizer / name, target / name)
    name_base(target / ADAPTER_SETTINGS, origin.source)


def check_adapter(origin: Origin) -> None:
    """Reject a source that has no adapter to export by itself.

    Raises:
        Unavailable: Every weight was trained, or the adapter is for a base model that only its run has.
    """
    if reason := no_adapter(whole=origin.adapter is None, own_base=origin.own_base):
        raise Unavailable(reason)


def check_lora(model: Any) -> None:
    """Reject adapters that GGUF cannot represent.

    Raises:
        Unavailable: It is not plain LoRA.
    """
    config = model.peft_config["default"]
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    extra = "DoRA" if getattr(config, "use_dora", False) else "whole layers" if config.modules_to_save else ""
    if kind != "LORA" or extra:
        raise Unavailable(
            f"llama.cpp supports plain LoRA adapters only, and this one is {extra or kind}. Export a merged GGUF "
            "instead."
        )


def hold(model: Any) -> dict[bool, list[gguf_adapter.LoraLayer]]:
    """The adapted layers, collected before the model is dismantled: with q and k reordered, and without.

    Raises:
        Unavailable: One of them has no name in GGUF.
    """
    try:
        return {permute: gguf_adapter.layers(model, permute=permute) for permute in (True, False)}
    except gguf_adapter.UnknownLayer as error:
        raise Unavailable(f"This adapter cannot be converted to GGUF: {error}. Export a merged GGUF instead.") from None


def write(target: Path, base: Path, layers: dict[bool, list[gguf_adapter.LoraLayer]]) -> None:
    """Write the adapter for a base's GGUF, whose architecture says whether q and k are reordered."""
    architecture = gguf_adapter.architecture(base)
    gguf_adapter.write(target, architecture, layers[architecture in gguf_adapter.PERMUTED])
