"""What needs llama.cpp, each in a process of its own: llama.cpp ends its process on an error.

``llama_child.py quantize <from.gguf> <to.gguf> <type> [<importance matrix.npz>]``
``llama_child.py answer <file.gguf> <prompt> <tokens>`` prints ``{"text", "tokens"}``
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

THREADS = len(os.sched_getaffinity(0))
_HELD: list[Any] = []
"""Memory that llama.cpp reads while it works."""


def quantize(source: str, target: str, name: str, matrix: str = "") -> None:
    """Write ``target`` with the tensor types that llama.cpp chooses for ``name`` (``Q4_K_M``)."""
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    if matrix:
        held = importance(matrix)
        params.imatrix = ctypes.cast(held, type(params.imatrix))
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
    params.nthread = THREADS
    code = llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params))
    if code:
        sys.exit(f"llama.cpp could not quantize the file (code {code})")


def importance(path: str) -> ctypes.Array[Any]:
    """An archive of float32 arrays by tensor name, as llama.cpp takes it: a list that ends with an empty entry."""
    import llama_cpp
    import numpy as np

    arrays = np.load(path, allow_pickle=False)
    entries = (llama_cpp.llama_model_imatrix_data * (len(arrays.files) + 1))()
    for entry, name in zip(entries, arrays.files, strict=False):
        values = np.ascontiguousarray(arrays[name], dtype=np.float32)
        kept = (ctypes.c_float * values.size).from_buffer_copy(values.tobytes())
        entry.name, entry.size = name.encode(), values.size
        entry.data = ctypes.cast(kept, ctypes.POINTER(ctypes.c_float))
        _HELD.append(kept)
    return entries  # type: ignore[no-any-return]  # llama_cpp's types are not known to mypy


def answer(path: str, prompt: str, tokens: int) -> None:
    """Load a file and continue a rendered prompt greedily."""
    import llama_cpp

    model = llama_cpp.Llama(path, n_ctx=1024, n_threads=THREADS, verbose=False)
    ids = model.tokenize(prompt.encode(), add_bos=False, special=True)
    written: list[int] = []
    for token in model.generate(ids, temp=0.0):
        if token == model.token_eos() or len(written) >= tokens:
            break
        written.append(token)
    text = model.detokenize(written).decode(errors="replace")
    sys.stdout.write(json.dumps({"text": text, "tokens": len(written)}) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "quantize":
        quantize(*sys.argv[2:6])
    else:
        answer(sys.argv[2], sys.argv[3], int(sys.argv[4]))
