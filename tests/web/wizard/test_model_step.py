"""The Model step: installed models first, with what a user needs to know before choosing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from core.model import Device
from services.container import Services
from services.machine.system import System
from services.models.families import GIB
from tests.conftest import Browser, tiny


def card(page: str, name: str) -> str:
    """The text of one model's card."""
    found = re.search(rf'<input type="radio" name="choice" value="{re.escape(name)}".*?</label>', page, re.DOTALL)
    assert found, name
    return " ".join(re.sub(r"<[^>]*>", " ", found[0].partition(">")[2]).split())


def test_the_built_in_model_is_chosen_and_counts(browser: Browser) -> None:
    """It is first, and the summary shows it before anything is saved."""
    page = browser.get("/new/model").text
    assert re.search(r'name="choice" value="builtin:smollm2-135m-instruct" checked', page)
    assert page.index("On this machine") < page.index("SmolLM2 135M Instruct") < page.index("Popular models")
    summary = page[page.index('id="summary"') :]
    assert "SmolLM2 135M Instruct" in summary[: summary.index("</dl>")]


def test_a_card_says_what_it_takes(browser: Browser) -> None:
    """On a CPU in 32-bit, its default, and in 16-bit; with the license, and what is not possible."""
    page = browser.get("/new/model").text
    assert "4-bit quantization needs an NVIDIA GPU." in page
    qwen = card(page, "Qwen/Qwen3-1.7B")
    assert "3.4 GB download" in qwen
    assert re.search(r"13\.\d GB of memory \(7\.\d GB in 16-bit\)", qwen)
    assert "Apache-2.0" in qwen
    assert "GGUF" not in qwen
    assert "No GGUF export" in card(page, "Qwen/Qwen3.5-0.8B")
    assert "Requires accepting a license" in card(page, "meta-llama/Llama-3.2-1B-Instruct")


@pytest.mark.parametrize(
    ("gigabytes", "words"), [(4, "Not enough memory"), (16, "Fits in 4-bit"), (80, "Fits Apache-2.0")]
)
def test_a_gpu_has_4_bit_too(browser: Browser, monkeypatch: pytest.MonkeyPatch, gigabytes: int, words: str) -> None:
    """Whether a model with 8 billion parameters fits, and how."""
    gpu = Device("cuda", "NVIDIA L4", gigabytes * GIB, gigabytes * GIB, bf16=True)
    monkeypatch.setattr(System, "device", lambda _self: gpu)
    page = browser.get("/new/model").text
    assert "NVIDIA L4" in page
    assert "needs an NVIDIA GPU" not in page
    qwen = card(page, "Qwen/Qwen3-8B")
    assert re.search(r"of memory in 16-bit, 12\.6 GB in 4-bit", qwen)
    assert words in qwen


def test_a_folder_that_a_run_was_made_from_is_offered_again(
    browser: Browser, services: Services, tmp_path: Path
) -> None:
    """With its size, as long as it exists."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    save_file({"weight": np.zeros((1000, 1000), dtype=np.float16)}, folder / "model.safetensors")
    services.runs.start({**tiny(), "model": {"name": str(folder)}})
    mine = card(browser.get("/new/model").text, str(folder))
    assert mine.startswith(f"mine {folder} Folder, 2.0 MB 1M parameters")
    (folder / "config.json").unlink()
    assert f'value="{folder}"' not in browser.get("/new/model").text


def test_the_address_of_a_models_page_works_as_its_name(browser: Browser, services: Services) -> None:
    """Users copy it from the browser."""
    browser.get("/new/model")
    address = "https://huggingface.co/Qwen/Qwen3-0.6B/tree/main"
    browser.post("/new/model", form={"choice": "", "model.name": address, "ui.setup": "recommended"})
    assert services.wizard.draft().model.name == "Qwen/Qwen3-0.6B"
