"""The fast GRPO trainer against stock TRL on the same completions: loss, gradients, weights."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOTrainer

from core.training.prefix_sharing.accumulation import constant_groups
from core.training.prefix_sharing.trainer import REDRAWS, FastGRPOTrainer
from tests.training.fast_runs import END, FAMILIES, Written, adapted, apart, both, equal, small, train
from tests.training.worker_runs import REAL, needs_model

pytestmark = [
    pytest.mark.training,
    # TRL says that passing completions is experimental, and that GSPO is used with another loss.
    pytest.mark.filterwarnings("ignore::UserWarning:trl.*", "ignore:You are using 'rollout_func'"),
]
LOSSES = ("dapo", "grpo", "dr_grpo", "bnpo", "cispo")


def answers(seed: int, prompt: list[int], rewards: list[float]) -> list[tuple[list[int], list[int], float]]:
    """A group of four: two equal, one a prefix of another, one truncated."""
    draw = torch.Generator().manual_seed(seed)
    long = torch.randint(3, 64, (9,), generator=draw).tolist()
    other = [*long[:3], *torch.randint(3, 64, (4,), generator=draw).tolist(), END]
    completions = [[*long, END], [*long, END], long[:5], other]
    return [(prompt, completion, reward) for completion, reward in zip(completions, rewards, strict=True)]


def rounds(*kinds: str) -> Written:
    """One round of each kind: two groups with prompts of different length."""
    rewards = {"spread": [0.0, 1.0, 0.25, 0.0], "other": [1.0, 0.0, 0.0, 1.0], "flat": [1.0, 1.0, 1.0, 1.0]}
    short, long = [5, 6, 7], [5, 6, 8, 9, 10, 11]
    pairs = {"both": ("spread", "other"), "half": ("spread", "flat"), "none": ("flat", "flat")}
    made = []
    for seed, kind in enumerate(kinds):
        first, second = pairs[kind]
        made.append([*answers(seed, short, rewards[first]), *answers(seed + 50, long, rewards[second])])
    return Written(made)


PAIRS = [
    ("dapo", "token", 1, 0.0),
    ("dapo", "sequence", 4, 0.05),
    ("grpo", "token", 4, 0.05),
    ("grpo", "sequence", 1, 0.0),
    ("dr_grpo", "token", 1, 0.05),
    ("dr_grpo", "sequence", 4, 0.0),
    ("bnpo", "token", 4, 0.0),
    ("bnpo", "sequence", 1, 0.05),
    ("cispo", "token", 1, 0.0),
    ("cispo", "sequence", 4, 0.05),
]
"""Loss, level, micro-batches and KL penalty: any two values of different columns occur together in one row."""


def test_every_pair_of_settings_is_tried() -> None:
    """The rows below are a selection in which every pair of settings occurs."""
    columns: list[set[Any]] = [set(LOSSES), {"token", "sequence"}, {1, 4}, {0.0, 0.05}]
    for first, second in combinations(range(len(columns)), 2):
        assert {(row[first], row[second]) for row in PAIRS} == set(product(columns[first], columns[second]))


REST = sorted(set(product(LOSSES, ("token", "sequence"), (1, 4), (0.0, 0.05))) - set(PAIRS))


@pytest.mark.parametrize(
    ("loss", "level", "accumulation", "beta"),
    [*PAIRS, *(pytest.param(*row, marks=pytest.mark.full) for row in REST)],
)
def test_the_same_steps_as_stock_trl(tmp_path: Path, loss: str, level: str, accumulation: int, beta: float) -> None:
    """Every loss, with and without a KL penalty, whole or in micro-batches, one group flat in one round."""
    stock, ours = both(
        lambda: small("qwen3"),
        lambda: rounds("both", "half", "both"),
        tmp_path,
        loss_type=loss,
        importance_sampling_level=level,
        beta=beta,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=8 // accumulation,
    )
    assert ours.trainer.fast_notes == []
    equal(stock, ours)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_same_steps_on_each_family(tmp_path: Path, family: str) -> None:
    """Qwen3, Llama and Mistral; a temperature other than one; one row per micro-batch."""
    stock, ours = both(
        lambda: small(family),
        lambda: rounds("both", "half"),
        tmp_path,
        loss_type="bnpo",
        temperature=0.7,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=8,
    )
    assert ours.trainer.fast_notes == []
    equal(stock, ours)


@pytest.mark.slow
@needs_model
@pytest.mark.parametrize(("loss", "beta", "accumulation"), [("dapo", 0.0, 1), ("grpo", 0.05, 4)])
def test_the_same_steps_on_the_builtin_model(tmp_path: Path, loss: str, beta: float, accumulation: int) -> None:
    """SmolLM2 at full size, 30 layers deep."""
    tokenizer = AutoTokenizer.from_pretrained(REAL, padding_side="left")
    stock, ours = both(
        lambda: adapted(AutoModelForCausalLM.from_pretrained(REAL, dtype=torch.float32)),
        lambda: rounds("both", "half"), tmp_path, tokenizer=tokenizer, steps=2, loss_type=loss, beta=beta,
        learning_rate=1e-4, gradient_accumulation_steps=accumulation, per_device_train_batch_size=8 // accumulation,
    )  # fmt: skip
    assert ours.trainer.fast_notes == []
    equal(stock, ours)


@pytest.mark.parametrize("loss", LOSSES)
def test_rounds_without_any_spread(tmp_path: Path, loss: str) -> None:
    """All groups skipped: the gradients are zeros, and Adam's state continues as with stock TRL."""
    stock, ours = both(
        lambda: small("llama"),
        lambda: rounds("both", "none", "none"),
        tmp_path,
        loss_type=loss,
        gradient_accumulation_steps=4,
        per_device_train_batch_size=2,
    )
    assert all(not tensor.any() for tensor in ours.gradients[1].values())
    equal(stock, ours)


