"""The plain loop on a tiny random model: its gradients equal torch's, however a step is split."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from core.training.methods.loop import (
    IGNORED,
    Batch,
    Example,
    Loop,
    cross_entropy,
    forward_backward,
    log_probabilities,
    mean_loss,
    micro_batches,
    optimizer_step,
    rows_of_step,
)

pytestmark = pytest.mark.training
PAD = 0


def tiny(dropout: float = 0.0) -> Any:
    """A model of one layer and 64 words, in training mode."""
    torch.manual_seed(5)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=64, max_position_embeddings=64, attention_dropout=dropout, pad_token_id=PAD,
    )  # fmt: skip
    return LlamaForCausalLM(config).train()


def rows(count: int = 6) -> list[Example]:
    """Prompts and answers of different lengths, with a weight for each token."""
    draw = random.Random(3)
    found = []
    for _ in range(count):
        prompt, answer = ([draw.randrange(1, 64) for _ in range(draw.randint(2, 9))] for _ in range(2))
        ids = [*prompt, *answer]
        weights = [draw.uniform(-1, 1) for _ in ids]
        found.append(Example(ids, [*[IGNORED] * len(prompt), *answer], {"weights": weights}))
    return found


def gradients(model: Any) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters()]


def same(found: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def by_hand(model: Any, examples: list[Example], *, weighted: bool = False) -> tuple[float, list[Tensor]]:
    """Loss and gradients by definition: one row at a time, unpadded, token by token."""
    terms = []
    for example in examples:
        logits = model(input_ids=torch.tensor([example.ids])).logits[0]
        for place in range(1, len(example.ids)):
            if example.labels[place] != IGNORED:
                weight = example.values["weights"][place] if weighted else 1.0
                terms.append(-weight * logits[place - 1].log_softmax(-1)[example.labels[place]])
    loss = torch.stack(terms).mean()
    return loss.item(), list(torch.autograd.grad(loss, list(model.parameters())))


def test_the_gradients_are_those_of_the_definition() -> None:
    """Padding, label shift and mean are right."""
    model, examples = tiny(), rows()
    loss, wanted = by_hand(model, examples)
    assert forward_backward(model, [Batch.of(examples, pad=PAD, device="cpu")]) == pytest.approx(loss, rel=1e-5)
    same(gradients(model), wanted)


def test_a_custom_loss_function() -> None:
    """It gets log-probabilities and the values passed along with the tokens."""

    def weighted(model: Any, batch: Batch) -> Tensor:
        return -(log_probabilities(model, batch) * batch.values["weights"]).sum() / batch.learned

    model, examples = tiny(), rows()
    loss, wanted = by_hand(model, examples, weighted=True)
    found = forward_backward(model, micro_batches(examples, 4, pad=PAD, device="cpu"), weighted)
    assert found == pytest.approx(loss, rel=1e-4)
    same(gradients(model), wanted)


def test_two_micro_batches_are_one_batch() -> None:
    """Even if one has far more tokens to learn, and in two calls."""
    model, examples = tiny(), rows()
    loss = forward_backward(model, [Batch.of(examples, pad=PAD, device="cpu")])
    wanted = gradients(model)
    model.zero_grad()
    batches = micro_batches(examples, 4, pad=PAD, device="cpu")
    assert [len(batch.ids) for batch in batches] == [4, 2]
    assert forward_backward(model, batches) == pytest.approx(loss, rel=1e-5)
    same(gradients(model), wanted)
    model.zero_grad()
    learned = sum(batch.learned for batch in batches)
    assert sum(forward_backward(model, [batch], learned=learned) for batch in batches) == pytest.approx(loss, rel=1e-5)
    same(gradients(model), wanted)


def test_the_mean_loss_is_that_of_training_without_its_traces() -> None:
    """However the rows are split; dropout is off and on again, and no gradient is left."""
    model, examples = tiny(dropout=0.5), rows()
    loss = mean_loss(model, micro_batches(examples, 4, pad=PAD, device="cpu"))
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert by_hand(model.eval(), examples)[0] == pytest.approx(loss, rel=1e-5)


def test_a_batch_without_learned_tokens_changes_nothing() -> None:
    """Its mean is NaN."""
    model, examples = tiny(), rows(2)
    empty = Batch.of([Example([1, 2], [IGNORED, IGNORED])], pad=PAD, device="cpu")
    assert not cross_entropy(model, empty).isfinite()
    loss = forward_backward(model, [Batch.of(examples, pad=PAD, device="cpu")])
    wanted = gradients(model)
    model.zero_grad()
    assert forward_backward(model, [empty, Batch.of(examples, pad=PAD, device="cpu")]) == loss
    same(gradients(model), wanted)


def test_a_step_limits_the_gradient_and_moves_the_rate() -> None:
    """It returns the norm before clipping; the schedule applies to the next step; gradients are cleared."""
    model = tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step == 0 else 0.1)
    forward_backward(model, [Batch.of(rows(), pad=PAD, device="cpu")])
    before = [parameter.detach().clone() for parameter in model.parameters()]
    norm = float(torch.cat([gradient.flatten() for gradient in gradients(model)]).norm())
    assert norm > 0.1
    assert optimizer_step(optimizer, max_grad_norm=0.1, scheduler=scheduler) == pytest.approx(norm, rel=1e-5)
    moved = torch.cat([(new - old).flatten() for new, old in zip(model.parameters(), before, strict=True)])
    assert float(moved.detach().norm()) == pytest.approx(0.5 * 0.1, rel=1e-3)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_loss_falls() -> None:
    """A few rows are memorized."""
    model, examples = tiny(), rows()
    loop = Loop(model, torch.optim.AdamW(model.parameters(), lr=1e-2), max_grad_norm=1.0)
    losses = [loop.one_step(micro_batches(examples, 4, pad=PAD, device="cpu"))["loss"] for _ in range(40)]
    assert losses[0] > 3.5
    assert losses[-1] < 0.5
    assert loop.step == 40


def test_a_restored_loop_continues_like_an_uninterrupted_one(tmp_path: Path) -> None:
    """Optimizer, schedule and dropout: the same numbers, step by step."""

    def made(model: Any) -> Loop:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)
        return Loop(model, optimizer, max_grad_norm=1.0, scheduler=schedule)

    batches = micro_batches(rows(), 4, pad=PAD, device="cpu")
    whole = made(tiny(dropout=0.2))
    for _ in range(3):
        whole.one_step(batches)
    whole.save(tmp_path)
    weights = copy.deepcopy(whole.model.state_dict())
    wanted = [whole.one_step(batches) for _ in range(3)]
    model = tiny(dropout=0.2)
    model.load_state_dict(weights)
    resumed = made(model)
    resumed.restore(tmp_path)
    assert resumed.step == 3
    assert [resumed.one_step(batches) for _ in range(3)] == wanted


def test_each_epoch_uses_every_row_once_in_its_own_order() -> None:
    """Whichever step is requested first."""
    epochs = [[row for step in range(4) for row in rows_of_step(7, 2, 4 * epoch + step, 1)] for epoch in (0, 1)]
    assert [sorted(order) for order in epochs] == [list(range(7))] * 2
    assert epochs[0] != epochs[1]
    assert rows_of_step(7, 2, 0, 1) == epochs[0][:2]


LONG = Example([5, 6, 7, 8, 9, 10, 11, 12], [*[IGNORED] * 5, 10, 11, 12])
SHORT = Example([5, 6, 7, 8], [*[IGNORED] * 3, 8])
PROMPT_ALONE = Example([5, 6, 7], [IGNORED] * 3)
WHOLE = Example([5, 6, 7], [5, 6, 7])


@pytest.mark.parametrize("examples", [[LONG], [LONG, SHORT], [SHORT, PROMPT_ALONE], [WHOLE, LONG]])
def test_logits_of_the_answers_are_enough(examples: list[Example]) -> None:
    """Loss and every gradient equal those of a pass with all logits."""
    batch = Batch.of(examples, pad=PAD, device="cpu")
    model, whole = tiny(), tiny()
    loss = cross_entropy(model, batch)
    loss.backward()
    expected = whole(input_ids=batch.ids, attention_mask=batch.mask, labels=batch.labels).loss
    expected.backward()
    torch.testing.assert_close(loss, expected)
    same(gradients(model), gradients(whole))
