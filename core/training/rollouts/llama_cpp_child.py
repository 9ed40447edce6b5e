"""Generates completions with llama.cpp, in a separate process because llama.cpp terminates its process on errors.

Started by :mod:`core.training.rollouts.llama_cpp`. Reads one JSON object per line on standard input, and responds to
each on standard output:

- ``{"op": "load", "model", "threads", "gpu", "extra_buffers"}``: comes first, once
- ``{"op": "adapter", "path" | null}``: applies to later requests
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
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import llama_cpp
import numpy as np

from core.training.llama.params import ERROR, model_params
from core.training.rollouts.sampling import Rules, draw, uniforms

BATCH = 512
"""Tokens per call of llama.cpp."""
WORTH_SHARING = 16
"""Length of a common prefix, in tokens, from which an extra call of llama.cpp pays off."""


@dataclass
class Completion:
    """One completion of the request.

    Attributes:
        row: Its index in the request.
        chances: Its uniform random numbers, one per token.
        tokens, log_probabilities: Generated so far.
    """

    row: int
    chances: Any
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)


@dataclass
class Branch:
    """Completions that are identical so far and share one cache and one next-token distribution.

    Attributes:
        slot: llama.cpp's sequence with their cache.
        at: Position of the next token to decode.
        members: The completions, in the order of the request.
        seen: Distinct tokens of prompt and completion; only with a repetition penalty.
    """

    slot: int
    at: int
    members: list[Completion]
    seen: set[int] = field(default_factory=set)


class Llama:
    """One model with at most one adapter, and a cache for several sequences."""

    def __init__(self, path: str, threads: int, *, gpu: bool, extra_buffers: bool) -> None:
        params = model_params(extra_buffers=extra_buffers, gpu=gpu)
        model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not model:
            raise RuntimeError(f"llama.cpp could not load {path}")
        self.model, self.threads = model, threads
        self.vocabulary_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self.context: Any = None
        self.memory: Any = None
        self.shape = (0, 0)
        self.adapter: Any = None
        self.batch = llama_cpp.llama_batch_init(BATCH, 0, 1)

    def use_adapter(self, path: str | None) -> None:
        """Replace the adapter; None removes it."""
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
            raise RuntimeError(f"llama.cpp rejected the adapter (code {code})")

    def prepare(self, slots: int, cells: int) -> None:
        """Create an empty cache for ``slots`` sequences of up to ``cells`` tokens each."""
        if self.context and self.shape == (slots, cells):
            llama_cpp.llama_memory_clear(self.memory, True)
            return
        if self.context:
            llama_cpp.llama_free(self.context)
        params = llama_cpp.llama_context_default_params()
        # One stream per sequence: its attention reads only its own cells.
        params.kv_unified = False
        params.n_seq_max, params.n_ctx = slots, slots * cells
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = self.threads
        params.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError("llama.cpp could not create a context of this size")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.shape = (slots, cells)
        self._apply()

    def decode(self, entries: list[tuple[int, int, int, bool]]) -> Any:
        """Run tokens through the model.

        Args:
            entries: (token, position, slot, whether to return its logits), at most ``BATCH``.

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
            return np.empty((0, self.vocabulary_size), np.float32)
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), (wanted_rows, self.vocabulary_size))

    def prefill(self, prompts: list[tuple[list[int], int]], everything: bool = False, begin: int = 0) -> list[Any]:
        """Decode prompts into their slots, from position ``begin``; returns the logits after each one's last token,
        or with ``everything`` after every token.
        """
        entries, owners = [], []
        for prompt, (tokens, slot) in enumerate(prompts):
            for position, token in enumerate(tokens):
                wanted = everything or position == len(tokens) - 1
                entries.append((token, begin + position, slot, wanted))
                if wanted:
                    owners.append(prompt)
        rows = [self.decode(entries[first : first + BATCH]).copy() for first in range(0, len(entries), BATCH)]
        logits, owner = np.concatenate(rows), np.array(owners)
        return [logits[owner == prompt] for prompt in range(len(prompts))]

    def share(self, source: int, slot: int, length: int) -> None:
        """Copy the first ``length`` cells of ``source`` to ``slot``."""
        llama_cpp.llama_memory_seq_cp(self.memory, source, slot, -1, -1)
        llama_cpp.llama_memory_seq_rm(self.memory, slot, length, -1)

    def release(self, slot: int) -> None:
        """Empty a slot."""
        llama_cpp.llama_memory_seq_rm(self.memory, slot, -1, -1)


