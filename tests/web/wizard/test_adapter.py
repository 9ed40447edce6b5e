"""The adapter on the Model step: layers, the number of trained parameters, and learning rates that follow it."""

from __future__ import annotations

import json
import re
import struct
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from services.container import Services
from tests.conftest import Browser, tiny
from tests.web.wizard.test_tabs import Tab

LAYERS = {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")}


def model(folder: Path, model_type: str, width: int, shapes: dict[str, list[int]]) -> str:
    """A model's folder with the headers of its weights, and no weights."""
    folder.mkdir(parents=True)
    head = {name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    text = json.dumps(head).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "hidden_size": width}))
    return str(folder)


@pytest.fixture
def llama(tmp_path: Path) -> str:
    """One layer, 4,096 wide, with 7 linear layers of 4,096 × 1,000."""
    shapes = {
        f"model.layers.0.{parent}.{name}.weight": [4096, 1000] for parent, names in LAYERS.items() for name in names
    }
    return model(tmp_path / "llama", "llama", 4096, {**shapes, "model.embed_tokens.weight": [4096, 100]})


@pytest.fixture
def mamba(tmp_path: Path) -> str:
    shapes = {f"backbone.layers.0.mixer.{name}.weight": [64, 64] for name in ("in_proj", "x_proj", "out_proj")}
    return model(tmp_path / "mamba", "mamba", 64, shapes)


def choose(browser: Browser, folder: str, **changes: str) -> str:
    """The Model step after a choice of model and adapter."""
    Tab(browser, "model").send(choice="", model__name=folder, ui__setup="advanced", **changes)
    return unescape(browser.get("/new/model").text)


def share(page: str) -> str:
    found = re.search(r'data-testid="share">([^<]*)<', page)
    return found[1] if found else ""


def rate(services: Services) -> Any:
    return services.wizard.draft().training.values["learning_rate"]


def test_each_preset_says_what_it_trains(browser: Browser, llama: str) -> None:
    """At the chosen rank: rank × (inputs + outputs) of its layers, and with DoRA its outputs once more."""
    page = choose(browser, llama, model__lora_rank="10")
    counts = dict(re.findall(r'id="count-([a-z-]+)" data-live>([^<]*)<', page))
    assert counts == {
        "all": "356,720 parameters", "attention": "203,840 parameters", "feed-forward": "152,880 parameters",
        "minimal": "101,920 parameters", "custom": "356,720 parameters",
    }  # fmt: skip
    assert share(page) == "Trains 356,720 of 29,438,320 parameters (1.2%)."
    page = choose(browser, llama, model__lora_preset="minimal", model__use_dora="on")
    assert share(page) == "Trains 110,112 of 29,191,712 parameters (0.38%)."
    assert "(" not in share(choose(browser, llama, model__lora_rank="many"))


def test_names_of_layers_are_for_a_custom_choice(browser: Browser, services: Services, llama: str) -> None:
    """They are kept while another preset is chosen, and counted only if they are used."""
    page = choose(browser, llama, model__lora_preset="custom", model__target_modules="q_proj", model__lora_rank="10")
    assert share(page).startswith("Trains 50,960 of")
    page = choose(browser, llama, model__lora_preset="attention")
    assert share(page).startswith("Trains 203,840 of")
    assert services.wizard.config()["model"]["target_modules"] == ["q_proj"]
    Tab(browser, "model").send(ui__setup="recommended")
    assert services.wizard.config()["model"] == {"name": llama}


def test_an_older_file_with_names_and_no_preset_is_a_custom_choice(
    browser: Browser, services: Services, llama: str
) -> None:
    """It stays unchanged until another preset is chosen, which is then written even if it is the default."""
    older = {"name": llama, "target_modules": ["q_proj"]}
    services.wizard.load({**tiny(), "model": older})
    page = browser.get("/new/model").text
    assert re.search(r'value="custom" checked\s+data-testid="preset-custom"', page)
    Tab(browser, "model").send()
    assert services.wizard.config()["model"] == older
    Tab(browser, "model").send(model__lora_preset="all")
    assert services.wizard.config()["model"] == {**older, "lora_preset": "all"}


