"""Exports: whole or absent, and what is said about a file is what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from core.errors import Unavailable
from core.run import Control, JobState
from core.run_dir import RunDir, read_json, write_json
from core.settings import Home
from core.training import gguf_file
from tests.training.worker_runs import TINY, make_run, work

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]
needs_converter = pytest.mark.skipif(
    not gguf_file.CONVERTER.is_file(), reason="the GGUF converter is not here: the set-up installs it"
)


@pytest.fixture(scope="module")
def trained(models: Home) -> RunDir:
    """A run with an adapter that changes the model."""
    run = make_run(models, "exported", TINY)
    with pytest.MonkeyPatch.context() as patch:
        assert work(run, patch, models) == JobState.COMPLETED
    return run


def export(models: Home, monkeypatch: pytest.MonkeyPatch, name: str, **spec: Any) -> RunDir:
    job = RunDir(models.exports / name)
    job.path.mkdir(parents=True)
    write_json(job.config, {"kind": "export", "session_id": "exported", "name": "My run", "created_at": "", **spec})
    state = work(job, monkeypatch, models)
    status = job.read_status()
    assert status is not None
    assert state == JobState.COMPLETED, status.error
    return job


def files(job: RunDir) -> dict[str, dict[str, Any]]:
    """What the result says, after checking that it names exactly what is there."""
    result = read_json(job.result) or {}
    assert {file["name"] for file in result["files"]} == {path.name for path in job.files.iterdir()}
    assert all((job.files / file["name"]).stat().st_size == file["size"] for file in result["files"])
    assert result["commands"]
    return {file["name"]: file for file in result["files"]}


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([[5, 900, 17, 2040]])).logits
    return found


def test_the_adapter_names_its_base_and_loads(models: Home, trained: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the trained weights and no path of this machine."""
    job = export(models, monkeypatch, "adapter", format="adapter")
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= set(files(job))
    settings = json.loads((job.files / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "builtin:tiny"
    base = AutoModelForCausalLM.from_pretrained(models.cache / "models" / "tiny")
    before = logits(base)
    after = logits(PeftModel.from_pretrained(base, str(job.files)))
    assert not torch.allclose(before, after, atol=1e-3)


def test_the_merged_model_is_base_and_adapter(models: Home, trained: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers are those of base plus adapter, to the rounding of 16 bit."""
    job = export(models, monkeypatch, "merged", format="merged")
    assert "model.safetensors" in files(job)
    base = AutoModelForCausalLM.from_pretrained(models.cache / "models" / "tiny")
    wanted = logits(PeftModel.from_pretrained(base, str(trained.adapter)))
    merged = AutoModelForCausalLM.from_pretrained(job.files, dtype=torch.float32)
    assert torch.nn.functional.cosine_similarity(logits(merged), wanted, dim=-1).min() > 0.999


@needs_converter
@pytest.mark.slow
def test_a_q4_k_m_file_says_what_it_is(models: Home, trained: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type and tensors are read back from the file, it answers in a process of its own, and its Modelfile fits."""
    job = export(models, monkeypatch, "q4", format="gguf", quantization="q4_k_m")
    made = files(job)
    name = "My-run-Q4_K_M.gguf"
    facts = gguf_file.read_back(job.files / name)
    assert (made[name]["file_type"], facts.file_type) == ("Q4_K_M", "Q4_K_M")
    assert made[name]["tensor_types"] == facts.tensor_types
    assert made[name]["bits_per_weight"] == facts.bits_per_weight
    assert sum(facts.tensor_types.values()) > 10
    assert gguf_file.answer(job.files / name, "<|im_start|>user\nHello<|im_end|>\n", 4, lambda: False)
    modelfile = (job.files / "Modelfile").read_text()
    assert modelfile.startswith(f"FROM ./{name}\n")
    assert 'SYSTEM """Add."""' in modelfile
    assert 'PARAMETER stop "<|im_end|>"' in modelfile
    assert not (job.path / "files.partial").exists()


@needs_converter
def test_a_cancelled_export_leaves_nothing(models: Home, trained: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither files nor half files are left, and the state is stopped."""
    job = RunDir(models.exports / "cancelled")
    job.path.mkdir(parents=True)
    write_json(job.config, {"kind": "export", "session_id": "exported", "format": "gguf", "quantization": "q8_0"})
    job.write_control(Control(stop=True, now=True))
    assert work(job, monkeypatch, models) == JobState.STOPPED
    assert {path.name for path in job.path.iterdir()} == {"config.json", "control.json", "status.json"}


def test_a_child_that_dies_is_quoted(tmp_path: Path) -> None:
    """llama.cpp's end is an error with its last words, not the end of the export's process."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(Unavailable, match="could not load it"):
        gguf_file.answer(broken, "Hello", 4, lambda: False)
