"""The Model step: which weights are trained, and from where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core import start
from core.errors import Conflict, Damaged, InvalidConfig, InvalidInput, NotFound
from core.job_dir import JobDir, write_json
from core.settings import Home
from services.container import Services
from services.jobs.database import new_job
from tests.conftest import TINY, Browser

BASE = "builtin:smollm2-135m-instruct"


def weights(file: Path) -> None:
    """A complete safetensors file with one number."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


def trained(services: Services, home: Home, run_id: str, state: str = "completed", **model: Any) -> JobDir:
    """A run with trained weights, of the kind that its configuration says."""
    config = {**TINY, "model": {"name": BASE, "lora_rank": 4, **model}}
    content = {"kind": "train", "name": f"run {run_id}", "created_at": "2026-01-01", "config": config}
    job = new_job(run_id, content)
    job.state = state
    services.database.add(job)
    run = JobDir(home.outputs / run_id)
    run.path.mkdir(parents=True)
    write_json(run.config, content)
    if model.get("adapter") == "none":
        weights(run.model / "model.safetensors")
        write_json(run.model / "config.json", {"architectures": ["LlamaForCausalLM"]})
    else:
        weights(run.adapter / "adapter_model.safetensors")
        write_json(run.adapter / "adapter_config.json", {"task_type": "CAUSAL_LM", "r": 4})
    return run


def going_on(reference: str, **model: Any) -> dict[str, Any]:
    return {**TINY, "model": {"name": BASE, "continue_from": reference, **model}}


def test_the_shape_of_an_adapter_comes_along(services: Services, home: Home) -> None:
    """And is in the configuration that runs; another one is refused, unless the adapter is merged first."""
    run = trained(services, home, "a")
    weights(run.checkpoints / "checkpoint-20" / "adapter_model.safetensors")
    write_json(run.checkpoints / "checkpoint-20" / "adapter_config.json", {"r": 4})
    for reference in ("a", "a/checkpoint-20", str(run.adapter)):
        assert services.runs.check_start(going_on(reference)).model.lora_rank == 4
    with pytest.raises(InvalidConfig, match=r"model\.lora_rank: is 4 in the adapter"):
        services.runs.check_start(going_on("a", lora_rank=8))
    merged = services.runs.check_start(going_on("a", lora_rank=8, merge_first=True))
    assert merged.model.lora_rank == 8


def test_what_cannot_be_continued_is_refused_before_the_start(services: Services, home: Home) -> None:
    """Each with its reason, at the field to change."""
    whole = trained(services, home, "whole", adapter="none")
    trained(services, home, "a")
    trained(services, home, "busy", state="running")
    broken = trained(services, home, "broken").adapter / "adapter_model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-1])
    scores = trained(services, home, "scores")
    write_json(scores.adapter / "adapter_config.json", {"task_type": "SEQ_CLS"})
    nothing = trained(services, home, "nothing")
    (nothing.adapter / "adapter_model.safetensors").unlink()
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        (going_on("absent"), NotFound, "There is no run 'absent'"),
        (going_on("a/checkpoint-3"), NotFound, "There is no checkpoint at step 3"),
        (going_on("../../etc"), InvalidInput, "not the adapter folder of a run"),
        (going_on("/etc"), InvalidInput, "not the adapter folder of a run"),
        (going_on(str(home.outputs / "a" / "..")), InvalidInput, "not the adapter folder of a run"),
        (going_on("busy"), Conflict, "still in progress"),
        (going_on("broken"), Damaged, "adapter_model.safetensors is damaged"),
        (going_on("scores"), InvalidInput, "trained to score texts"),
        (going_on("nothing"), Conflict, "no weights"),
        ({**going_on("a"), "model": {"name": "other/model", "continue_from": "a"}}, InvalidConfig, "was trained on"),
        (going_on("a", adapter="none"), InvalidConfig, "merge it first"),
        (going_on("whole", merge_first=True), InvalidConfig, "no adapter to merge"),
    ]
    for config, kind, words in cases:
        with pytest.raises(kind, match=words) as refused:
            services.runs.check_start(config)
        assert (getattr(refused.value, "field", None) or "").startswith("model.")
    assert services.runs.check_start(going_on("whole")).model.lora_rank == 16
    assert start.find("whole", home).folder == whole.model


