"""LoRA presets on small models of several architectures: the layers they reach, and how many weights PEFT counts."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from core import lora
from core.config import ModelSection
from core.errors import InvalidInput
from core.job import JobState
from core.lora import Preset
from core.model import DEMO_MODEL
from core.settings import Home
from core.training.models.load import linear_layers
from services.models.layers import layers_here, model_facts
from tests.training.models.test_families import SMALL
from tests.training.worker_runs import REAL, SFT, changed, make_run, needs_model, work

pytestmark = pytest.mark.training

STATES: dict[str, Any] = {
    "state_size": 4,
    "time_step_rank": 4,
    "mamba_d_ssm": 32,
    "mamba_n_heads": 4,
    "mamba_d_state": 4,
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "qwen3": {},
    "qwen3_5_text": {},
    "gemma3_text": {},
    "phi3": {},
    "granite": {},
    "starcoder2": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48},
    "gpt_neox": {},
    "bloom": {"n_layer": 2, "n_head": 4},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "phi": {},
    "falcon_h1": {**STATES, "mamba_expand": 1, "mamba_d_head": 8},
    "mamba": STATES,
    "rwkv": {"attention_hidden_size": 32},
}
MINIMAL = {
    "gpt2": {"c_attn"}, "gpt_bigcode": {"c_attn"}, "phi3": {"qkv_proj"}, "gpt_neox": {"query_key_value"},
    "bloom": {"query_key_value"}, "qwen3_5_text": {"q_proj", "v_proj", "in_proj_qkv"}, "rwkv": {"receptance", "value"},
}  # fmt: skip
"""Layers of the minimal preset, if they are not q_proj and v_proj."""


def small(model_type: str) -> Any:
    torch.manual_seed(1)
    config = AutoConfig.for_model(model_type, **{**SMALL, "num_hidden_layers": 4, **MODELS[model_type]})
    return AutoModelForCausalLM.from_config(config)


def by_peft(base: Any, targets: Any, *, dora: bool) -> tuple[set[str], int]:
    """The layers that PEFT adapts, and the number of weights it counts."""
    wanted = {"r": 4, "target_modules": targets, "use_dora": dora, "task_type": "CAUSAL_LM"}
    transposed = base.config.model_type in lora.TRANSPOSED
    model = get_peft_model(base, LoraConfig(**wanted, fan_in_fan_out=transposed))
    names = {
        name.split(".lora_")[0].split("base_model.model.")[1]
        for name, _ in model.named_parameters()
        if ".lora_" in name
    }
    return names, model.get_nb_trainable_parameters()[0]


@pytest.mark.parametrize("model_type", MODELS)
@pytest.mark.parametrize("preset", [one for one in get_args(Preset) if one != "custom"])
def test_files_and_loaded_model_give_the_same_layers_and_peft_counts_the_same(model_type: str, preset: Preset) -> None:
    """The wizard reads names and shapes in files, the worker has the model; with DoRA its magnitudes are counted."""
    base = small(model_type)
    files = lora.layers_of({name: tuple(value.shape) for name, value in base.state_dict().items()}, model_type)
    if model_type == "mamba" and preset != "all":
        with pytest.raises(InvalidInput, match="type mamba has no"):
            lora.targets(preset, lora.ALL_LINEAR, *linear_layers(base))
        with pytest.raises(InvalidInput, match="type mamba has no"):
            lora.adapted(files, preset, lora.ALL_LINEAR)
        return
    targets = lora.targets(preset, lora.ALL_LINEAR, *linear_layers(base))
    paths = lora.adapted(files, preset, lora.ALL_LINEAR)
    for dora in (False, True):
        layers, count = by_peft(small(model_type), targets if isinstance(targets, str) else list(targets), dora=dora)
        assert layers == set(paths)
        assert count == lora.trainable(files, paths, 4, dora=dora)
    names = {path.rpartition(".")[2] for path in paths}
    if preset == "minimal":
        assert names == MINIMAL.get(model_type, {"q_proj", "v_proj"})


@pytest.mark.parametrize("model_type", [one for one in MODELS if one != "mamba"])
def test_attention_and_feed_forward_share_no_layer_and_are_part_of_all(model_type: str) -> None:
    """Minimal is a part of attention."""
    base = small(model_type)
    files = lora.layers_of({name: tuple(value.shape) for name, value in base.state_dict().items()}, model_type)
    every, attention, forward, minimal = (
        set(lora.adapted(files, preset, lora.ALL_LINEAR)) for preset in ("all", "attention", "feed_forward", "minimal")
    )
    assert minimal < attention
    assert not attention & forward
    assert attention | forward <= every
    if model_type not in lora.STATE_SPACE:
        assert attention | forward == every


@needs_model
def test_the_built_in_models_share_is_known_from_its_files() -> None:
    """Without loading its weights, it is what PEFT counts."""
    home = Home(REAL.parents[2])
    known = layers_here(DEMO_MODEL, home)
    assert known
    cases: list[tuple[Preset, int, bool]] = [("all", 16, False), ("minimal", 8, False), ("attention", 4, True)]
    for preset, rank, dora in cases:
        with torch.device("meta"):
            base: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(REAL))
        targets = lora.targets(preset, lora.ALL_LINEAR, *linear_layers(base))
        config = LoraConfig(
            r=rank, target_modules=targets if isinstance(targets, str) else list(targets), use_dora=dora
        )
        with torch.device("meta"):
            counted = get_peft_model(base, config).get_nb_trainable_parameters()
        assert known.trained(preset, lora.ALL_LINEAR, rank, dora=dora) == counted
    facts = model_facts(DEMO_MODEL, "lora", home)
    assert (facts.width, facts.model_type) == (576, "llama")


def test_a_run_counts_what_the_wizard_showed(models: Home, monkeypatch: pytest.MonkeyPatch, own_signals: None) -> None:
    """The worker's count of a run with a preset and DoRA."""
    section = {"name": "builtin:tiny", "lora_rank": 4, "lora_preset": "feed_forward", "use_dora": True}
    run = make_run(models, "counted", changed(SFT, model=section, training__max_steps=1))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    status, known = run.read_status(), layers_here("builtin:tiny", models)
    assert status
    assert known
    assert (status.trained_parameters, status.parameters) == known.trained("feed_forward", "all-linear", 4, dora=True)


def test_older_files_keep_their_layers() -> None:
    """A list without a preset is a custom choice; 'all-linear' is all; a preset comes before the list."""
    assert ModelSection(name="x").layers == "all"
    assert ModelSection(name="x", target_modules=("q_proj",)).layers == "custom"
    assert ModelSection(name="x", target_modules=("q_proj",), lora_preset="all").layers == "all"
    assert lora.targets("custom", ("q_proj",), ["a.q_proj"], "llama") == ("q_proj",)
    assert lora.targets("custom", lora.ALL_LINEAR, ["a.q_proj"], "llama") == lora.ALL_LINEAR


def test_a_custom_layer_that_the_model_does_not_have_is_named() -> None:
    """PEFT would refuse it when the run starts."""
    with pytest.raises(InvalidInput, match="no layer named wrong_proj"):
        lora.adapted(lora.Layers({"a.q_proj": (4, 4)}, "llama"), "custom", ("wrong_proj",))
