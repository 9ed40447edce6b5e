"""Evaluates a GGUF in llama.cpp: extends :mod:`core.training.rollouts.llama_cpp_child` with more requests.

- ``{"op": "inspect"}`` → as in :mod:`core.training.fidelity.llama_child`, and ``longest``: maximum tokens of a
  prompt with its answer
- ``{"op": "prompts", "texts": [[part, …], …]}`` → ``{"ids": [[…]]}``: no tokens are added to the rendered prompt
- ``{"op": "open", …}``: as ``generate`` without ``slots``, with ``places``; starts and returns immediately
- ``{"op": "more", "seconds"}`` → ``{"finished": [[place, text, tokens]]}``: continues for that long
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

import llama_cpp

from core.training.fidelity import llama_child
from core.training.rollouts import llama_cpp_child
from core.training.rollouts.llama_cpp_child import Generation, Llama

LEAST = 4096
"""Tokens that a conversation may have even if its cache then exceeds ``llama_child.CACHE``."""


def inspect(llama: Llama, request: dict[str, Any]) -> dict[str, Any]:
    """The model's prompt format, end tokens and context length."""
    trained = llama_cpp.llama_model_n_ctx_train(llama.model)
    fits = max(LEAST, llama_child.CACHE // llama_child.cell_bytes(llama))
    return {**llama_child.inspect(llama, request), "longest": min(trained, fits) if trained > 0 else fits}


def prompts(llama: Llama, request: dict[str, Any]) -> dict[str, Any]:
    """Tokens of rendered prompts: the template already includes a first token if there is one."""
    vocab = llama_cpp.llama_model_get_vocab(llama.model)
    found = [
        llama_child.ids(vocab, parts[0], add=False) + llama_child.ids_of(vocab, parts[1:]) for parts in request["texts"]
    ]
    return {"ids": found}


class Writing:
    """Answers being generated, a second at a time."""

    def __init__(self) -> None:
        self._generation: Generation | None = None

    def open(self, llama: Llama, request: dict[str, Any]) -> dict[str, Any]:
        """Start. States of a recurrent model cannot be truncated to a shared prompt: it answers one at a time."""
        alone = llama_cpp.llama_model_is_recurrent(llama.model) or llama_cpp.llama_model_is_hybrid(llama.model)
        slots = 1 if alone else min(len(request["prompts"]), llama_child.slots(llama, request)["slots"])
        self._generation = Generation(llama, {**request, "slots": slots})
        return {}

    def more(self, llama: Llama, request: dict[str, Any]) -> dict[str, Any]:
        """Continue for a while, at least one token each; returns what was finished."""
        writing, until = self._generation, time.monotonic() + request["seconds"]
        if writing is None:
            raise RuntimeError("'open' comes before 'more'")
        while writing.waiting or writing.active:
            writing.step()
            if time.monotonic() > until:
                break
        vocab = llama_cpp.llama_model_get_vocab(llama.model)
        finished = []
        for row, one in writing.done.items():
            said = one.tokens[:-1] if one.tokens[-1] in writing.stop else one.tokens
            finished.append([writing.places[row], _text(vocab, said), len(said)])
        writing.done.clear()
        return {"finished": finished}


def _text(vocab: Any, tokens: list[int]) -> str:
    data = b"".join(_piece(vocab, token) for token in tokens)
    return data.decode(errors="replace")


def _piece(vocab: Any, token: int, size: int = 64) -> bytes:
    """A token's bytes; empty for special tokens."""
    buffer = ctypes.create_string_buffer(size)
    length = llama_cpp.llama_token_to_piece(vocab, token, buffer, size, 0, False)
    return buffer.raw[:length] if length >= 0 else _piece(vocab, token, -length)


if __name__ == "__main__":
    writing = Writing()
    llama_cpp_child.begin({"inspect": inspect, "prompts": prompts, "open": writing.open, "more": writing.more})
