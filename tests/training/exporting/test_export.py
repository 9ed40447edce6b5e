"""Exports: complete or absent, equal to the trained model, and with correct metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from core import llama
from core.errors import InvalidInput, NotFound, Unavailable
from core.export import ExportFormat, ExportSpec, Quantization
from core.job import Control, JobState
from core.job_dir import JobDir, read_json, write_json
from core.llama import Outcome
from core.settings import Home
from core.training.exporting import merge, space
from core.training.exporting.job import stages
from core.training.fidelity import check as fidelity
from core.training.gguf import file as gguf_file
from core.weights import ADAPTER_WEIGHTS
from tests.training.worker_runs import crashing, work

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]
needs_converter = pytest.mark.skipif(
    not gguf_file.CONVERTER.is_file(), reason="the GGUF converter is not installed: run setup"
)


@pytest.fixture(scope="module")
def folder(models: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An external adapter whose layers have different ranks."""
    torch.manual_seed(7)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], rank_pattern={"down_proj": 2})
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny(models)), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    target = tmp_path_factory.mktemp("peft") / "from-elsewhere"
    model.save_pretrained(target)
    return target


def tiny(models: Home) -> Path:
    return models.cache / "models" / "tiny"


def export(models: Home, monkeypatch: pytest.MonkeyPatch, name: str, **spec: Any) -> JobDir:
    job = JobDir(models.exports / name)
    job.path.mkdir(parents=True)
    source = {} if "adapter" in spec else {"session_id": "exported"}
    write_json(job.config, {"kind": "export", **source, "name": "My run", "created_at": "", **spec})
    state = work(job, monkeypatch, models)
    status = job.read_status()
    assert status is not None
    assert state == JobState.COMPLETED, status.error
    assert status.step == status.max_steps
    assert not (job.path / "files.partial").exists()
    return job


def result(job: JobDir) -> dict[str, Any]:
    """Its result, after checking that it lists exactly the existing files."""
    found = read_json(job.result) or {}
    assert {file["name"] for file in found["files"]} == {path.name for path in job.files.iterdir()}
    assert all((job.files / file["name"]).stat().st_size == file["size"] for file in found["files"])
    assert found["commands"]
    assert found["origin"]["adapter_sha256"]
    return found


def files(job: JobDir) -> dict[str, dict[str, Any]]:
    return {file["name"]: file for file in result(job)["files"]}


@pytest.fixture
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """General questions, used for a folder without a run, get short answers."""
    monkeypatch.setattr(fidelity, "ANSWER", 12)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([[5, 900, 17, 2040]])).logits
    return found


