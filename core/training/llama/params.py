"""Model parameters for llama.cpp, used by every process that loads a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llama_cpp

ALL_LAYERS = 1 << 20
"""More than any model has."""
ERROR = 4
"""``GGML_LOG_LEVEL_ERROR`` of this version's ``ggml.h``; llama_cpp's own table is outdated and has 3."""


def model_params(*, extra_buffers: bool, gpu: bool = False) -> Any:
    """For ``llama_model_load_from_file``.

    Args:
        extra_buffers: As :class:`core.llama.Outcome` says: off if llama.cpp crashes with them on this CPU.
        gpu: Whether a GPU that llama.cpp can use takes all layers.
    """
    params = llama_cpp.llama_model_default_params()
    params.use_extra_bufts = extra_buffers
    params.n_gpu_layers = ALL_LAYERS if gpu else 0
    return params


@contextmanager
def defaults(*, extra_buffers: bool) -> Iterator[None]:
    """Apply these to ``llama_cpp.Llama`` inside, which has no argument for the extra buffers."""
    native = llama_cpp.llama_cpp
    before = native.llama_model_default_params
    native.llama_model_default_params = lambda: model_params(extra_buffers=extra_buffers)
    try:
        yield
    finally:
        native.llama_model_default_params = before
