"""Stands in for :mod:`core.training.llama.selftest_child`: produces the same output, and crashes on demand.

``DIES`` and ``DIES_ALWAYS`` are names of tensor types: the first crash with the extra buffers, the second always.
``DIES_AT_ONCE`` and ``SIGNAL`` are signal numbers; the latter is the one it dies of.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if "DIES_AT_ONCE" in os.environ:
    os.kill(os.getpid(), int(os.environ["DIES_AT_ONCE"]))
extra = sys.argv[1] == "1"
deadly = os.environ.get("DIES_ALWAYS", "").split() + (os.environ.get("DIES", "").split() if extra else [])
for file in sys.argv[3:]:
    assert Path(file).stat().st_size > 0
    print("try", Path(file).stem, flush=True)
    print("at 70 tokens on 2 threads", flush=True)
    if Path(file).stem in deadly:
        os.kill(os.getpid(), int(os.environ.get("SIGNAL", "11")))
    print("done", Path(file).stem, flush=True)
