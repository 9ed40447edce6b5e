"""Evaluation measures correctly and does not affect the run."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from core.settings import Home
from core.training.evaluation.held_out import answers_kl
from core.training.job.device import undisturbed
from core.training.models.reference import start_of

pytestmark = pytest.mark.training


@pytest.fixture
def model(models: Home) -> Any:
    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(models.cache / "models" / "tiny")
    return get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))


def test_an_adapter_that_does_nothing_has_moved_nowhere(model: Any) -> None:
    """KL to the base model is 0 before the first step."""
    assert kl(model, [([5, 6, 7], [8, 9]), ([5], [6])]) == pytest.approx(0, abs=1e-6)


def test_kl_is_the_same_one_by_one_and_together(model: Any) -> None:
    """Padding changes nothing, and the sum follows the definition, position by position."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    pairs = [([5, 6, 7], [8, 9, 300]), ([50], [60]), ([1, 2, 3, 4, 5, 6], [700, 12])]
    together = kl(model, pairs)
    assert together == pytest.approx(sum(kl(model, [pair]) for pair in pairs), rel=1e-4)
    assert together == pytest.approx(sum(_by_hand(model, *pair) for pair in pairs), rel=1e-4)
    assert together > 0.01


def test_random_states_are_given_back() -> None:
    """Random draws after the evaluation are as without it."""
    torch.manual_seed(1)
    random.seed(1)
    with undisturbed():
        between = (torch.rand(3).tolist(), random.random())
    assert (torch.rand(3).tolist(), random.random()) == between


def kl(model: Any, pairs: list[tuple[list[int], list[int]]]) -> float:
    """From the model without its adapter."""
    with start_of(model, lambda: model)() as begun:
        return answers_kl(model, begun, pairs)


def _by_hand(model: Any, prompt: list[int], answer: list[int]) -> float:
    model.eval()
    total = 0.0
    for place in range(len(answer)):
        ids = torch.tensor([[*prompt, *answer[:place]]])
        with torch.no_grad():
            p = model(input_ids=ids).logits[0, -1].softmax(-1)
            with model.disable_adapter():
                q = model(input_ids=ids).logits[0, -1].softmax(-1)
        total += float((p * (p.log() - q.log())).sum())
    return total
