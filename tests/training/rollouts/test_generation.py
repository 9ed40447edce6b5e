"""Completions with a common prefix share a cache, and each is what it would be alone."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

from core.training.rollouts.llama_cpp_child import WORTH_SHARING, Generation

WORDS, END = 24, 0
SYSTEM = list(range(1, WORTH_SHARING + 2))


class Cache:
    """Stands in for llama.cpp: every slot remembers its words, and the next word depends on all of them.

    A word decoded elsewhere than at the slot's end, or copied from a slot that is too short, is an error, because
    the real cache would be wrong.
    """

    def __init__(self) -> None:
        self.words: dict[int, list[int]] = {}
        self.decoded = 0
        self.calls: list[list[int]] = []

    def prepare(self, slots: int, cells: int) -> None:
        self.words = {slot: [] for slot in range(slots)}

    def decode(self, entries: list[tuple[int, int, int, bool]]) -> Any:
        self.decoded += len(entries)
        self.calls.append([slot for _, _, slot, _ in entries])
        for token, position, slot, _ in entries:
            assert len(self.words[slot]) == position
            self.words[slot].append(token)
        return np.stack([self.logits(slot) for _, _, slot, _ in entries])

    def prefill(self, prompts: list[tuple[list[int], int]], begin: int = 0) -> list[Any]:
        for tokens, slot in prompts:
            assert len(self.words[slot]) == begin
            self.words[slot] += tokens
            self.decoded += len(tokens)
        return [self.logits(slot)[None] for _, slot in prompts]

    def logits(self, slot: int) -> Any:
        past = zlib.crc32(bytes(self.words[slot]))
        return np.random.default_rng(past).normal(0, 3, WORDS).astype(np.float32)

    def share(self, source: int, slot: int, length: int) -> None:
        assert source != slot
        assert len(self.words[source]) >= length
        self.words[slot] = self.words[source][:length]

    def release(self, slot: int) -> None:
        self.words[slot] = []


def written(prompts: list[list[int]], slots: int, places: list[int] | None = None, **rules: Any) -> tuple[Any, Cache]:
    cache = Cache()
    request = {"prompts": prompts, "max_tokens": 9, "stop": [END], "seed": 3, "slots": slots, "cells": 64}
    answer = Generation(cache, {**request, "rules": rules, "places": places}).run()  # type: ignore[arg-type]
    return answer, cache


@pytest.mark.parametrize(
    "rules", [{"temperature": 0.3}, {"temperature": 1.0}, {"repetition_penalty": 1.4, "temperature": 0.4}], ids=str
)
@pytest.mark.parametrize("slots", [32, 5, 1])
def test_each_completion_is_what_it_would_be_alone(rules: dict[str, Any], slots: int) -> None:
    """However many share a prefix, split, end and wait for a slot."""
    prompts = [[*SYSTEM, 7]] * 6 + [[*SYSTEM, 8, 9]] * 6 + [[3]] * 4
    found, _ = written(prompts, slots, **rules)
    for row, prompt in enumerate(prompts):
        alone, _ = written([prompt], 1, [row], **rules)
        assert found["completions"][row] == alone["completions"][0]
        assert found["log_probabilities"][row] == alone["log_probabilities"][0]


def test_common_prefixes_are_computed_once() -> None:
    """Greedy answers to one question cost as much as one; a common system prompt is read once."""
    one, other = [*SYSTEM, 7], [*SYSTEM, 8]
    _, single = written([one], 8, temperature=0)
    _, eight = written([one] * 8, 8, temperature=0)
    assert eight.decoded == single.decoded
    _, second = written([other], 8, temperature=0)
    _, both = written([one, other], 8, temperature=0)
    assert both.decoded == single.decoded + second.decoded - len(SYSTEM)


def test_slots_in_use_are_neighbors() -> None:
    """llama.cpp runs adjacent sequences in one pass, and others one after the other."""
    _, cache = written([[*SYSTEM, 7]] * 8 + [[*SYSTEM, 8]] * 8, 16, temperature=1.0)
    assert max(map(len, cache.calls)) > 8
    assert all(slots == list(range(len(slots))) for slots in cache.calls)
