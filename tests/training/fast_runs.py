"""Small random models and fixed completions for the tests of the fast GRPO path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer

from core.training.prefix_sharing.trainer import FastGRPOTrainer

WORDS = 64
END, PAD = 1, 2
SHAPE: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "eos_token_id": END,
    "bos_token_id": 0,
    "pad_token_id": PAD,
    # Without this a random model of this size outputs nearly the same for any input.
    "initializer_range": 0.3,
}
FAMILIES: dict[str, Callable[[], Any]] = {
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=8)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE, head_dim=8, sliding_window=None)),
}


def adapted(base: Any, **lora: Any) -> Any:
    """A base model with an adapter that already has an effect."""
    torch.manual_seed(5)
    model = get_peft_model(
        base, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **lora)
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def small(family: str, **lora: Any) -> Any:
    torch.manual_seed(3)
    return adapted(FAMILIES[family](), **lora)


def words() -> PreTrainedTokenizerFast:
    """A tokenizer whose words are its token ids."""
    inner = Tokenizer(models.WordLevel({str(word): word for word in range(WORDS)}, unk_token="0"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=str(END), pad_token=str(PAD), padding_side="left")


class Written:
    """Predefined completions and rewards, round by round, the same for every trainer."""

    def __init__(self, rounds: Sequence[Sequence[tuple[list[int], list[int], float]]]) -> None:
        self.rounds = list(rounds)
        self.round = -1

    def rollout(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        self.round += 1
        rows = self.rounds[self.round % len(self.rounds)]
        assert len(rows) == len(prompts)
        return {"prompt_ids": [r[0] for r in rows], "completion_ids": [r[1] for r in rows], "logprobs": None}

    def reward(self, completions: list[str], **_: Any) -> list[float]:
        return [row[2] for row in self.rounds[self.round % len(self.rounds)]]


class Watch(TrainerCallback):
    """Records every step's gradients."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})


class Outcome:
    """The results of a training run of a few steps."""

    def __init__(self, trainer: Any, watch: Watch) -> None:
        self.trainer = trainer
        self.gradients = watch.gradients
        self.logs = [row for row in trainer.state.log_history if "loss" in row]
        self.weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}


def train(
    kind: type[GRPOTrainer],
    model: Any,
    written: Written,
    folder: Path,
    *,
    tokenizer: Any = None,
    steps: int = 3,
    fast: dict[str, Any] | None = None,
    **settings: Any,
) -> Outcome:
    """Train with predefined completions, with stock TRL or ours."""
    watch = Watch()
    given: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "gradient_accumulation_steps": 1,
        "max_completion_length": 10,
        "learning_rate": 1e-3,
        "max_grad_norm": 1e9,
        "beta": 0.0,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "seed": 7,
        "gradient_checkpointing": False,
        **settings,
    }
    trainer = kind(
        model=model,
        args=GRPOConfig(**given),
        reward_funcs=written.reward,
        rollout_func=written.rollout,
        train_dataset=Dataset.from_list([{"prompt": "3 4"}] * 64),
        processing_class=tokenizer or words(),
        callbacks=[watch],
        **(fast or {}),
    )
    trainer.train()
    return Outcome(trainer, watch)


def apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest relative difference between tensors of the same names."""
    assert a.keys() == b.keys()
    floor = 1e-6 * max(float(t.norm()) for t in a.values()) + 1e-30
    return max(float((a[name] - b[name]).norm()) / max(float(a[name].norm()), floor) for name in a)


def both(
    make: Callable[[], Any], written: Callable[[], Written], folder: Path, **settings: Any
) -> tuple[Outcome, Outcome]:
    """The same training with stock TRL and with ours."""
    fast = settings.pop("fast", None)
    stock = train(GRPOTrainer, make(), written(), folder, **settings)
    ours = train(FastGRPOTrainer, make(), written(), folder, fast=fast, **settings)
    return stock, ours


def equal(stock: Outcome, ours: Outcome, tolerance: float = 1e-4) -> None:
    """Compare loss, every step's gradients, and the final weights."""
    assert len(stock.gradients) == len(ours.gradients)
    for one, other in zip(stock.logs, ours.logs, strict=True):
        assert abs(one["loss"] - other["loss"]) <= tolerance * max(abs(one["loss"]), 1e-2)
        # Entropy covers the rows that were run; the loss covers all.
        for name in ("entropy", "kl") if one.get("frac_reward_zero_std") == 0 else ("kl",):
            if name in one:
                assert abs(one[name] - other[name]) <= 10 * tolerance * max(abs(one[name]), 1e-2), name
    for before, after in zip(stock.gradients, ours.gradients, strict=True):
        assert apart(before, after) <= tolerance
    assert apart(stock.weights, ours.weights) <= tolerance
