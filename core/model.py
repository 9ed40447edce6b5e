"""Base models, and this machine's device."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import InvalidInput, NotFound
from core.settings import Home


@dataclass(frozen=True)
class BaseModelInfo:
    """One size of one family in the wizard.

    Attributes:
        name: Its name on Hugging Face, or ``builtin:smollm2-135m-instruct``.
        family: Qwen3, Llama, Mistral, Phi, SmolLM and others.
        title: 'Qwen3 1.7B'.
        parameters: Count, in billions.
        licence: SPDX id or the license's own name.
        gated: Whether its license has to be accepted on Hugging Face first.
        note: What it is good for, in one sentence.
        architecture: Its class in transformers, which decides whether it can become a GGUF.
    """

    name: str
    family: str
    title: str
    parameters: float
    licence: str
    gated: bool
    note: str
    architecture: str = ""


@dataclass(frozen=True)
class Device:
    """The device of a run.

    Attributes:
        kind: ``cuda`` or ``cpu``.
        name: GPU name or processor name.
        memory: Bytes of the memory that a model must fit in: the GPU's, else the machine's.
        free: Free bytes of it.
        bf16: Whether bfloat16 runs natively.
    """

    kind: str
    name: str
    memory: int
    free: int
    bf16: bool


BUILTIN_PREFIX = "builtin:"
DEMO_MODEL = "builtin:smollm2-135m-instruct"
"""SmolLM2-135M-Instruct, downloaded during setup into ``cache/models``; works without a network."""


ORIGINAL = {DEMO_MODEL: "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""The built-in model on Hugging Face."""


def original_name(name: str) -> str:
    """A model's name on Hugging Face, if it is a built-in copy of one there; else its name."""
    return ORIGINAL.get(name, name)


_ADDRESS = re.compile(r"https?://(?:www\.)?(?:huggingface|hf)\.co/([\w.-]+/[\w.-]+)(?:[/?#].*)?")


def without_address(text: str) -> str:
    """A model's name from the URL of its page; anything else is unchanged.

    >>> without_address("https://huggingface.co/Qwen/Qwen3-0.6B/tree/main")
    'Qwen/Qwen3-0.6B'
    >>> without_address(" /models/mine ")
    '/models/mine'
    """
    found = _ADDRESS.fullmatch(text.strip())
    return found[1] if found else text.strip()


def typed_path(text: str, field: str) -> Path:
    """A path on this machine as a user types it, absolute, ``~`` and links resolved.

    Raises:
        InvalidInput: It is invalid: too long, with a NUL, or in an unknown user's home folder.
    """
    try:
        path = Path(text).expanduser().resolve()
        path.exists()  # Fails here first if the name is too long.
    except (OSError, ValueError, RuntimeError):
        raise InvalidInput("This is not a valid path on this machine. Check the spelling.", field=field) from None
    return path


def local_folder(name: str, home: Home) -> Path | None:
    """The folder that a model name stands for, or None if it names a model on Hugging Face.

    Args:
        name: ``builtin:<folder below cache/models>``, a path, or a name on Hugging Face.

    Raises:
        NotFound: It names a missing folder.
        InvalidInput: It is an invalid path.
    """
    if name.startswith(BUILTIN_PREFIX):
        folder = home.cache / "models" / name.removeprefix(BUILTIN_PREFIX)
        if folder.parent != home.cache / "models" or not (folder / "config.json").is_file():
            raise NotFound(
                f"The built-in model {name.removeprefix(BUILTIN_PREFIX)} is not on this machine. "
                "Run setup again to download it.",
                field="model.name",
            )
        return folder
    if name.startswith(("/", "./", "../", "~")) or Path(name).is_absolute():
        folder = typed_path(name, "model.name")
        if not (folder / "config.json").is_file():
            raise NotFound(
                f"No model found at {name}. A model folder contains a config.json file. Check the path.",
                field="model.name",
            )
        return folder
    return None
