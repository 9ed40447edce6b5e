"""The fidelity check in llama.cpp: extends :mod:`core.training.rollouts.llama_cpp_child` with more requests.

- ``{"op": "inspect"}`` → chat template, special tokens and end tokens of the file and llama.cpp
- ``{"op": "tokenize", "texts": [[part, …], …]}`` → ``{"ids": [[…]]}``, as llama.cpp's own chat programs tokenize a
  prompt; see :class:`core.data.chat_template.Shown` for its parts
- ``{"op": "slots", "cells"}`` → ``{"slots"}``: number of sequences whose cache fits into ``CACHE`` bytes
- ``{"op": "measure", "pairs": [[prompt, answer]], "cells", "slots", "out"}``: float16 log-probabilities of
  the whole vocabulary before every answer token, ``(positions, words)``, to ``out`` as .npy
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np

from core.data.chat_template import continued
from core.training.rollouts import llama_cpp_child
from core.training.rollouts.llama_cpp_child import BATCH, Llama

CACHE = 1 << 30
"""Bytes of key-value cache."""
ROWS = 64
"""Positions whose probabilities are computed at once."""
SLOTS = 32
"""Most sequences decoded together."""


def inspect(llama: Llama, _: dict[str, Any]) -> dict[str, Any]:
    """The model's prompt format and end tokens."""
    vocab = llama_cpp.llama_model_get_vocab(llama.model)
    template = llama_cpp.llama_model_chat_template(llama.model, None)
    bos, eos = llama_cpp.llama_vocab_bos(vocab), llama_cpp.llama_vocab_eos(vocab)
    return {
        "template": template.decode() if template else None,
        "bos_token": _text(vocab, bos),
        "eos_token": _text(vocab, eos),
        "eos": eos,
        "control": [text for token in range(llama.vocabulary_size) if (text := _control(vocab, token))],
        "ends": [token for token in range(llama.vocabulary_size) if llama_cpp.llama_vocab_is_eog(vocab, token)],
    }


def tokenize(llama: Llama, request: dict[str, Any]) -> dict[str, Any]:
    """Tokens of rendered prompts. A first token that the file adds is not duplicated if the text has it."""
    vocab = llama_cpp.llama_model_get_vocab(llama.model)
    first = llama_cpp.llama_vocab_get_add_bos(vocab)
    bos = _text(vocab, llama_cpp.llama_vocab_bos(vocab))

    def begun(text: str) -> list[int]:
        return ids(vocab, text.removeprefix(bos) if first else text)

    found = [begun(parts[0]) + ids_of(vocab, parts[1:]) for parts in request["texts"]]
    return {"ids": found}


def slots(llama: Llama, request: dict[str, Any]) -> dict[str, Any]:
    """Number of sequences of this length that are decoded together."""
    return {"slots": max(1, min(SLOTS, CACHE // (cell_bytes(llama) * int(request["cells"]))))}


def cell_bytes(llama: Llama) -> int:
    """Bytes of one token in the cache."""
    model = llama.model
    width = llama_cpp.llama_model_n_embd(model) // llama_cpp.llama_model_n_head(model)
    return int(4 * llama_cpp.llama_model_n_layer(model) * llama_cpp.llama_model_n_head_kv(model) * width)


def measure(llama: Llama, request: dict[str, Any]) -> dict[str, Any]:
    """Log-probabilities of given answers, a few sequences at a time."""
    pairs, slots = request["pairs"], int(request["slots"])
    rows = sum(len(answer) for _, answer in pairs)
    out = np.lib.format.open_memmap(request["out"], mode="w+", dtype=np.float16, shape=(rows, llama.vocabulary_size))
    done = 0
    for start in range(0, len(pairs), slots):
        entries = []
        for slot, (prompt, answer) in enumerate(pairs[start : start + slots]):
            for position, token in enumerate([*prompt, *answer[:-1]]):
                entries.append((token, position, slot, position >= len(prompt) - 1))
        llama.prepare(slots, int(request["cells"]))
        for first in range(0, len(entries), BATCH):
            logits = llama.decode(entries[first : first + BATCH])
            for row in range(0, len(logits), ROWS):
                part = _log_softmax(logits[row : row + ROWS])
                out[done : done + len(part)] = part
                done += len(part)
    out.flush()
    return {"rows": done}


def _log_softmax(logits: Any) -> Any:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)


def _text(vocab: Any, token: int) -> str:
    return llama_cpp.llama_vocab_get_text(vocab, token).decode(errors="replace") if token >= 0 else ""


def _control(vocab: Any, token: int) -> str:
    return _text(vocab, token) if llama_cpp.llama_vocab_is_control(vocab, token) else ""


def ids_of(vocab: Any, parts: Sequence[str]) -> list[int]:
    """Tokens of a prompt's later parts, each continuing the previous one."""
    return [token for part in parts for token in continued(part, lambda text: ids(vocab, text, add=False))]


def ids(vocab: Any, text: str, *, add: bool = True) -> list[int]:
    """Tokens of a text; ``add`` adds the first and last tokens that the file specifies."""
    data = text.encode()
    room_for = len(data) + 8
    found = (llama_cpp.llama_token * room_for)()
    count = llama_cpp.llama_tokenize(vocab, data, len(data), found, room_for, add, True)
    if count < 0:
        raise RuntimeError("llama.cpp could not tokenize a prompt")
    return list(found[:count])


if __name__ == "__main__":
    llama_cpp_child.begin({"inspect": inspect, "tokenize": tokenize, "slots": slots, "measure": measure})
