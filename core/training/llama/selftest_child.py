"""Tries llama.cpp on tiny models, in a separate process that may crash on any of them.

``llama_selftest_child.py <extra buffers: 0 or 1> <threads> <file.gguf> …``: for each file a line ``try <stem>``
on standard output, then ``at <operation>`` before each part, then ``done <stem>``. The quantizer is
tried last, on the first file.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from core.training.gguf.quantize_child import quantize
from core.training.llama.params import ERROR, model_params

MANY = 70
"""Batch size in tokens: larger than any kernel's block size, and not a multiple of any."""
CELLS = 256
QUANTIZER = "quantizer"
SMALL = "Q4_K_M"
"""The type requested from the quantizer."""


def say(*words: object) -> None:
    """Print a line for the parent process."""
    print(*words, flush=True)


def attempt(path: Path, threads: int, *, extra_buffers: bool) -> None:
    """Decode one token and many, with one thread and with all.

    Raises:
        RuntimeError: It could not be loaded or decoded, or the result is NaN.
    """
    say("at loading")
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params(extra_buffers=extra_buffers))
    if not model:
        raise RuntimeError(f"llama.cpp could not load {path.name}")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = CELLS
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        raise RuntimeError(f"llama.cpp could not create a context for {path.name}")
    words = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    for workers in dict.fromkeys((1, threads)):
        llama_cpp.llama_set_n_threads(context, workers, workers)
        for count in (1, MANY):
            say("at", _counted(count, "token"), "on", _counted(workers, "thread"))
            decode(context, count, words)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def decode(context: Any, count: int, words: int) -> None:
    """Decode this many tokens at once with an empty cache."""
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    tokens = (llama_cpp.llama_token * count)(*((7 * place) % words for place in range(count)))
    code = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, count))
    if code:
        raise RuntimeError(f"llama.cpp could not decode (code {code})")
    if not np.isfinite(np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (words,))).all():
        raise RuntimeError("llama.cpp computed values that are not numbers")


# llama.cpp calls it for as long as the process lives: it must stay referenced.
@llama_cpp.llama_log_callback
def _log(level: int, text: bytes, _: Any) -> None:
    if level == ERROR:
        sys.stderr.write(text.decode(errors="replace"))


def main(extra_buffers: bool, threads: int, names: list[str]) -> None:
    """Try each in turn; the first failure ends the process, one way or another."""
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    llama_cpp.llama_log_set(_log, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    for name in names:
        path = Path(name)
        say("try", path.stem)
        if path.stem == QUANTIZER:
            quantize(str(path), f"{path}.made", SMALL)
        else:
            attempt(path, threads, extra_buffers=extra_buffers)
        say("done", path.stem)


if __name__ == "__main__":
    main(sys.argv[1] == "1", int(sys.argv[2]), sys.argv[3:])
