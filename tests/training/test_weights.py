"""Full fine-tuning, and going on from an earlier run."""

from __future__ import annotations

import shutil
import signal
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from core.job import JobState
from core.job_dir import JobDir, iter_lines, read_json, write_json
from core.methods import METHODS, Method
from core.settings import Home
from core.training.fidelity import check as fidelity
from core.training.gguf import file as gguf_file
from core.training.models import load
from core.training.rollouts.generate import Sampling, TransformersEngine
from core.weights import published, start_of, trained_by
from tests.training.test_method_contract import settings
from tests.training.worker_runs import LLAMA, SFT, TINY, changed, make_run, rows, work, work_until

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

needs_converter = pytest.mark.skipif(
    not gguf_file.CONVERTER.is_file(), reason="the GGUF converter is not installed: run setup"
)
CLOCKS = {"row", "attempt", "time", "step_time", "time_generation", "time_reward", "tokens_per_second"}
FULL = {"model__adapter": "none", "training__learning_rate": 1e-3}
SFT_FULL = changed(SFT, **FULL)


def series(run: JobDir, phase: str = "training") -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows(run, phase)]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)
def test_every_weight_is_trained_and_a_resume_is_exact(
    method: Method, models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole model is published, all of it changed; stopped and resumed it is the same run."""
    reference = {"grpo__kl_penalty": 0.05} if method.key == "grpo" else {}
    config = changed(settings(method, models), **FULL, **reference)
    whole, halves = (make_run(models, f"full-{method.key}-{name}", config) for name in ("whole", "halves"))
    assert work(whole, monkeypatch, models) == JobState.COMPLETED

    assert work_until(halves, monkeypatch, models, third) == JobState.STOPPED
    assert work(halves, monkeypatch, models) == JobState.COMPLETED
    assert series(halves) == series(whole)
    assert series(halves, "evaluation") == series(whole, "evaluation")
    made, again = (load_file(run.model / "model.safetensors") for run in (whole, halves))
    before = load_file(models.cache / "models" / "tiny" / "model.safetensors")
    # A model that scores has a head of its own, which the base has not.
    assert set(made) - set(before) == ({"score.weight"} if method.head == "score" else set())
    assert set(before) <= set(made)
    for name, numbers in made.items():
        assert torch.equal(numbers, again[name])
        assert name not in before or not torch.equal(numbers, before[name])
    assert not whole.adapter.exists()
    shutil.rmtree(halves.path)


@pytest.fixture(scope="module")
def full(models: Home) -> JobDir:
    """A finished run that trained every weight."""
    return finished(models, "full", SFT_FULL)


@pytest.fixture(scope="module")
def adapted(models: Home) -> JobDir:
    """A finished SFT run with an adapter."""
    return finished(models, "adapted", SFT)


def finished(models: Home, name: str, config: dict[str, Any]) -> JobDir:
    run = make_run(models, name, config)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with pytest.MonkeyPatch.context() as patch:
        assert work(run, patch, models) == JobState.COMPLETED, run.read_status()
    for number, handler in before.items():
        signal.signal(number, handler)
    return run


def export(models: Home, monkeypatch: pytest.MonkeyPatch, name: str, **spec: Any) -> JobDir:
    job = JobDir(models.exports / name)
    job.path.mkdir(parents=True)
    write_json(job.config, {"kind": "export", "name": "My run", "created_at": "", **spec})
    work(job, monkeypatch, models)
    return job


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=torch.tensor([[5, 900, 17, 2040]])).logits
    return found


def model_of(run: JobDir, home: Home, *, at_start: bool = False) -> Any:
    """What a run has trained, or what it started from, loaded as everyone loads it."""
    section = run.whole_config()["config"]["model"]
    found = start_of(run, section) if at_start else trained_by(run, section)
    base = AutoModelForCausalLM.from_pretrained(load.source_of(found.base, home), dtype=torch.float32)
    return PeftModel.from_pretrained(base, str(found.adapter)) if found.adapter else base


@needs_converter
def test_a_whole_model_is_exported(full: JobDir, models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a folder and as GGUF, compared with the trained model; the adapter formats are refused with the reason."""
    monkeypatch.setattr(fidelity, "PROMPTS", 4)
    job = export(models, monkeypatch, "full-gguf", format="gguf", quantizations=["f16"], session_id="full")
    found = read_json(job.result) or {}
    status = job.read_status()
    assert status is not None
    assert (status.state, status.step) == (JobState.COMPLETED, status.max_steps), status.error
    file = next(file for file in found["files"] if file["name"].endswith(".gguf"))
    assert file["fidelity"]["verdict"] == "faithful"
    assert file["fidelity"]["change_kept"] == pytest.approx(1, abs=0.05)
    assert found["origin"]["model_sha256"]
    job = export(models, monkeypatch, "full-merged", format="merged", session_id="full", checkpoint=4)
    at_4 = load_file(full.checkpoints / "checkpoint-4" / "model.safetensors")
    for name, numbers in load_file(job.files / "model.safetensors").items():
        assert torch.equal(numbers, at_4[name].bfloat16())
    for format_ in ("adapter", "adapter_gguf"):
        job = export(models, monkeypatch, f"full-{format_}", format=format_, session_id="full")
        status = job.read_status()
        assert status is not None
        assert "there is no adapter" in (status.error or "")


def before(run: JobDir) -> list[Any]:
    """The held-out answers before the first step."""
    groups = [group for group in iter_lines(run.completions) if group.get("when") == "before"]
    return [completion["text"] for group in groups for completion in group["completions"]]


GOES_ON: dict[str, tuple[str, dict[str, Any]]] = {
    "same adapter": ("adapted", {}),
    "merged, fresh adapter": ("adapted", {"model__merge_first": True}),
    "merged, every weight": ("adapted", {"model__merge_first": True, **FULL}),
    "fresh adapter on a whole model": ("full", {}),
    "every weight of a whole model": ("full", FULL),
}


@pytest.mark.parametrize("way", GOES_ON)
def test_grpo_goes_on_where_sft_ended(
    way: str, adapted: JobDir, full: JobDir, models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first evaluation is of the SFT run's model, the KL is measured from there, and a resume is exact."""
    source, values = GOES_ON[way]
    earlier = {"adapted": adapted, "full": full}[source]
    config = changed(TINY, model__continue_from=source, grpo__kl_penalty=0.05, **values)
    whole, halves = (make_run(models, f"on-{way.replace(' ', '-')}-{name}", config) for name in ("whole", "halves"))
    assert work(whole, monkeypatch, models) == JobState.COMPLETED, whole.read_status()
    assert work_until(halves, monkeypatch, models, third) == JobState.STOPPED
    assert work(halves, monkeypatch, models) == JobState.COMPLETED, halves.read_status()
    assert series(halves) == series(whole)
    torch.testing.assert_close(logits(model_of(whole, models, at_start=True)), logits(model_of(earlier, models)))
    assert not torch.allclose(logits(model_of(whole, models)), logits(model_of(earlier, models)), atol=1e-3)
    first, *later = rows(whole, "evaluation")
    assert (first["when"], first["kl"]) == ("before", pytest.approx(0, abs=1e-5))
    assert later[-1]["kl"] > 1e-4
    assert rows(whole, "training")[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert before(whole) == answers(earlier, whole, models)
    if source == "adapted" and "model__adapter" not in values:
        assert (whole.start.is_dir(), whole.base.is_dir()) == (not values, bool(values))


def answers(earlier: JobDir, run: JobDir, home: Home) -> list[str]:
    """What the earlier run's model answers to the run's held-out questions."""
    tokenizer = load.load_tokenizer(str(published(earlier)))
    engine = TransformersEngine(model_of(earlier, home), tokenizer)
    questions = [group["prompt"] for group in iter_lines(run.completions) if group.get("when") == "before"]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in questions]
    written = engine.generate(ids, Sampling(TINY["training"]["max_new_tokens"], temperature=0)).tokens
    return [engine.text(one) for one in written]


def third(found: list[dict[str, Any]]) -> bool:
    return any(row["phase"] == "training" and row["step"] >= 3 for row in found)


@pytest.mark.parametrize("way", ["same adapter", "merged, fresh adapter"])
def test_a_check_before_training_begins_there_too(
    way: str, adapted: JobDir, models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With llama.cpp, which passes its check on the earlier adapter and on a merged base; copies are removed."""
    values = GOES_ON[way][1]
    config = changed(LLAMA, model__continue_from="adapted", **values)
    probe = make_run(models, f"probe-on-{way.replace(' ', '-')}", config)
    content = {**probe.whole_config(), "kind": "probe", "prompts": 2, "samples": 4}
    write_json(probe.config, content)
    assert work(probe, monkeypatch, models) == JobState.COMPLETED, probe.read_status()
    status = probe.read_status()
    assert status is not None
    assert not [note for note in status.notes if "transformers" in note]
    assert not any(path.exists() for path in (probe.start, probe.base, probe.start_facts))
