"""Writing completions with llama.cpp, in a process of its own: llama.cpp ends its process on an error.

Started by :mod:`core.training.rollout`. One JSON object a line, in on standard input, out on
standard output, one answer to each:

- ``{"op": "load", "model", "threads", "gpu"}``: comes first, once
- ``{"op": "adapter", "path" | null}``: applied from now on
- ``{"op": "generate", "prompts", "max_tokens", "stop", "rules", "seed", "slots", "cells"}`` →
  ``{"completions": [[token, …]], "log_probabilities": [[…]]}``
- ``{"op": "score", "sequences", "cells", "out"}``: float32 logits after every token, to ``out`` as .npy

Nothing here imports torch. The process ends when its input does, and with its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parent.parent.parent)
if ROOT not in sys.path:
    sys.path.append(ROOT)

import llama_cpp  # noqa: E402
import numpy as np  # noqa: E402

from core.training.sampling import Rules, draw, uniforms  # noqa: E402

BATCH = 512
"""Tokens in one call of llama.cpp."""
ALL_LAYERS = 1 << 20
"""More than any model has."""


@dataclass
class Sequence:
    """A completion being written.

    Attributes:
        row: Its place in the request.
        slot: llama.cpp's sequence that holds its cache.
        at: Position of the token that is decoded next.
        chances: Its uniform numbers, one for each token.
        tokens, log_probabilities: Written so far.
        seen: Distinct tokens of prompt and completion.
    """

    row: int
    slot: int
    at: int
    chances: Any
    seen: set[int] = field(default_factory=set)
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)


class Llama:
    """One model with at most one adapter, and a cache for several sequences."""

    def __init__(self, path: str, threads: int, *, gpu: bool = False) -> None:
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = ALL_LAYERS if gpu else 0
        model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not model:
            raise RuntimeError(f"llama.cpp could not load {path}")
        self.model, self.threads = model, threads
        self.words = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self.context: Any = None
        self.memory: Any = None
        self.shape = (0, 0)
        self.adapter: Any = None
        self.batch = llama_cpp.llama_batch_init(BATCH, 0, 1)

    def use_adapter(self, path: str | None) -> None:
        """Replace the adapter; None takes it off."""
        old, self.adapter = self.adapter, None
        if path is not None:
            self.adapter = llama_cpp.llama_adapter_lora_init(self.model, path.encode())
            if not self.adapter:
                raise RuntimeError(f"llama.cpp could not load the adapter {path}")
        if self.context:
            self._apply()
        if old:
            llama_cpp.llama_adapter_lora_free(old)

    def _apply(self) -> None:
        count = 1 if self.adapter else 0
        adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(self.adapter)
        code = llama_cpp.llama_set_adapters_lora(self.context, adapters, count, (ctypes.c_float * 1)(1.0))
        if code:
            raise RuntimeError(f"llama.cpp refused the adapter (code {code})")

    def prepare(self, slots: int, cells: int) -> None:
        """An empty cache for ``slots`` sequences of up to ``cells`` tokens each."""
        if self.context and self.shape == (slots, cells):
            llama_cpp.llama_memory_clear(self.memory, True)
            return
        if self.context:
            llama_cpp.llama_free(self.context)
        params = llama_cpp.llama_context_default_params()
        # A stream for each sequence: its attention reads its own cells only.
        params.kv_unified = False
        params.n_seq_max, params.n_ctx = slots, slots * cells
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = self.threads
        params.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError("llama.cpp could not make a context of this size")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.shape = (slots, cells)
        self._apply()

    def decode(self, entries: list[tuple[int, int, int, bool]]) -> Any:
        """Run tokens through the model.

        Args:
            entries: (token, position, slot, whether its logits are wanted), at most ``BATCH``.

        Returns:
            ``(wanted, words)`` float32, a view that the next call overwrites.
        """
        batch = self.batch
        batch.n_tokens = len(entries)
        for place, (token, position, slot, wanted) in enumerate(entries):
            batch.token[place], batch.pos[place] = token, position
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, slot
            batch.logits[place] = wanted
        code = llama_cpp.llama_decode(self.context, batch)
        if code:
            raise RuntimeError(f"llama.cpp could not decode (code {code})")
        wanted_rows = sum(entry[3] for entry in entries)
        if not wanted_rows:
            return np.empty((0, self.words), np.float32)
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), (wanted_rows, self.words))

    def prefill(self, prompts: list[tuple[list[int], int]], everything: bool = False) -> list[Any]:
        """Read prompts into their slots; the logits after each one's last token (after every token)."""
        entries, owners = [], []
        for prompt, (tokens, slot) in enumerate(prompts):
            for position, token in enumerate(tokens):
                wanted = everything or position == len(tokens) - 1
                entries.append((token, position, slot, wanted))
                if wanted:
                    owners.append(prompt)
        rows = [self.decode(entries[first : first + BATCH]).copy() for first in range(0, len(entries), BATCH)]
        logits, owner = np.concatenate(rows), np.array(owners)
        return [logits[owner == prompt] for prompt in range(len(prompts))]

    def share(self, source: int, slot: int, length: int) -> None:
        """Give ``slot`` the first ``length`` cells of ``source``."""
        llama_cpp.llama_memory_seq_cp(self.memory, source, slot, -1, -1)
        llama_cpp.llama_memory_seq_rm(self.memory, slot, length, -1)

    def release(self, slot: int) -> None:
        """Empty a slot."""
        llama_cpp.llama_memory_seq_rm(self.memory, slot, -1, -1)


