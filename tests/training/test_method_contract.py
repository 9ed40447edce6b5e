"""The contract of every training method: a few small runs each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

from core.config import RunConfig, parse
from core.evaluation import RunEvaluation
from core.job import JobState
from core.job_dir import JobDir, read_model, write_json
from core.job_rows import PLACE
from core.kept import Kept
from core.methods import METHODS, Method, Need
from core.metric import Better
from core.model import Device
from core.rewards import Spent
from core.settings import Home
from core.training import train
from core.training.arguments import trainer_arguments
from core.training.evaluation import best
from tests.training.worker_runs import TINY, changed, made_dataset, make_run, rows, work, work_until

pytestmark = [
    pytest.mark.training,
    pytest.mark.usefixtures("own_signals"),
    pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key),
]

CLOCKS = {"row", "attempt", "time", "step_time", "time_generation", "time_reward", "tokens_per_second"}
SOMETIMES = {"grpo": {"no_opinion", "sampler_kl", *Spent(requests=1).row()}}
"""Metrics, by method, that depend on settings which the runs below do not use."""
CPU = Device("cpu", "cpu", 1 << 34, 1 << 33, False)


def settings(method: Method, home: Home, **values: Any) -> dict[str, Any]:
    """The small run with this method: on rows that it learns from, without what it does not use."""
    wanted = changed(TINY | {"dataset": made_dataset(home, method.shapes[0])}, **values)
    if Need.REWARD not in method.needs:
        del wanted["reward"]
    used = {name: value for name, value in wanted["training"].items() if method.uses(f"training.{name}")}
    return {**wanted, "method": method.key, "training": used}


def series(run: JobDir) -> list[dict[str, Any]]:
    """Its training rows without timings."""
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows(run, "training")]


def test_a_run_keeps_what_was_promised(method: Method, models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It completes and writes exactly its phases and metrics; stopped and resumed it is the same run."""
    config = settings(method, models, training__save_steps=3)
    whole, halves = (make_run(models, f"contract-{method.key}-{name}", config) for name in ("whole", "halves"))
    assert work(whole, monkeypatch, models) == JobState.COMPLETED
    planned = {phase.key for phase in method.phases if phase.planned(parse(config).model_dump())}
    assert {row["phase"] for row in rows(whole)} == planned
    assert {name for row in rows(whole) for name in row} - PLACE == set(method.metrics) - SOMETIMES.get(
        method.key, set()
    )
    assert [row["step"] for row in rows(whole, "training")] == [1, 2, 3, 4, 5, 6]
    moments = [(row["when"], row["step"]) for row in rows(whole, "evaluation")]
    assert moments == [("before", 0), ("interval", 3), ("end", 6)]

    def fourth(found: list[dict[str, Any]]) -> bool:
        return any(row["phase"] == "training" and row["step"] >= 4 for row in found)

    assert work_until(halves, monkeypatch, models, fourth) == JobState.STOPPED
    status = halves.read_status()
    assert status is not None
    assert status.checkpoint_step == 4
    assert (halves.adapter / "adapter_model.safetensors").is_file()
    assert work(halves, monkeypatch, models) == JobState.COMPLETED
    assert series(halves) == series(whole)
    for name, numbers in load_file(whole.adapter / "adapter_model.safetensors").items():
        assert torch.equal(numbers, load_file(halves.adapter / "adapter_model.safetensors")[name])