def test_a_run_that_another_needs_is_not_deleted(services: Services, home: Home) -> None:
    """Until the other has copied what it needs, which it has once it has ended."""
    trained(services, home, "a")
    services.runs.start(going_on("a"), session_id="b")
    with pytest.raises(Conflict, match="in use by the run"):
        services.runs.delete("a")
    services.runs.stop("b")
    services.runs.delete("a")


def test_a_reward_model_is_not_deleted_while_a_run_uses_it(services: Services, home: Home) -> None:
    """Its scores are needed until the run ends."""
    trained(services, home, "a")
    trained(services, home, "other")
    component = {"name": "reward_model", "params": {"model": "run:a"}}
    services.runs.start({**TINY, "reward": {"type": "composite", "components": [component]}}, session_id="b")
    with pytest.raises(Conflict, match="in use by the run"):
        services.runs.delete("a")
    services.runs.delete("other")
    services.runs.stop("b")
    services.runs.delete("a")


def test_chats_load_what_a_run_has_trained_and_began_with(services: Services, home: Home) -> None:
    """A whole model alone; an adapter on the run's own base model if it has one."""
    whole = trained(services, home, "whole", adapter="none")
    run = trained(services, home, "a", continue_from="whole")
    weights(run.base / "model.safetensors")
    write_json(run.base / "config.json", {})
    write_json(run.start_facts, {"own_base": True})
    resolve = services.models.resolve
    assert resolve("session:whole") == {"kind": "transformers", "base": str(whole.model), "adapter": None}
    assert resolve("session:a") == {"kind": "transformers", "base": str(run.base), "adapter": str(run.adapter)}
    assert resolve("session:a@start") == {"kind": "transformers", "base": str(run.base), "adapter": None}
    with pytest.raises(InvalidInput, match="base model that only its run has"):
        services.exports.create("a", "adapter")
    with pytest.raises(InvalidInput, match="there is no adapter"):
        services.exports.create("whole", "adapter_gguf")
    (run.base / "config.json").unlink()
    with pytest.raises(Damaged, match="base model is missing"):
        resolve("session:a")


def test_the_export_page_of_a_whole_model_offers_no_adapter(browser: Browser, services: Services, home: Home) -> None:
    """It says why, and calls the safetensors format a whole model."""
    trained(services, home, "whole", adapter="none")
    page = browser.get("/exports?session_id=whole").text
    assert "there is no adapter" in page
    assert 'data-testid="format-adapter"' not in page
    assert "Whole model" in page


def save(browser: Browser, **form: str) -> None:
    assert browser.post("/new/model", form={"action": "save", **form}).status_code < 400


def test_the_page_offers_finished_runs_and_takes_over_their_base(
    browser: Browser, services: Services, home: Home
) -> None:
    """The run's own adapter is trained further unless it is merged first; another base model turns it off."""
    trained(services, home, "a")
    services.wizard.change({"model.lora_rank": 32, "model.name": "other/model"})
    assert "run a (" in browser.get("/new/model").text
    save(browser, choice="", **{"model.name": "other/model", "model.continue_from": "a"})
    model = services.wizard.draft().model.values
    assert (model["name"], model["continue_from"], model.get("lora_rank")) == (BASE, "a", None)
    assert "own adapter is trained further" in browser.get("/new/model").text
    save(browser, choice=BASE, checks="model.merge_first", **{"model.merge_first": "on"})
    assert services.wizard.draft().model.values["merge_first"] is True
    assert 'data-testid="adapter-none"' in browser.get("/new/model").text
    save(browser, choice="", **{"model.name": "other/model"})
    assert "continue_from" not in services.wizard.draft().model.values


def test_a_finished_run_is_continued_with_one_button(browser: Browser, services: Services, home: Home) -> None:
    """The setup has its data and method, and goes on from it."""
    trained(services, home, "a")
    browser.get("/runs")
    browser.post("/runs/a/continue")
    draft = services.wizard.draft()
    assert draft.model.values == {"name": BASE, "continue_from": "a"}
    assert draft.name == "tiny continued"
