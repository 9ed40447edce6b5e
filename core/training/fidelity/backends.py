"""The two backends of the fidelity check: transformers, and llama.cpp in a separate process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from core.data.chat_template import Shown, show
from core.data.conversation import Conversation
from core.errors import InvalidInput
from core.training.fidelity import kl
from core.training.gguf.file import Cancelled
from core.training.method_rows import ids_of, shown
from core.training.rollouts.generate import Interrupted, Sampling, TransformersEngine, end_ids, evaluating
from core.training.rollouts.llama_process import Child
from core.training.rollouts.sampling import Rules

CHILD = Path(__file__).with_name("llama_child.py")
BATCH = 32
"""Batch size for transformers."""
Pairs = Sequence[tuple[list[int], list[int]]]
"""Tokenized prompts, and answers at whose tokens probabilities are compared."""


class Unusable(Exception):
    """The model cannot answer; the message says why."""


@dataclass(frozen=True)
class Task:
    """The task for every model.

    Attributes:
        conversations: Conversations to render.
        sampling: Sampling settings.
        stop: Polled; true ends with :class:`core.training.gguf.file.Cancelled`.
    """

    conversations: list[Conversation]
    sampling: Sampling
    stop: Callable[[], bool]


@dataclass(frozen=True)
class Backend:
    """One model, ready to answer.

    Attributes:
        texts: The rendered conversations.
        ids: Their tokens.
        ends: End tokens.
        end: The end-of-sequence token in its file; None if that is not part of an export.
        answer: Generates greedy answers to token ids.
        measure: Writes log-probabilities of given answers to a file, as :mod:`core.training.fidelity.kl` reads them.
    """

    texts: list[str]
    ids: list[list[int]]
    ends: frozenset[int]
    end: int | None
    answer: Callable[[list[list[int]]], list[list[int]]]
    measure: Callable[[Pairs, Path], None]


def in_transformers(model: Any, tokenizer: PreTrainedTokenizerBase, task: Task) -> Backend:
    """A model in memory.

    Raises:
        Unusable: Its chat template cannot render a conversation.
    """
    engine = TransformersEngine(model, tokenizer, task.stop)

    def answer(ids: list[list[int]]) -> list[list[int]]:
        written: list[list[int]] = []
        with _cancelled():
            for start in range(0, len(ids), BATCH):
                written += engine.generate(ids[start : start + BATCH], task.sampling).tokens
        return written

    def check() -> None:
        if task.stop():
            raise Cancelled

    def measure(pairs: Pairs, out: Path) -> None:
        with evaluating(model):
            kl.measure(model, pairs, out, stop=check)

    asked = _asked_with(task, lambda one: shown(one, tokenizer))
    texts, ids = [one.text for one in asked], [ids_of(one, tokenizer) for one in asked]
    return Backend(texts, ids, frozenset(end_ids(model, tokenizer)), tokenizer.eos_token_id, answer, measure)


@contextmanager
def in_llama(
    file: Path, adapter: Path | None, task: Task, trained: Backend, *, extra_buffers: bool
) -> Iterator[Backend]:
    """A GGUF in a separate process, which ends with the block.

    Args:
        file: The model.
        adapter: A GGUF adapter to apply. Chat template and end tokens are then not part of the export,
            and the trained model's prompts are used.
        task: The task.
        trained: The trained model.
        extra_buffers: Whether llama.cpp's extra buffers are used.

    Raises:
        Unusable: It has no working chat template.
        ChildDied: llama.cpp's process crashed, or cannot be used here.
    """
    with (
        _cancelled(),
        closing(Child(file, torch.get_num_threads(), task.stop, CHILD, extra_buffers=extra_buffers)) as child,
    ):
        child.ask({"op": "adapter", "path": str(adapter) if adapter else None})
        yield _adapted(child, task, trained) if adapter else _whole(child, task)


def _adapted(child: Child, task: Task, trained: Backend) -> Backend:
    ends = trained.ends | frozenset(child.ask({"op": "inspect"})["ends"])
    return _asked(child, task, trained.texts, trained.ids, ends, None)


def _whole(child: Child, task: Task) -> Backend:
    facts = child.ask({"op": "inspect"})
    if not facts["template"]:
        raise Unusable("It has no chat template, so programs would have to guess its prompt format.")
    special = {name: facts[name] for name in ("bos_token", "eos_token")}
    asked = _asked_with(task, lambda one: show(one, facts["template"], special, facts["control"]))
    ids = child.ask({"op": "tokenize", "texts": [one.parts for one in asked]})["ids"]
    return _asked(child, task, [one.text for one in asked], ids, frozenset(facts["ends"]), facts["eos"])


def _asked(
    child: Child, task: Task, texts: list[str], ids: list[list[int]], ends: frozenset[int], end: int | None
) -> Backend:
    def answer(asked: list[list[int]]) -> list[list[int]]:
        cells = _cells(max(map(len, asked)) + task.sampling.max_new_tokens)
        request = {
            "op": "generate",
            "prompts": asked,
            "max_tokens": task.sampling.max_new_tokens,
            "stop": sorted(ends),
            "rules": asdict(Rules(temperature=0)),
            "seed": 0,
            "cells": cells,
        }
        completions: list[list[int]] = child.ask({**request, **_slots(child, cells)})["completions"]
        return completions

    def measure(pairs: Pairs, out: Path) -> None:
        cells = _cells(max(len(prompt) + len(answer) for prompt, answer in pairs))
        child.ask({"op": "measure", "pairs": list(pairs), "cells": cells, "out": str(out), **_slots(child, cells)})

    return Backend(texts, ids, ends, end, answer, measure)


def _slots(child: Child, cells: int) -> dict[str, Any]:
    return child.ask({"op": "slots", "cells": cells})


def _cells(tokens: int) -> int:
    return -(-tokens // 256) * 256


def _asked_with(task: Task, render: Callable[[Conversation], Shown]) -> list[Shown]:
    try:
        return [render(one) for one in task.conversations]
    except InvalidInput as error:
        raise Unusable(f"Its chat template failed on a conversation. {error.message}") from error


@contextmanager
def _cancelled() -> Iterator[None]:
    try:
        yield
    except Interrupted:
        raise Cancelled from None