def test_the_adapter_names_its_base_and_loads(models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the trained weights and no local path, and was compared with the trained model."""
    job = export(models, monkeypatch, "adapter", format="adapter")
    made = files(job)
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= set(made)
    assert made["adapter_model.safetensors"]["fidelity"]["verdict"] == "faithful"
    settings = json.loads((job.files / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "builtin:tiny"
    base = AutoModelForCausalLM.from_pretrained(tiny(models))
    before = logits(base)
    after = logits(PeftModel.from_pretrained(base, str(job.files)))
    assert not torch.allclose(before, after, atol=1e-3)


def test_an_earlier_checkpoint_is_merged(models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 16-bit rounding, its logits equal base plus that checkpoint's adapter, not the last one's."""
    job = export(models, monkeypatch, "merged", format="merged", checkpoint=4)
    found = result(job)
    assert found["origin"]["checkpoint"] == 4
    weights = files(job)["model.safetensors"]
    assert (weights["tensor_types"], weights["bits_per_weight"]) == ({"BF16": len(weights["tensors"])}, 16.0)
    # A random model's words are nearly equally likely, so rounding may change some: measured here.
    assert weights["fidelity"]["verdict"] in {"faithful", "loses_quality"}
    merged = logits(AutoModelForCausalLM.from_pretrained(job.files, dtype=torch.float32))
    distances = {}
    for name in ("checkpoint-4", "checkpoint-6"):
        base = AutoModelForCausalLM.from_pretrained(tiny(models))
        wanted = logits(PeftModel.from_pretrained(base, str(trained.checkpoints / name)))
        distances[name] = float((merged - wanted).abs().max() / wanted.abs().max())
    assert distances["checkpoint-4"] < 0.02 < distances["checkpoint-6"]


def test_a_folder_from_elsewhere_is_merged_with_its_base(
    models: Home, folder: Path, short_answers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a run: in float32 the merged logits equal base plus adapter; general questions compare the rest."""
    base = AutoModelForCausalLM.from_pretrained(tiny(models))
    wanted = logits(PeftModel.from_pretrained(base, str(folder)))
    origin = merge.origin_of(ExportSpec(format=ExportFormat.MERGED, adapter=str(folder), base="builtin:tiny"), models)
    model, _ = merge.load_trained(origin)
    merged = merge.merge(model, [[5, 900, 17, 2040]])
    assert torch.allclose(logits(merged), wanted, atol=1e-4 * float(wanted.abs().max()))
    job = export(models, monkeypatch, "folder", format="merged", adapter=str(folder), base="builtin:tiny")
    assert [report["verdict"] for report in result(job)["fidelity"]] == ["faithful"]
    assert "tokenizer.json" in files(job)


@needs_converter
def test_an_adapter_as_gguf_says_the_same_on_its_base(
    models: Home, folder: Path, short_answers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if layers have different ranks: llama.cpp divides by each one's."""
    job = export(models, monkeypatch, "lora", format="adapter_gguf", adapter=str(folder), base="builtin:tiny")
    made = files(job)["My-run-LoRA.gguf"]
    assert (made["file_type"], made["tensor_types"]) == ("LoRA adapter", {"F32": 8})
    assert made["fidelity"]["verdict"] == "faithful", made["fidelity"]["reason"]
    recipe = (job.files / "Modelfile").read_text().splitlines()
    assert recipe[:2] == ["FROM ./tiny-F16.gguf", "ADAPTER ./My-run-LoRA.gguf"]
    assert any("--lora My-run-LoRA.gguf" in command["text"] for command in result(job)["commands"])


@needs_converter
@pytest.mark.slow
def test_several_files_from_one_merge_say_what_they_are(
    models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Types are read back from each file, each was compared, the recipes match, and nothing else is left."""
    kinds = ["f32", "bf16", "q2_k"]
    job = export(models, monkeypatch, "several", format="gguf", quantizations=kinds, importance_matrix=True)
    made = files(job)
    for kind in kinds:
        name = f"My-run-{kind.upper()}.gguf"
        facts = gguf_file.read_back(job.files / name)
        assert made[name]["file_type"] == facts.file_type == kind.upper()
        assert made[name]["tensor_types"] == facts.tensor_types
        assert made[name]["tensors"] == facts.tensors
        assert made[name]["bits_per_weight"] == facts.bits_per_weight
        assert made[name]["fidelity"]["subject"] == kind.upper()
        assert made[name]["fidelity"]["verdict"] in {"faithful", "loses_quality"}
    assert made["My-run-F32.gguf"]["fidelity"]["verdict"] == "faithful"
    assert [report["subject"] for report in result(job)["fidelity"]] == ["merged", *(kind.upper() for kind in kinds)]
    modelfile = (job.files / "Modelfile").read_text()
    assert modelfile.startswith("FROM ./My-run-F32.gguf\n")
    assert 'SYSTEM """Add."""' in modelfile
    assert 'PARAMETER stop "<|im_end|>"' in modelfile
    assert (job.files / "Modelfile-Q2_K").read_text().startswith("FROM ./My-run-Q2_K.gguf\n")
    assert len(made) == 2 * len(kinds)


def test_a_bundle_is_made(models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """One zip file, with the command that repeats the run."""
    job = export(models, monkeypatch, "bundle", format="bundle")
    assert list(files(job)) == ["My-run-reproduction.zip"]


@needs_converter
def test_a_canceled_export_leaves_nothing(models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """No complete or partial files are left, and the state is stopped."""
    job = JobDir(models.exports / "cancelled")
    job.path.mkdir(parents=True)
    write_json(job.config, {"kind": "export", "session_id": "exported", "format": "gguf", "quantization": "q8_0"})
    job.write_control(Control(stop=True, now=True))
    assert work(job, monkeypatch, models) == JobState.STOPPED
    assert {path.name for path in job.path.iterdir()} == {"config.json", "control.json", "status.json"}


def test_a_child_that_dies_is_quoted(tmp_path: Path) -> None:
    """A llama.cpp crash is an error with its last output, not the end of the export process."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(Unavailable, match="Quantization to Q4_0 failed"):
        gguf_file.quantize(broken, tmp_path / "made.gguf", Quantization.Q4_0, lambda: False)


def test_a_model_trained_in_4_bit_is_merged_into_its_16_bit_base(models: Home, tmp_path: Path) -> None:
    """The 4-bit copy's name identifies the original; other quantized bases are refused."""
    assert merge.sixteen_bit("builtin:tiny-unsloth-bnb-4bit", None, models) == str(tiny(models))
    assert merge.sixteen_bit("unsloth/Qwen3-1.7B-bnb-4bit", None, models) == "unsloth/Qwen3-1.7B"
    settings = json.loads((tiny(models) / "config.json").read_text())
    reduced = tmp_path / "reduced"
    reduced.mkdir()
    settings["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (reduced / "config.json").write_text(json.dumps(settings))
    with pytest.raises(InvalidInput, match="16-bit version"):
        merge.sixteen_bit(str(reduced), None, models)


def test_an_adapter_that_does_not_fit_is_refused(models: Home, folder: Path, tmp_path: Path) -> None:
    """PEFT only warns about an unmatched tensor, and the model would answer like its base."""
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "adapter_config.json").write_text((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(
        {name.replace("layers.1.", "layers.7."): tensor for name, tensor in tensors.items()}, odd / ADAPTER_WEIGHTS
    )
    spec = ExportSpec(format=ExportFormat.MERGED, adapter=str(odd), base="builtin:tiny")
    with (
        pytest.warns(UserWarning, match="missing adapter keys"),
        pytest.raises(InvalidInput, match="does not fit builtin:tiny"),
    ):
        merge.load_trained(merge.origin_of(spec, models))


def test_what_is_not_there_is_named(models: Home, trained: JobDir, tmp_path: Path) -> None:
    """A pruned checkpoint, and a folder whose weights could run code."""
    with pytest.raises(NotFound, match="step 99"):
        merge.origin_of(ExportSpec(format=ExportFormat.MERGED, session_id="exported", checkpoint=99), models)
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(InvalidInput, match="can run code"):
        merge.origin_of(ExportSpec(format=ExportFormat.MERGED, adapter=str(tmp_path)), models)


def test_too_little_space_is_reported_before_anything_is_written(tmp_path: Path) -> None:
    """Disk and memory, each with its figures; 32-bit needs more of both than 4-bit."""
    small = ExportSpec(session_id="x", format=ExportFormat.GGUF, quantizations=(Quantization.Q4_K_M,))
    large = small.model_copy(update={"quantizations": tuple(Quantization)})
    needs = [space.needed(spec, 135_000_000, 49_152) for spec in (small, large)]
    assert 600e6 < needs[0].memory == needs[1].memory
    assert 800e6 < needs[0].disk < needs[1].disk
    with pytest.raises(Unavailable, match=r"Not enough disk space.* \d.* are free"):
        space.check(space.Space(1 << 62, 0), tmp_path)
    with pytest.raises(Unavailable, match=r"Not enough memory.* 2\.0 GB.* 1\.0 GB are free"):
        space.check(space.Space(0, 2_000_000_000), tmp_path, memory=1_000_000_000)
    space.check(space.Space(0, 0), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_stages_counts_each_file_once() -> None:
    """Shared work is done once."""
    one = ExportSpec(session_id="x", format=ExportFormat.GGUF, quantizations=(Quantization.Q4_K_M,))
    two = one.model_copy(update={"quantizations": (Quantization.Q8_0, Quantization.Q4_K_M)})
    assert stages(two) - stages(one) == 2


@needs_converter
def test_where_llama_cpp_crashes_the_file_is_kept_and_verified_later(
    models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is unverified while this machine cannot load such files, and gets its verdict once it can."""
    before = (models.cache / "llama.json").read_bytes() if (models.cache / "llama.json").is_file() else None
    llama.keep(models, Outcome(fingerprint=llama.fingerprint(), dead={"F16": "SIGSEGV (signal 11)"}))
    with pytest.MonkeyPatch.context() as patch:
        crashing(patch, "always:F16")
        job = export(models, monkeypatch, "crashing", format="gguf", quantizations=["f16"])
    made = next(file for name, file in files(job).items() if name.endswith(".gguf"))
    assert made["fidelity"]["verdict"] == "unverified"
    assert "every file that contains F16" in made["fidelity"]["reason"]
    assert "Not verified on this machine: F16" in str(job.read_status())
    # Checked again where it does not crash: the same bytes, now with a verdict.
    llama.keep(models, Outcome(fingerprint=llama.fingerprint()))
    assert work(job, monkeypatch, models) == JobState.COMPLETED, job.read_status()
    again = files(job)[made["name"]]
    assert again["fidelity"]["verdict"] in {"faithful", "loses_quality"}
    assert again["sha256"] == made["sha256"]
    assert (read_json(job.result) or {})["fidelity"] == [
        (read_json(job.result) or {})["fidelity"][0], again["fidelity"],
    ]  # fmt: skip
    assert "Not verified" not in (read_json(job.status) or {})["message"]
    # And if it crashes although files of this kind work here, the file is the cause.
    llama.keep(models, Outcome(fingerprint=llama.fingerprint(), extra_buffers=False))
    result_ = read_json(job.result) or {}
    result_["fidelity"][-1]["verdict"] = "unverified"
    write_json(job.result, result_)
    with pytest.MonkeyPatch.context() as patch:
        crashing(patch, "always:F16")
        assert work(job, monkeypatch, models) == JobState.FAILED
    assert "the file is the cause" in str(job.read_status())
    assert not job.files.exists()
    (models.cache / "llama.json").unlink()
    if before is not None:
        (models.cache / "llama.json").write_bytes(before)
