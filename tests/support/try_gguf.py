"""Loads GGUF files in llama.cpp and reports their contents, for tests, in a separate process.

Standard input: ``{"files", "texts"}``, texts as token ids. Standard output, a list with an entry for each file:
``file_type``, ``bytes``, ``parameters``, ``answer`` (4 greedy tokens after the first text), ``likeliest`` (its
log-probability), ``probabilities`` (log-probabilities after each text).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2]))
from core.settings import Settings
from core.training.llama.params import defaults
from core.training.llama.selftest import ensure

EXTRA = ensure(Settings.from_env().home).extra_buffers


def look(path: str, texts: list[list[int]]) -> dict[str, Any]:
    with defaults(extra_buffers=EXTRA):
        model = llama_cpp.Llama(path, n_ctx=128, n_threads=2, logits_all=True, verbose=False)
    found = []
    for text in texts:
        model.reset()
        model.eval(text)
        logits = np.array(model.scores[len(text) - 1], dtype=np.float64)
        found.append(logits - logits.max() - np.log(np.exp(logits - logits.max()).sum()))
    model.reset()
    answer = [token for token, _ in zip(model.generate(texts[0], temp=0.0), range(4), strict=False)]
    said = {
        "file_type": int(model.metadata["general.file_type"]),
        "bytes": int(llama_cpp.llama_model_size(model.model)),
        "parameters": int(llama_cpp.llama_model_n_params(model.model)),
        "answer": answer,
        "likeliest": float(found[0].max()),
        "probabilities": [row.tolist() for row in found],
    }
    model.close()
    return said


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps([look(path, asked["texts"]) for path in asked["files"]]))