class Generation:
    """One request: generates its completions, as many at a time as there are slots.

    Completions of one prompt begin as one branch. Each samples with its own random numbers; as long as they
    agree they stay together, and a shared token is computed once.
    """

    def __init__(self, llama: Llama, request: dict[str, Any]) -> None:
        self.llama = llama
        self.prompts: list[tuple[int, ...]] = [tuple(prompt) for prompt in request["prompts"]]
        self.limit, self.stop = int(request["max_tokens"]), frozenset(request["stop"])
        self.rules, self.seed = Rules(**request["rules"]), int(request["seed"])
        self.places: list[int] = request.get("places") or list(range(len(self.prompts)))
        """Index of each completion's random numbers, in the round or in the list that contains it."""
        self.waiting = deque(range(len(self.prompts)))
        self.slots = int(request["slots"])
        self.free = list(range(self.slots))
        self.active: list[Branch] = []
        self.done: dict[int, Completion] = {}
        self.first_logits: dict[tuple[int, ...], Any] = {}
        """Logits after each decoded prompt, while it has completions still to begin."""
        llama.prepare(request["slots"], request["cells"])

    def run(self) -> dict[str, Any]:
        """Generate all completions."""
        while self.waiting or self.active:
            self.step()
        rows = [self.done[row] for row in range(len(self.prompts))]
        return {
            "completions": [one.tokens for one in rows],
            "log_probabilities": [one.log_probabilities for one in rows],
        }

    def step(self) -> None:
        """Generate one more token for every active completion; waiting ones begin if there is a free slot."""
        # A slot is reserved for each completion: any two may diverge at the next token.
        free = self.slots - sum(len(branch.members) for branch in self.active)
        if self.waiting and free:
            self._admit(free)
        if self.active:
            self._close_gaps()
            entries = [(branch.members[0].tokens[-1], branch.at, branch.slot, True) for branch in self.active]
            logits = self.llama.decode(entries)
            for branch in self.active:
                branch.at += 1
            self.active = self._draw(self.active, logits)

    def _admit(self, free: int) -> None:
        """Start waiting completions: one branch per prompt, with the cache copied from one that has decoded it."""
        begun: dict[tuple[int, ...], Branch] = {}
        for _ in range(min(free, len(self.waiting))):
            row = self.waiting.popleft()
            prompt = self.prompts[row]
            if prompt not in begun:
                seen = set(prompt) if self.rules.repetition_penalty != 1 else set()
                begun[prompt] = Branch(self.free.pop(0), len(prompt), [], seen)
            begun[prompt].members.append(Completion(row, uniforms(self.seed, self.places[row], self.limit)))
        holders = {self.prompts[branch.members[0].row]: branch.slot for branch in self.active}
        self._read({prompt: branch.slot for prompt, branch in begun.items() if prompt not in holders})
        for prompt, branch in begun.items():
            if prompt in holders:
                self.llama.share(holders[prompt], branch.slot, len(prompt))
        first = np.stack([self.first_logits[prompt] for prompt in begun])
        still = {self.prompts[row] for row in self.waiting}
        self.first_logits = {prompt: row for prompt, row in self.first_logits.items() if prompt in still}
        self.active += self._draw(list(begun.values()), first)

    def _read(self, prompts: dict[tuple[int, ...], int]) -> None:
        """Decode prompts into their slots; a common prefix, such as a system prompt, is decoded once."""
        if not prompts:
            return
        common = _common(prompts)
        if common:
            (prompt, first), *others = prompts.items()
            self.llama.prefill([(list(prompt[:common]), first)])
            for _, slot in others:
                self.llama.share(first, slot, common)
        logits = self.llama.prefill([(list(prompt[common:]), slot) for prompt, slot in prompts.items()], begin=common)
        self.first_logits.update({prompt: rows[0] for prompt, rows in zip(prompts, logits, strict=True)})

    def _close_gaps(self) -> None:
        """Move the branches to the lowest slots, in order: llama.cpp only processes adjacent ones together."""
        count = len(self.active)
        for branch in self.active:
            if branch.slot >= count:
                slot = self.free.pop(0)
                self.llama.share(branch.slot, slot, branch.at)
                self._release(branch.slot)
                branch.slot = slot
        self.active.sort(key=lambda branch: branch.slot)

    def _release(self, slot: int) -> None:
        self.llama.release(slot)
        self.free = sorted([*self.free, slot])

    def _draw(self, branches: list[Branch], logits: Any) -> list[Branch]:
        """Sample the next token of each completion; returns the continuing ones, in branches of equal tokens."""
        members = [one for branch in branches for one in branch.members]
        owners: Any = np.repeat(np.arange(len(branches)), [len(branch.members) for branch in branches])
        chances = np.array([one.chances[len(one.tokens)] for one in members])
        seen = [np.fromiter(branch.seen, np.int64, len(branch.seen)) for branch in branches]
        tokens, log_probabilities = draw(logits, owners, chances, self.rules, seen)
        for one, token, log_probability in zip(members, tokens, log_probabilities, strict=True):
            one.tokens.append(token)
            one.log_probabilities.append(log_probability)
        return [part for branch in branches for part in self._parted(branch)]

    def _parted(self, branch: Branch) -> list[Branch]:
        """One branch per sampled token; finished completions leave, and slots without any are released."""
        going: dict[int, list[Completion]] = {}
        for one in branch.members:
            if one.tokens[-1] in self.stop or len(one.tokens) == self.limit:
                self.done[one.row] = one
            else:
                going.setdefault(one.tokens[-1], []).append(one)
        if not going:
            self._release(branch.slot)
        parts: list[Branch] = []
        for token, members in going.items():
            slot = branch.slot if not parts else self.free.pop(0)
            if parts:
                self.llama.share(branch.slot, slot, branch.at)
            seen = branch.seen | {token} if self.rules.repetition_penalty != 1 else branch.seen
            parts.append(Branch(slot, branch.at, members, seen))
        return parts