def test_the_best_evaluation_can_be_the_result(method: Method, models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its adapter is published and its checkpoint kept, by the metric that sums up the method."""
    values = {"training__max_steps": 3, "training__keep_checkpoints": 1, "training__save_steps": 3}
    config = settings(method, models, evaluation__every_steps=1, evaluation__keep_best=True, **values)
    run = make_run(models, f"contract-{method.key}-best", config)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    lead, kept = method.described[0], read_model(run.kept, Kept)
    found = {row["step"]: row[lead.key] for row in rows(run, "evaluation") if row["step"]}
    assert list(found) == [1, 2, 3]
    wanted = min(found.values()) if lead.better is Better.LOWER else max(found.values())
    assert kept is not None
    assert (kept.metric, kept.value, kept.published) == (lead.key, wanted, True)
    numbers = load_file(run.checkpoints / f"checkpoint-{kept.step}" / "adapter_model.safetensors")
    for name, published in load_file(run.adapter / "adapter_model.safetensors").items():
        assert torch.equal(published, numbers[name])
    if Need.REWARD in method.needs:
        report = read_model(run.evaluation, RunEvaluation)
        assert report is not None
        assert report.step == kept.step
        assert report.report.score.second == pytest.approx(wanted)


def test_a_run_can_end_early(method: Method, models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once evaluations are not better than an earlier one: it is completed, with the adapter of that."""
    monkeypatch.setattr(best, "best_of", lambda values, *, lower: (1, len(values) - 1) if values else None)
    values = {"evaluation__every_steps": 1, "evaluation__keep_best": True, "evaluation__early_stop": 1}
    run = make_run(models, f"contract-{method.key}-early", settings(method, models, **values))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert [row["step"] for row in rows(run, "training")] == [1, 2]
    moments = [(row["when"], row["step"]) for row in rows(run, "evaluation")]
    assert moments == [("before", 0), ("interval", 1), ("interval", 2), ("end", 2)]
    kept = read_model(run.kept, Kept)
    assert kept is not None
    assert (kept.step, kept.published, kept.ended, kept.planned) == (1, True, 2, 6)


def test_checkpoints_of_another_method_are_refused(
    method: Method, models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the model is loaded, with what to do."""
    other = next(one for one in METHODS if one is not method)
    run = make_run(models, f"contract-{method.key}-other", settings(method, models))
    (run.checkpoints / "checkpoint-2").mkdir(parents=True)
    run.prepared.mkdir()
    write_json(run.prepared / "info.json", {"method": other.key})
    monkeypatch.setattr(train, "load_for_training", lambda *_: pytest.fail("it loaded the model"))
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status is not None
    assert f"checkpoints of the method '{other.key}'" in (status.error or "")
    assert status.error_field == "method"


def test_every_shared_setting_arrives(method: Method, models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in the section ``training`` that the method shows are passed to its trainer."""
    others = {
        "training__num_epochs": 2, "training__max_steps": None, "training__batch_size": 8,
        "training__gradient_accumulation_steps": 1, "training__learning_rate": 1e-5, "training__warmup_steps": 3,
        "training__weight_decay": 0.5, "training__adam_beta1": 0.5, "training__adam_beta2": 0.25,
        "training__max_grad_norm": 5.0, "training__lr_scheduler_type": "cosine", "training__optim": "adafactor",
        "training__gradient_checkpointing": True, "training__save_steps": 7, "training__keep_checkpoints": 9,
        "training__seed": 11, "evaluation__holdout_fraction": 0,
    }  # fmt: skip
    config = settings(method, models, **others)
    run = make_run(models, f"contract-{method.key}-arrives", config)
    seen: list[Any] = []

    def stay(trainer: Any, **_: Any) -> None:
        seen.append(trainer.args)
        trainer.state.max_steps = trainer.state.global_step

    monkeypatch.setattr(Trainer, "train", stay)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    wanted = arguments(parse(config), run.checkpoints)
    untold = arguments(parse(settings(method, models)), run.checkpoints)
    assert {name: getattr(seen[0], name) for name in wanted} == wanted
    assert len([name for name in wanted if wanted[name] != untold[name]]) == len(others) - 1


def arguments(config: RunConfig, folder: Path) -> dict[str, Any]:
    """The trainer's arguments that it stores unchanged."""
    return {
        name: value
        for name, value in trainer_arguments(config, CPU, folder).items()
        if name not in {"report_to", "push_to_hub", "trust_remote_code"}
    }
