"""Learning rates and LoRA strengths that do not suit how a configuration trains, each with the value that does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from core import lora
from core.config import RunConfig
from core.learning_rate import EXAMPLES, LORA_FACTOR, ModelFacts, Rates, mistaken_for
from core.methods import method
from core.model import Device
from core.section import range_words

FAR = 10
"""A learning rate this many times outside the usual range warns; one nearer to it is a note."""
STRENGTHS, RS_STRENGTHS = (0.5, 4.0), (2.0, 16.0)
"""Usual factors on the adapter: alpha of half to four times the rank. With rsLoRA, twice as many around the factor of
the default rank and alpha, 8."""


class Remark(NamedTuple):
    """One entry of the readiness list; ``fix`` is None, or the button's words and its values by field path."""

    level: Literal["warns", "note"]
    field: str
    message: str
    fix: tuple[str, dict[str, Any]] | None = None


def adapter_remarks(config: RunConfig, device: Device, model: ModelFacts) -> Iterator[Remark]:
    """Every remark on the learning rates and the adapter's strength.

    Args:
        config: A valid configuration.
        device: Decides between suggestions.
        model: The width and type of its model; the adapter is the configuration's.
    """
    chosen, adapter, warm_up = method(config.method), config.model.adapter, config.pre_training
    facts = ModelFacts(adapter, model.width, model.model_type)
    suited = chosen.learning_rate(facts, config.dataset.source, device.kind == "cuda")
    yield from _rate("training.learning_rate", config.training.learning_rate, chosen.rates, suited, chosen.term, facts)
    if warm_up.enabled and chosen.uses("pre_training"):
        suited = facts.scaled(EXAMPLES.of(adapter).usual)
        yield from _rate("pre_training.learning_rate", warm_up.learning_rate, EXAMPLES, suited, "a warm-up", facts)
    if adapter != "none":
        yield from _strength(config)


def _rate(path: str, rate: float, rates: Rates, suited: float, term: str, model: ModelFacts) -> Iterator[Remark]:
    usual = rates.of(model.adapter)
    low = min(usual.low, suited)  # a very wide model has a lower one
    fix = (f"Set to {suited:g}", {path: suited})
    mistake = mistaken_for(rate, rates, model.adapter)
    if mistake == "full":
        yield Remark(
            "warns", path,
            f"{_plain(rate)} suits full fine-tuning with {term}. LoRA needs about {LORA_FACTOR} times as much, because "
            f"its small matrices start from zero: the model would hardly learn. {_plain(suited)} suits this setup.",
            fix,
        )  # fmt: skip
    elif mistake == "lora":
        yield Remark(
            "warns", path,
            f"{_plain(rate)} suits LoRA. Training every weight with {term} needs about a tenth of it: at this rate the "
            f"model is likely to forget what it knows. {_plain(suited)} suits this setup.",
            fix,
        )  # fmt: skip
    elif rate > FAR * usual.high:
        yield Remark(
            "warns", path,
            f"{rate:g} is {_times(rate / usual.high)} the highest usual value, {_plain(usual.high)}. The model would "
            "very likely break within a few steps and produce noise.",
            fix,
        )  # fmt: skip
    elif rate < low / FAR:
        yield Remark(
            "warns", path,
            f"{_plain(rate)} is far below the lowest usual value, {_plain(low)}. The model would hardly learn.",
            fix,
        )  # fmt: skip
    elif not low <= rate <= usual.high:
        side = "Below" if rate < low else "Above"
        yield Remark("note", path, f"{side} the usual range of {range_words((low, usual.high))}.")


def _strength(config: RunConfig) -> Iterator[Remark]:
    model = config.model
    factor = lora.scale(model.lora_alpha, model.lora_rank, rslora=model.use_rslora)
    low, high = RS_STRENGTHS if model.use_rslora else STRENGTHS
    if low <= factor <= high:
        return
    alpha = max(1, round(8 * model.lora_rank**0.5)) if model.use_rslora else 2 * model.lora_rank
    root = "the square root of the rank" if model.use_rslora else "the rank"
    effect = (
        "Each step changes the model much more than the learning rate says."
        if factor > high
        else "The adapter hardly has an effect, as if the learning rate were lower."
    )
    yield Remark(
        "warns",
        "model.lora_alpha",
        f"Alpha divided by {root} is {factor:.3g}, the factor that the adapter is applied with; {low:g} to {high:g} is "
        f"usual. {effect} {alpha:,} suits rank {model.lora_rank}.",
        (f"Set to {alpha:,}", {"model.lora_alpha": alpha}),
    )


def _plain(rate: float) -> str:
    """0.00001 rather than 1e-05, as the field shows it."""
    return f"{rate:.12f}".rstrip("0")


def _times(factor: float) -> str:
    return f"{float(f'{factor:.2g}'):,.0f} times"
