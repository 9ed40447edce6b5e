"""llama.cpp as on a processor where it crashes; a test puts the parent folder into ``PYTHONPATH``.

It becomes the real package, modified according to ``LLAMA_CRASHES``:

- ``buffers``: more than one token of a model with quantized weights raises SIGSEGV if it was loaded with the extra
  buffers, as on AMX processors when compiled with GCC 12.
- ``always``: the same however it was loaded.
- either with tensor types after a colon, ``buffers:F16``: only for these.
- ``import``: SIGILL on import, as when compiled for another processor.
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[4]))

from core.training.gguf import header as gguf_header

AMX = "Q4_0,Q4_1,Q8_0,Q4_K,Q5_K,Q6_K"
MODE, _, types = os.environ["LLAMA_CRASHES"].partition(":")
TYPES = frozenset((types or AMX).split(","))

if MODE == "import":
    os.kill(os.getpid(), signal.SIGILL)
sys.path.remove(str(Path(__file__).resolve().parent.parent))
del sys.modules["llama_cpp"]
real = importlib.import_module("llama_cpp")
load, decode = real.llama_model_load_from_file, real.llama_decode
doomed = False


def watched(path: bytes, params: Any) -> Any:
    global doomed  # noqa: PLW0603  # a process holds one model at a time
    deadly = any(tensor.kind in TYPES for tensor in gguf_header.read(Path(path.decode())).tensors.values())
    doomed = deadly and (MODE == "always" or bool(params.use_extra_bufts))
    return load(path, params)


def dying(context: Any, batch: Any) -> Any:
    if doomed and batch.n_tokens > 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode(context, batch)


modules: tuple[Any, ...] = (real, real.llama_cpp)
for module in modules:
    module.llama_model_load_from_file, module.llama_decode = watched, dying