@pytest.mark.parametrize("loss", ["dapo", "cispo"])
def test_completions_used_twice(tmp_path: Path, loss: str) -> None:
    """With two iterations the old log-probabilities also come from the shared pass, and clipping has an effect."""
    stock, ours = both(
        lambda: small("llama"),
        lambda: rounds("both", "half"),
        tmp_path,
        loss_type=loss,
        num_iterations=2,
        steps=4,
        learning_rate=0.02,
        gradient_accumulation_steps=2,
        per_device_train_batch_size=4,
    )
    equal(stock, ours, 5e-4)
    for one, other in zip(stock.logs, ours.logs, strict=True):
        for name in ("clip_ratio/region_mean", "cispo_clip_ratio"):
            assert one.get(name) == pytest.approx(other.get(name), abs=1e-6)


def test_truncated_completions_are_masked(tmp_path: Path) -> None:
    """A row with a masked completion does not count, as with stock TRL."""
    stock, ours = both(
        lambda: small("qwen3"),
        lambda: rounds("both", "both"),
        tmp_path,
        mask_truncated_completions=True,
        loss_type="grpo",
        steps=2,
    )
    equal(stock, ours)


@pytest.mark.parametrize("loss", LOSSES)
def test_chunks_smaller_than_a_group(tmp_path: Path, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If memory is low, a group is run in parts, with the same gradients."""
    monkeypatch.setattr(FastGRPOTrainer, "_token_limit", lambda self: 1)
    stock, ours = both(
        lambda: small("mistral"),
        lambda: rounds("both", "half"),
        tmp_path,
        loss_type=loss,
        steps=2,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=8,
    )
    equal(stock, ours)


@pytest.mark.parametrize("loss", LOSSES)
def test_leaving_groups_out_without_sharing(tmp_path: Path, loss: str) -> None:
    """The two halves of the fast path are independent: a model with adapter dropout still skips flat groups."""
    stock, ours = both(
        lambda: small("llama"),
        lambda: rounds("both", "half", "none"),
        tmp_path,
        loss_type=loss,
        fast={"share_prefixes": False},
        gradient_accumulation_steps=4,
        per_device_train_batch_size=2,
    )
    equal(stock, ours)


def test_no_noise_from_equal_rewards(tmp_path: Path) -> None:
    """Stock TRL's float arithmetic sees a difference in eight times 0.2; here nothing changes."""
    group = [(prompt, completion, 0.2) for prompt, completion, _ in answers(1, [5, 6], [0.0] * 4)] * 2
    ours = train(FastGRPOTrainer, small("llama"), Written([group]), tmp_path, num_generations=8, steps=1)
    assert all(not tensor.any() for tensor in ours.gradients[0].values())
    stock = train(GRPOTrainer, small("llama"), Written([group]), tmp_path, num_generations=8, steps=1)
    assert any(tensor.any() for tensor in stock.gradients[0].values())


def test_a_round_by_another_model_is_written_again(tmp_path: Path) -> None:
    """If the sampler's probabilities differ from the trainer's, the round is not trained on; the next one is."""
    wrong, right = rounds("both").rounds[0], rounds("half", "both").rounds[1]
    told: list[float] = []

    class Watched(FastGRPOTrainer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.on_sampler_mismatch = told.append

    class Claimed(Written):
        def rollout(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
            found = super().rollout(prompts, trainer)
            claims = [[-9.0] * len(ids) for ids in found["completion_ids"]]
            return {**found, "logprobs": claims if self.round == 0 else None}

    ours = train(Watched, small("llama"), Claimed([wrong, right]), tmp_path, steps=1)
    stock = train(GRPOTrainer, small("llama"), Written([right]), tmp_path, steps=1)
    assert len(told) == 1
    assert apart(stock.gradients[0], ours.gradients[0]) <= 1e-4


def test_dynamic_sampling_asks_again(tmp_path: Path) -> None:
    """A flat group is replaced by another question's, and the step equals stock TRL's on the final groups."""
    good = answers(1, [5, 6, 7], [0.0, 1.0, 0.25, 0.0])
    flat = answers(2, [8, 9], [1.0] * 4)
    new = answers(3, [5, 6, 7, 8, 9, 10], [0.0, 1.0, 1.0, 0.0])
    stock = train(GRPOTrainer, small("llama"), Written([[*good, *new]]), tmp_path, steps=1)
    ours = train(
        FastGRPOTrainer, small("llama"), Written([[*good, *flat], flat, new]), tmp_path, steps=1,
        fast={"dynamic_sampling": True},
    )  # fmt: skip
    assert apart(stock.gradients[0], ours.gradients[0]) <= 1e-4


def test_dynamic_sampling_has_a_budget(tmp_path: Path) -> None:
    """Without any spread it gives up and continues."""
    flat = answers(2, [8, 9], [1.0] * 4)
    written = Written([[*flat, *flat], [*flat, *flat], [*flat, *flat], [*flat, *flat]])
    ours = train(FastGRPOTrainer, small("llama"), written, tmp_path, steps=1, fast={"dynamic_sampling": True})
    assert written.round == REDRAWS
    assert not any(tensor.any() for tensor in ours.gradients[0].values())


@pytest.mark.parametrize(
    ("lora", "settings", "words"),
    [
        ({"lora_dropout": 0.1}, {}, "dropout"),
        ({"use_dora": True}, {}, "DoRA"),
        ({}, {"gradient_checkpointing": True}, "gradient checkpointing"),
        ({}, {"top_entropy_quantile": 0.5}, "entropy quantile"),
        ({}, {"entropy_coef": 0.01}, "entropy bonus"),
        ({}, {"loss_type": "luspo", "importance_sampling_level": "sequence"}, "luspo"),
    ],
)
def test_unverified_settings_run_as_stock(
    tmp_path: Path, lora: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    """The trainer falls back by itself and says why."""
    done = train(FastGRPOTrainer, small("llama", **lora), rounds("both"), tmp_path, steps=1, **settings)
    assert len(done.gradients) == 1
    assert words in " ".join(done.trainer.fast_notes)


def test_the_mean_of_constant_rewards() -> None:
    """A group is constant by its raw totals; unscored rows make no difference."""
    nan = float("nan")
    rewards = torch.tensor([[0.2, 1.0], [0.2, 1.0], [nan, 1.0], [0.5, 0.5], [nan, nan], [0.3, 0.1]])
    assert constant_groups(rewards, torch.ones(2), 2).tolist() == [True, True, True, True, True, True]
    assert constant_groups(rewards, torch.tensor([1.0, 2.0]), 2).tolist()[2:4] == [False, False]