def _common(prompts: Collection[tuple[int, ...]]) -> int:
    """Length of the common prefix of all prompts; 0 if it is not worth a call, or there is one prompt."""
    if len(prompts) < 2:
        return 0
    low, high = min(prompts), max(prompts)
    # The last token of each is decoded separately, for its logits.
    most = min(map(len, prompts)) - 1
    common = next((place for place in range(most) if low[place] != high[place]), most)
    return common if common >= WORTH_SHARING else 0


def score(llama: Llama, request: dict[str, Any]) -> dict[str, Any]:
    """Logits after every token of every sequence, concatenated."""
    rows = []
    for tokens in request["sequences"]:
        llama.prepare(1, request["cells"])
        rows.extend(llama.prefill([(tokens, 0)], everything=True))
    np.save(request["out"], np.concatenate(rows))
    return {}


Answer = Callable[["Llama", dict[str, Any]], dict[str, Any]]
"""Handler of an additional request."""


def serve(more: Mapping[str, Answer]) -> None:
    """Serve requests until the input ends; ``more`` has additional handlers."""
    # llama.cpp's output must not mix with the responses.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    first = json.loads(sys.stdin.readline())
    llama = Llama(first["model"], first["threads"], gpu=first["gpu"], extra_buffers=first["extra_buffers"])
    reply({"vocabulary_size": llama.vocabulary_size})
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


# llama.cpp calls it throughout the process's life: it must stay referenced.
@llama_cpp.llama_log_callback
def _log(level: int, text: bytes, _: Any) -> None:
    if level == ERROR:  # progress and warnings would fill the run's log
        sys.stderr.write(text.decode(errors="replace"))


def begin(more: Mapping[str, Answer]) -> None:
    """Main function of the process."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no orphan after the worker is killed
    llama_cpp.llama_log_set(_log, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    serve(more)


if __name__ == "__main__":
    begin({})