class Generation:
    """One request: all its completions, as many at a time as there are slots."""

    def __init__(self, llama: Llama, request: dict[str, Any]) -> None:
        self.llama = llama
        self.prompts: list[tuple[int, ...]] = [tuple(prompt) for prompt in request["prompts"]]
        self.limit, self.stop = int(request["max_tokens"]), frozenset(request["stop"])
        self.rules, self.seed = Rules(**request["rules"]), int(request["seed"])
        self.places: list[int] = request.get("places") or list(range(len(self.prompts)))
        """Whose random numbers each takes: its place in the round, or in a list that the round is a piece of."""
        self.waiting = deque(range(len(self.prompts)))
        self.free = list(range(request["slots"]))
        self.active: list[Sequence] = []
        self.done: dict[int, Sequence] = {}
        self.first_logits: dict[tuple[int, ...], Any] = {}
        """After each prompt that was read, while completions of it are still to begin."""
        llama.prepare(request["slots"], request["cells"])

    def run(self) -> dict[str, Any]:
        """Write every completion."""
        while self.waiting or self.active:
            self.step()
        rows = [self.done[row] for row in range(len(self.prompts))]
        return {
            "completions": [one.tokens for one in rows],
            "log_probabilities": [one.log_probabilities for one in rows],
        }

    def step(self) -> None:
        """One token more for every completion that is being written; waiting ones begin where there is room."""
        if self.waiting and self.free:
            self._admit()
        if self.active:
            entries = [(one.tokens[-1], one.at, one.slot, True) for one in self.active]
            logits = self.llama.decode(entries)
            for one in self.active:
                one.at += 1
            self._draw(self.active, logits)

    def _admit(self) -> None:
        """Let waiting completions begin: read new prompts, copy the cache for the others of a group."""
        begun: list[Sequence] = []
        while self.waiting and self.free:
            row = self.waiting.popleft()
            prompt = self.prompts[row]
            one = Sequence(row, self.free.pop(0), len(prompt), uniforms(self.seed, self.places[row], self.limit))
            if self.rules.repetition_penalty != 1:
                one.seen.update(prompt)
            begun.append(one)
        holders = {self.prompts[one.row]: one.slot for one in self.active}
        reading: dict[tuple[int, ...], int] = {}
        for one in begun:
            prompt = self.prompts[one.row]
            if prompt not in holders and prompt not in reading:
                reading[prompt] = one.slot
        logits = self.llama.prefill([(list(prompt), slot) for prompt, slot in reading.items()]) if reading else []
        self.first_logits.update({prompt: rows[0] for prompt, rows in zip(reading, logits, strict=True)})
        holders.update(reading)
        for one in begun:
            prompt = self.prompts[one.row]
            if holders[prompt] != one.slot:
                self.llama.share(holders[prompt], one.slot, len(prompt))
        first = np.stack([self.first_logits[self.prompts[one.row]] for one in begun])
        still = {self.prompts[row] for row in self.waiting}
        self.first_logits = {prompt: row for prompt, row in self.first_logits.items() if prompt in still}
        self._draw(begun, first)

    def _draw(self, sequences: list[Sequence], logits: Any) -> None:
        """The next token of each; the finished ones leave their slot."""
        chances = np.array([one.chances[len(one.tokens)] for one in sequences])
        seen = [np.fromiter(one.seen, np.int64, len(one.seen)) for one in sequences]
        tokens, log_probabilities = draw(logits, chances, self.rules, seen)
        going = []
        for one, token, log_probability in zip(sequences, tokens, log_probabilities, strict=True):
            one.tokens.append(token)
            one.log_probabilities.append(log_probability)
            if self.rules.repetition_penalty != 1:
                one.seen.add(token)
            if token in self.stop or len(one.tokens) == self.limit:
                self.done[one.row] = one
                self.llama.release(one.slot)
                self.free.append(one.slot)
            else:
                going.append(one)
        others = [] if sequences is self.active else self.active
        self.active = sorted([*others, *going], key=lambda one: one.row)
        self.free.sort()


def score(llama: Llama, request: dict[str, Any]) -> dict[str, Any]:
    """Logits after every token of every sequence, one after the other."""
    rows = []
    for tokens in request["sequences"]:
        llama.prepare(1, request["cells"])
        rows.extend(llama.prefill([(tokens, 0)], everything=True))
    np.save(request["out"], np.concatenate(rows))
    return {}


Answer = Callable[["Llama", dict[str, Any]], dict[str, Any]]
"""What another child's request is answered with."""


def serve(more: Mapping[str, Answer]) -> None:
    """Answer requests until the input ends; ``more`` are those that this module does not know."""
    # Whatever llama.cpp prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    first = json.loads(sys.stdin.readline())
    llama = Llama(first["model"], first["threads"], gpu=first["gpu"])
    reply({"words": llama.words})
    for line in sys.stdin:
        request = json.loads(line)
        match request["op"]:
            case "adapter":
                llama.use_adapter(request["path"])
                reply({})
            case "generate":
                reply(Generation(llama, request).run())
            case "score":
                reply(score(llama, request))
            case other:
                reply(more[other](llama, request))


@llama_cpp.llama_log_callback
def _log(level: int, text: bytes, _: Any) -> None:
    if level == 3:  # an error; progress and warnings would fill the run's log
        sys.stderr.write(text.decode(errors="replace"))


def begin(more: Mapping[str, Answer]) -> None:
    """The whole life of the process."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no orphan after the worker is killed
    llama_cpp.llama_log_set(_log, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    serve(more)


if __name__ == "__main__":
    begin({})
