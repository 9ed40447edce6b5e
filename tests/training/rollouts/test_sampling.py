"""Sampling tokens with numpy: the same distributions as transformers, reproducibly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from core.training.rollouts.sampling import Rules, draw, uniforms

WORDS = 700
LOGITS = np.random.default_rng(3).normal(0, 3, (1, WORDS)).astype(np.float32)
SEEN = np.array([5, 9, int(LOGITS.argmax())])


def theirs(rules: Rules) -> Any:
    """The probabilities that transformers would sample from."""
    steps: list[Any] = []
    if rules.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(rules.repetition_penalty))
    steps.append(TemperatureLogitsWarper(rules.temperature))
    if rules.top_k:
        steps.append(TopKLogitsWarper(rules.top_k))
    if rules.top_p < 1:
        steps.append(TopPLogitsWarper(rules.top_p))
    if rules.min_p:
        steps.append(MinPLogitsWarper(rules.min_p))
    scores = LogitsProcessorList(steps)(torch.tensor(SEEN)[None], torch.from_numpy(LOGITS.copy()))
    return scores.softmax(dim=-1)[0].numpy()


@pytest.mark.parametrize(
    "rules",
    [
        Rules(),
        Rules(temperature=0.7),
        Rules(top_k=5),
        Rules(top_p=0.8),
        Rules(min_p=0.1),
        Rules(repetition_penalty=1.5),
        Rules(temperature=1.3, top_k=40, top_p=0.9, min_p=0.02, repetition_penalty=1.2),
    ],
    ids=str,
)
def test_tokens_come_as_often_as_transformers_would_draw_them(rules: Rules) -> None:
    """Evenly spaced numbers in the unit interval reproduce the distribution."""
    count = 4000
    chances = (np.arange(count) + 0.5) / count
    drawn = [draw(LOGITS, [0], chances[[place]], rules, [SEEN])[0][0] for place in range(count)]
    shares = np.bincount(drawn, minlength=WORDS) / count
    assert np.abs(shares - theirs(rules)).max() <= 2 / count


def test_the_log_probability_is_the_models_own() -> None:
    """Only the temperature applies, whatever limited the draw: the trainer compares with this."""
    tokens, found = draw(LOGITS, [0], np.array([0.4]), Rules(temperature=0.7, top_k=3), [SEEN])
    wanted = (torch.from_numpy(LOGITS) / 0.7).log_softmax(dim=-1)[0, tokens[0]]
    assert found[0] == pytest.approx(float(wanted), abs=1e-5)


def test_temperature_zero_takes_the_likeliest() -> None:
    """Greedy decoding ignores the random number."""
    assert draw(LOGITS, [0], np.array([0.99]), Rules(temperature=0), [SEEN])[0] == [int(LOGITS.argmax())]


def test_the_ends_of_the_interval_are_tokens() -> None:
    """Every random number maps to a token, even if the last tokens have zero probability."""
    logits: Any = np.full((2, 600), -np.inf, np.float32)
    logits[:, [3, 400]] = 0.0
    tokens, _ = draw(logits, [0, 1], np.array([0.0, np.nextafter(1.0, 0)]), Rules(), [SEEN, SEEN])
    assert tokens == [3, 400]


def test_random_numbers_belong_to_their_completion() -> None:
    """The same seed and row give the same numbers; another row gives others."""
    assert (uniforms(7, 2, 5) == uniforms(7, 2, 5)).all()
    assert (uniforms(7, 2, 5) != uniforms(7, 3, 5)).all()
