"""Suggested learning rates, and remarks on those that do not suit the adapter."""

from __future__ import annotations

from typing import Any

import pytest

from core.adapter_checks import Remark, adapter_remarks
from core.config import RunConfig, parse
from core.learning_rate import EXAMPLES, ModelFacts, Rates
from core.methods import METHODS, Method, method
from core.model import Device
from tests.conftest import TINY

CPU = Device("cpu", "a processor", 1 << 34, 1 << 33, bf16=False)
GPU = Device("cuda", "a GPU", 1 << 36, 1 << 35, bf16=True)
SFT = {name: section for name, section in TINY.items() if name not in {"reward", "training"}} | {"method": "sft"}


def config(rate: float, given: dict[str, Any] = SFT, **model: Any) -> RunConfig:
    """A configuration with a learning rate. Its adapter is set without the checks of the whole configuration."""
    made = parse({**given, "training": {"learning_rate": rate, "max_steps": 1}})
    return made.model_copy(update={"model": made.model.model_copy(update=model)})


def remarks(of: RunConfig, facts: ModelFacts = ModelFacts(), device: Device = CPU) -> list[Remark]:  # noqa: B008
    return list(adapter_remarks(of, device, facts))


@pytest.mark.parametrize("one", METHODS, ids=lambda one: one.key)
def test_every_methods_suggestion_suits_it(one: Method) -> None:
    """Within its own ranges with and without an adapter, on each device, and LoRA's is the higher one."""
    for on_gpu in (False, True):
        lora, full = (one.learning_rate(ModelFacts(adapter), "", on_gpu) for adapter in ("lora", "none"))
        assert one.rates.lora.low <= lora <= one.rates.lora.high
        assert one.rates.full.low <= full <= one.rates.full.high
        assert full == one.rates.full.usual
        assert 9 < one.rates.lora.usual / full < 21


def test_the_figures_are_those_of_the_sources() -> None:
    """TRL's defaults for all weights, ten times as much for LoRA; GRPO's on a CPU was measured."""
    assert (
        method("sft").learning_rate(ModelFacts(), "", False)
        == method("sft").learning_rate(ModelFacts(), "", True)
        == 2e-4
    )
    assert method("sft").learning_rate(ModelFacts("none"), "", True) == 2e-5
    assert [method("grpo").learning_rate(ModelFacts(), "generated:arithmetic", gpu) for gpu in (False, True)] == [
        1e-4,
        2e-5,
    ]
    assert method("grpo").learning_rate(ModelFacts("none"), "", False) == 1e-6
    assert method("dpo").learning_rate(ModelFacts(), "", True) == 1e-5


@pytest.mark.parametrize(
    ("width", "model_type", "rate"),
    [(576, "llama", 2e-4), (2048, "llama", 2e-4), (4096, "llama", 1.2e-4), (8192, "llama", 6.8e-5),
     (16384, "llama", 6.8e-5), (4096, "qwen3", 1.9e-4), (8192, "phi3", 1.8e-4), (None, "llama", 2e-4)],
)  # fmt: skip
def test_a_wider_model_gets_a_lower_rate(width: int | None, model_type: str, rate: float) -> None:
    """By the fitted powers, and not beyond the widths they were fitted on."""
    assert method("sft").learning_rate(ModelFacts("lora", width, model_type), "", True) == rate


def test_a_rate_of_full_fine_tuning_with_lora_is_caught() -> None:
    """The remark names the value that suits this method and model, and its button sets it."""
    found = remarks(config(2e-5), ModelFacts(width=4096, model_type="llama"))
    assert [(one.level, one.field, one.fix) for one in found] == [
        ("warns", "training.learning_rate", ("Set to 0.00012", {"training.learning_rate": 0.00012}))
    ]
    assert "0.00002 suits full fine-tuning with SFT. LoRA needs about 10 times as much" in found[0].message
    assert "0.00012 suits this setup" in found[0].message
    assert remarks(config(1e-6, TINY))[0].fix == ("Set to 0.0001", {"training.learning_rate": 1e-4})
    assert remarks(config(1e-6, TINY), device=GPU)[0].fix == ("Set to 2e-05", {"training.learning_rate": 2e-5})


def test_a_rate_of_lora_without_an_adapter_is_caught() -> None:
    found = remarks(config(2e-4, adapter="none"))
    assert [(one.level, one.fix) for one in found] == [("warns", ("Set to 2e-05", {"training.learning_rate": 2e-5}))]
    assert "suits LoRA. Training every weight with SFT needs about a tenth of it" in found[0].message


@pytest.mark.parametrize(
    ("rate", "adapter"), [(2e-4, "lora"), (5e-4, "lora"), (5e-5, "lora"), (2e-5, "none"), (5e-5, "none")]
)
def test_usual_rates_get_no_remark(rate: float, adapter: str) -> None:
    assert remarks(config(rate, adapter=adapter)) == []


def test_other_unusual_rates_are_noted_or_warned_about() -> None:
    """Near the range a note, far from it a warning."""
    assert [(one.level, one.message) for one in remarks(config(4e-5))] == [
        ("note", "Below the usual range of 5e-5 to 5e-4.")
    ]
    assert remarks(config(1e-3))[0].level == "note"
    assert "0.9 is 1,800 times the highest usual value" in remarks(config(0.9))[0].message
    assert "far below the lowest usual value" in remarks(config(1e-7))[0].message


def test_a_suggestion_for_a_very_wide_model_gets_no_remark() -> None:
    """It is below the range of usual models."""
    facts = ModelFacts("lora", 8192, "llama")
    rate = method("grpo").learning_rate(facts, "", True)
    assert rate < method("grpo").rates.lora.low
    assert remarks(config(rate, TINY), facts, GPU) == []


def test_the_warm_up_has_the_rates_of_sft() -> None:
    given = {**TINY, "pre_training": {"enabled": True, "learning_rate": 2e-5}}
    assert [(one.field, one.fix) for one in remarks(config(1e-4, given))] == [
        ("pre_training.learning_rate", ("Set to 0.0002", {"pre_training.learning_rate": 2e-4}))
    ]


@pytest.mark.parametrize(
    ("rank", "alpha", "rslora", "suited"),
    [(16, 32, False, None), (16, 8, False, None), (16, 64, False, None), (64, 16, False, 128), (8, 256, False, 16),
     (16, 32, True, None), (64, 128, True, None), (256, 512, True, 128), (64, 8, True, 64)],
)  # fmt: skip
def test_an_unusual_strength_of_the_adapter_names_a_usual_alpha(
    rank: int, alpha: int, rslora: bool, suited: int | None
) -> None:
    """Alpha over rank, or over its square root with rsLoRA; the suggested alpha gets no remark itself."""
    found = remarks(config(2e-4, lora_rank=rank, lora_alpha=alpha, use_rslora=rslora))
    assert [one.fix for one in found] == ([(f"Set to {suited}", {"model.lora_alpha": suited})] if suited else [])
    if suited:
        assert remarks(config(2e-4, lora_rank=rank, lora_alpha=suited, use_rslora=rslora)) == []
        assert remarks(config(2e-5, adapter="none", lora_rank=rank, lora_alpha=alpha, use_rslora=rslora)) == []


def test_tenfold_is_for_every_figure() -> None:
    assert Rates.tenfold(2e-5, 5e-6, 5e-5) == EXAMPLES
    assert (EXAMPLES.lora.usual, EXAMPLES.lora.low, EXAMPLES.lora.high) == (2e-4, 5e-5, 5e-4)
