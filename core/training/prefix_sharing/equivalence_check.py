"""Limits of prefix sharing, and the equivalence check on each model before its first step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from core.training.job.weights import TRAINED
from core.training.models.reference import FROZEN
from core.training.prefix_sharing import prefix_trie

MAX_DIFFERENCE = 1e-2
"""Largest relative difference of any gradient in the check before the first step. An error shows as a
tenth or more; rounding of float32 reaches 1e-3 in 30 layers of a trained model (in float64: 4e-6)."""


def unsupported_adapter(model: Any) -> str | None:
    """Why the adapter's arithmetic is not supported, as part of a sentence; None if it is."""
    configs = getattr(model, "peft_config", {})
    if not configs:
        return "the model has no adapter"
    # TRL adds "ref", a frozen copy of "default", for a KL penalty; it is active only while the reference is
    # computed. FROZEN, a copy of the adapter that a run went on with, is active only while the held-out KL is.
    # peft_config is PEFT's, and TRAINED the name that get_peft_model assigns.
    if set(configs) - {TRAINED, "ref", FROZEN}:
        return "the model has several adapters"
    if any(str(getattr(config.peft_type, "value", config.peft_type)) != "LORA" for config in configs.values()):
        return "the adapter is not LoRA"
    if any(config.lora_dropout for config in configs.values()):
        return "the adapter uses dropout, which is sampled separately for each answer"
    if any(config.use_dora for config in configs.values()):
        return "the adapter is DoRA"
    return None


def check_equivalence(trainer: Any, model: Any) -> float:
    """Run three short rows both ways, gradients included.

    Returns:
        The largest relative difference of log-probabilities and adapter gradients.
    """
    generator = torch.Generator().manual_seed(0)
    vocabulary_size = model.config.get_text_config().vocab_size
    ids = torch.randint(vocabulary_size, (3, 12), generator=generator)
    ids[1, :9] = ids[0, :9]
    mask = torch.ones_like(ids)
    mask[2, :2] = 0
    mask[1, 11:] = 0
    weights = torch.linspace(-1.0, 1.0, 15).view(3, 5) * mask[:, 7:]
    parameters = [p for p in model.parameters() if p.requires_grad]

    def run(log_probabilities: Tensor) -> list[Tensor]:
        gradients = torch.autograd.grad((log_probabilities * weights).sum(), parameters, allow_unused=True)
        return [log_probabilities.detach(), *(g for g in gradients if g is not None)]

    # TRL's own method, not FastGRPOTrainer's override, which uses the shared pass where possible.
    usual = run(GRPOTrainer._get_per_token_logps_and_entropies(trainer, model, ids, mask, 5)[0])
    shared = run(prefix_trie.log_probabilities(model, prefix_trie.plan(ids, mask, 5), trainer.temperature)[0])
    if len(usual) != len(shared):
        return float("inf")
    # A gradient of a thousandth of the largest or less is mostly rounding: an
    # adapter's A while its B is zero, keys and queries of a model that is certain of its answer.
    floor = 1e-3 * max(float(tensor.norm()) for tensor in usual)
    return max(float((a - b).norm() / max(float(a.norm()), floor)) for a, b in zip(usual, shared, strict=True))