def test_layers_that_a_model_does_not_have_are_named_before_the_start(
    browser: Browser, client: FlaskClient, mamba: str
) -> None:
    """With a button that takes all layers, which a state-space model has in its own way."""
    page = choose(browser, mamba, model__lora_preset="attention")
    assert "A model of the type mamba has no attention layers that LoRA can adapt." in page
    config = {**tiny(), "model": {"name": mamba, "lora_preset": "attention"}}
    found = client.post("/api/training/check", json=config).get_json()
    entry = next(one for one in found["problems"] if one["field"] == "model.lora_preset")
    assert (entry["severity"], entry["fix"]["values"]) == ("blocks", {"model.lora_preset": "all"})
    refused = client.post("/api/training/start", json={"config": config})
    assert (refused.status_code, refused.get_json()["error"]["field"]) == (422, "model.lora_preset")
    config["model"] = {"name": mamba, "target_modules": ["nothing"]}
    fields = [one["field"] for one in client.post("/api/training/check", json=config).get_json()["problems"]]
    assert "model.target_modules" in fields
    browser.post("/new/train", form={"action": "fix-model.lora_preset"})
    page = browser.get("/new/model").text
    assert "has no attention layers" not in page
    assert share(page) == "Trains 4,096 of 16,384 parameters (25%)."


def test_the_learning_rate_follows_the_model_and_the_adapter(
    browser: Browser, services: Services, llama: str, mamba: str
) -> None:
    """A wide Llama gets a lower one; a value that a person set stays."""
    Tab(browser, "model").send(method="sft")
    assert rate(services) == 2e-4
    choose(browser, llama)
    assert rate(services) == 1.2e-4
    hint = browser.get("/new/configuration").text.partition('id="hint-training-learning-rate"')[2].partition("</p>")[0]
    assert "LoRA needs about ten times the learning rate of full fine-tuning." in hint
    assert "Default: 1.2e-4 · Suggested: 5e-5 to 5e-4" in hint
    Tab(browser, "configuration").send(training__learning_rate="0.0003")
    choose(browser, mamba)
    assert rate(services) == 3e-4


def test_a_rate_of_full_fine_tuning_is_replaced_by_a_button(browser: Browser, services: Services, llama: str) -> None:
    """The warning is beside the field and on the Start step."""
    Tab(browser, "model").send(method="sft")
    choose(browser, llama)
    Tab(browser, "configuration").send(training__learning_rate="0.00002")
    assert "suits full fine-tuning with SFT" in browser.get("/new/configuration").text
    assert "suits full fine-tuning with SFT" in browser.get("/new/train").text
    browser.post("/new/train", form={"action": "fix-training.learning_rate"})
    assert rate(services) == 1.2e-4


def test_an_unusual_alpha_is_replaced_by_a_button(browser: Browser, services: Services, llama: str) -> None:
    choose(browser, llama, model__lora_rank="8", model__lora_alpha="256")
    assert "Alpha divided by the rank is 32" in browser.get("/new/train").text
    browser.post("/new/train", form={"action": "fix-model.lora_alpha"})
    assert services.wizard.config()["model"]["lora_alpha"] == 16


def test_no_number_is_shown_where_the_files_do_not_say_it(browser: Browser, tmp_path: Path) -> None:
    """Files have experts one by one, the loaded model has one tensor for all; and a model may not be here."""
    shapes = {f"model.layers.0.mlp.experts.{n}.up_proj.weight": [64, 64] for n in range(4)}
    shapes["model.layers.0.self_attn.q_proj.weight"] = [64, 64]
    assert share(choose(browser, model(tmp_path / "experts", "qwen3_moe", 64, shapes))) == ""
    assert "once the model's files are on this machine" in share(choose(browser, "someone/model"))
