"""Suggested learning rates by method, adapter and the model's width, with their sources.

Full fine-tuning: the defaults of TRL 1.14 for each method, which are meant for every weight (SFT 2e-5, GRPO 1e-6).

LoRA: about ten times as much. 'LoRA Without Regret' (Schulman et al., Thinking Machines, 2025) found 9.8 times for 14
Llama and Qwen models, whatever the rank; the Tinker cookbook uses 10, and TRL's page on PEFT says the same.

Width: the cookbook's rule, rate x (2000 / width) ** power, was fitted to Llama (power 0.781) and Qwen (0.0775) models
from 2,048 to 8,192 wide. It is not continued to narrower models, where it would triple the rate of SmolLM2-135M;
:data:`NARROWEST` has a factor of 1. Other families get Qwen's power, the smaller change.

``docs/decisions/learning-rates.md`` explains the choices.
"""

from __future__ import annotations

from dataclasses import dataclass

LORA_FACTOR = 10
NARROWEST, WIDEST = 2048, 8192
"""Widths between which the rule for the width was fitted."""
POWERS = {"llama": 0.781}
OTHER_POWER = 0.0775


def _rounded(rate: float) -> float:
    return float(f"{rate:.1e}")


@dataclass(frozen=True)
class Rate:
    """The usual learning rate, and the range that suits most runs."""

    usual: float
    low: float
    high: float


@dataclass(frozen=True)
class Rates:
    """A method's learning rates: for all weights, and for an adapter."""

    full: Rate
    lora: Rate

    @classmethod
    def tenfold(cls, usual: float, low: float, high: float) -> Rates:
        """Rates from those of full fine-tuning: for LoRA, ten times as much.

        >>> Rates.tenfold(2e-5, 5e-6, 5e-5).lora
        Rate(usual=0.0002, low=5e-05, high=0.0005)
        """
        more = (_rounded(LORA_FACTOR * one) for one in (usual, low, high))
        return cls(Rate(usual, low, high), Rate(*more))

    def of(self, adapter: str) -> Rate:
        """The rates for ``model.adapter``."""
        return self.full if adapter == "none" else self.lora


@dataclass(frozen=True)
class ModelFacts:
    """What a learning rate depends on.

    Attributes:
        adapter: ``model.adapter``.
        width: The model's hidden size, if known.
        model_type: As in the model's ``config.json``; '' if unknown.
    """

    adapter: str = "lora"
    width: int | None = None
    model_type: str = ""

    def scaled(self, rate: float) -> float:
        """A rate for a model of usual width as one for this model, to two digits.

        >>> ModelFacts(width=576, model_type="llama").scaled(2e-4)
        0.0002
        >>> ModelFacts(width=4096, model_type="llama").scaled(2e-4)
        0.00012
        >>> ModelFacts(width=4096, model_type="qwen3").scaled(2e-4), ModelFacts().scaled(2e-4)
        (0.00019, 0.0002)
        """
        width = min(max(self.width or NARROWEST, NARROWEST), WIDEST)
        return _rounded(rate * (NARROWEST / width) ** POWERS.get(self.model_type, OTHER_POWER))


EXAMPLES = Rates.tenfold(2e-5, 5e-6, 5e-5)
"""SFT, and the warm-up before reinforcement learning. TRL's default; Tulu 3 used 5e-6 for 8B, and the cookbook's base
rate is 5e-5. For LoRA: Unsloth's guide and TRL's page on PEFT use 2e-4, the cookbook 5e-4."""
PAIRS = Rates.tenfold(1e-6, 5e-7, 5e-6)
"""DPO and KTO. TRL's default for both, as in DPO's paper; Zephyr used 5e-7. For LoRA: Zephyr's recipe uses 5e-6; runs
of 40 steps on a CPU start with the upper end, 5e-5."""
PAIRS_WITH_EXAMPLES = Rates.tenfold(8e-6, 5e-6, 2e-5)
"""ORPO. The paper used 8e-6 and Zephyr's ORPO recipe 5e-6; at the upper end is the usual rate of SFT, which ORPO
contains."""


SCORES = Rates.tenfold(1e-5, 3e-6, 2e-5)
"""Reward models. TRL's reward script; the authors of RewardBench 2 and Tulu 3 used 3e-6 to 2e-5. For LoRA: the script
uses 1e-4; runs of 40 steps on a CPU start with the upper end, 2e-4."""


def mistaken_for(rate: float, rates: Rates, adapter: str) -> str:
    """``full`` if a rate for LoRA is a usual one for full fine-tuning, ``lora`` for the opposite, else ''.

    >>> mistaken_for(2e-5, EXAMPLES, "lora"), mistaken_for(2e-4, EXAMPLES, "none")
    ('full', 'lora')
    >>> mistaken_for(2e-4, EXAMPLES, "lora"), mistaken_for(2e-5, EXAMPLES, "none"), mistaken_for(1e-9, EXAMPLES, "lora")
    ('', '', '')
    """
    full, lora = rates.full, rates.lora
    # A quarter more or less is still the same choice.
    if adapter == "none":
        return "lora" if 0.8 * lora.usual <= rate <= 2 * lora.high and rate > full.high else ""
    return "full" if full.low / 2 <= rate <= 1.25 * full.usual and rate < lora.low else ""
