"""llama.cpp's quantizer in a separate process, because llama.cpp terminates its process on errors.

``llama_child.py <from.gguf> <to.gguf> <type> [<importance matrix.npz>]``
"""

from __future__ import annotations

import ctypes
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
    """An archive of float32 arrays by tensor name, converted for llama.cpp: a list that ends with an empty entry."""
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


if __name__ == "__main__":
    quantize(*sys.argv[1:5])
