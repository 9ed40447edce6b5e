"""Information about models on Hugging Face, through its own client.

The library is imported on use: it takes a second, and most pages do not need it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from core.data.hub import What, explained
from core.errors import InvalidInput
from core.model_hub.files import wanted

TIMEOUT = 6.0
"""Seconds after which a request counts as failed; ``HF_HUB_ETAG_TIMEOUT`` sets another limit."""
FORMATS = frozenset({"mlx", "gptq", "awq", "gguf", "fp8", "exl2", "exl3", "bitsandbytes", "compressed-tensors", "onnx"})
"""Tags of repositories with inference-only weights, which cannot be trained."""
_EXPAND = ("downloads", "gated", "safetensors", "tags", "config", "cardData")
_LICENSES = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "gemma": "Gemma Terms of Use",
    "llama2": "Llama 2 Community License",
    "llama3": "Llama 3 Community License",
    "llama3.1": "Llama 3.1 Community License",
    "llama3.2": "Llama 3.2 Community License",
    "llama3.3": "Llama 3.3 Community License",
    "other": "Custom license",
}
INSTEAD = "Check the network, or choose a model that is already on this machine."


@dataclass(frozen=True)
class RemoteModel:
    """One model on Hugging Face.

    Attributes:
        name: ``owner/name``.
        parameters: In billions; None if unknown.
        size: Bytes of a download; None in search results.
        licence: In words.
        gated: Whether its license has to be accepted first.
        downloads: In the last 30 days.
        architecture: Class of its model, as its ``config.json`` has it; empty if it does not say.
        model_type: Name of its architecture in transformers; empty if it does not say.
    """

    name: str
    parameters: float | None
    size: int | None
    licence: str
    gated: bool
    downloads: int
    architecture: str
    model_type: str

    def json(self) -> dict[str, Any]:
        return asdict(self)


def search(text: str, token: str, limit: int) -> list[RemoteModel]:
    """Text-generation models with safetensors whose name contains a text, most downloaded first.

    Raises:
        Unavailable: Hugging Face cannot be reached.
    """
    with explained(What("model", text, "search", INSTEAD)):
        found = _client(token).list_models(
            search=text, pipeline_tag="text-generation", filter="safetensors", sort="downloads", limit=limit,
            expand=list(_EXPAND),
        )  # fmt: skip
        return [_read(info) for info in found if FORMATS.isdisjoint(info.tags or ())]


def about(name: str, revision: str | None, token: str) -> RemoteModel:
    """One model, with its download size.

    Raises:
        InvalidInput: There is no such revision, or it has no safetensors.
        NotFound: There is no such model, or it is private.
        Unavailable: Hugging Face cannot be reached, or it wants a token.
    """
    with explained(What("model", name, "model.name", INSTEAD)):
        info = _client(token).model_info(name, revision=revision, files_metadata=True)
    sizes = sizes_of(info)
    return _read(info, sum(sizes.values()))


def sizes_of(info: Any) -> dict[str, int]:
    """The files to download of a model, with their bytes, from what the client says of it.

    Raises:
        InvalidInput: It has no safetensors.
    """
    files = wanted({one.rfilename: int(one.size or 0) for one in info.siblings or ()})
    if not any(name.endswith(".safetensors") for name in files):
        raise InvalidInput(
            f"{info.id} has no weights in the safetensors format, the only supported one. Choose another model, or "
            "a version of this one with safetensors.",
            field="model.name",
        )
    return files


@cache
def _with_limit() -> None:
    """Set the client's timeout, once for this process: by default it would wait forever."""
    import httpx
    import huggingface_hub

    seconds = float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or TIMEOUT)
    huggingface_hub.set_client_factory(lambda: httpx.Client(timeout=seconds, follow_redirects=True))


def _client(token: str) -> Any:
    import huggingface_hub

    _with_limit()
    return huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token or False)


def _read(info: Any, size: int | None = None) -> RemoteModel:
    config: Mapping[str, Any] = info.config if isinstance(info.config, Mapping) else {}
    count = getattr(info.safetensors, "total", None)
    classes = config.get("architectures")
    return RemoteModel(
        name=str(info.id),
        parameters=round(count / 1e9, 3) if count else None,
        size=size,
        licence=_license(info.card_data, info.tags or ()),
        gated=bool(info.gated),
        downloads=int(info.downloads or 0),
        architecture=str(classes[0]) if isinstance(classes, list) and classes else "",
        model_type=str(config.get("model_type") or ""),
    )


def _license(card: Any, tags: Iterable[str]) -> str:
    """The license in words: from the model card, else from the tags."""
    key = str(getattr(card, "license", None) or "").casefold()
    key = key or next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "")
    if key == "other" and (own := getattr(card, "license_name", None)):
        return str(own)[:80]
    return _LICENSES.get(key, key[:80] or "No license stated")
