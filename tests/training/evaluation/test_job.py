"""Evaluations by the real worker: base and trained model on the same prompts, stopped, resumed, without a reward."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from core.config import DatasetSection, RewardSection, parse
from core.data import prompts as asking
from core.data.prompt_file import read_prompts
from core.evaluation import Asked, EvaluationSpec, PairedVerdict, RunEvaluation
from core.job import Control, JobState
from core.job_dir import JobDir, iter_lines, read_json, write_json
from core.rewards import maximum
from core.settings import Home
from core.training.evaluation import answering
from core.training.evaluation.answering import InLlama
from core.training.gguf import adapter as gguf_adapter
from core.training.rollouts.llama_process import Child
from tests.training.worker_runs import TINY, changed, make_run, rows, work, work_until

pytestmark = pytest.mark.training

WRITE = gguf_adapter.write
QUESTIONS = [{"instruction": f"What is {a} + 1?", "response": str(a + 1)} for a in range(20)]


@pytest.fixture(autouse=True)
def _own_signals(own_signals: None) -> None: ...


@pytest.fixture(scope="module")
def trained(models: Home) -> JobDir:
    """A short run whose adapter changes the answers; stopped once, without a report, and resumed."""
    run = make_run(models, "to-evaluate", changed(TINY, evaluation__max_prompts=8, training__max_steps=4))
    with pytest.MonkeyPatch.context() as patch:
        begun = work_until(run, patch, models, lambda found: any(row["phase"] == "training" for row in found))
        assert (begun, run.evaluation.exists()) == (JobState.STOPPED, False)
        assert work(run, patch, models) is JobState.COMPLETED
    return run


def asked(home: Home, *adapters: JobDir | None) -> tuple[Asked, ...]:
    base = str(home.cache / "models" / "tiny")
    return tuple(
        Asked(
            label=f"model {place}", model_path="",
            resolved={"kind": "transformers", "base": base, "adapter": str(run.adapter) if run else None},
        )
        for place, run in enumerate(adapters)
    )  # fmt: skip


def make(home: Home, name: str, models: Sequence[Asked], prompts: list[Any] | None = None, **more: Any) -> JobDir:
    run = JobDir(home.outputs / name)
    run.path.mkdir()
    reward = RewardSection.model_validate(TINY["reward"])
    dataset = DatasetSection(source="generated:arithmetic", size=12, system_prompt="Add.")
    values = {"reward": reward, "best": maximum(reward), "dataset": dataset, "max_new_tokens": 6, **more}
    spec = EvaluationSpec(name=name, models=tuple(models), source="a test", **values)
    write_json(run.config, spec.model_dump(mode="json"))
    if prompts is not None:
        run.given.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts), "utf-8")
    return run


def groups(run: JobDir) -> list[dict[str, Any]]:
    return list(iter_lines(run.completions))


def test_a_training_ends_with_its_paired_evaluation(trained: JobDir) -> None:
    """Even after a resume: held-out answers before the first step and at the end match the metrics."""
    found = RunEvaluation.model_validate(read_json(trained.evaluation))
    scored = {row["when"]: row for row in rows(trained, "evaluation")}
    assert found.step == 4
    assert found.report.pairs == scored["end"]["samples"] > 1
    assert found.report.score.first == pytest.approx(scored["before"]["reward"])
    assert found.report.score.second == pytest.approx(scored["end"]["reward"])
    assert found.report.components["length"].second == pytest.approx(scored["end"]["reward_components"]["length"])
    assert found.report.verdict in set(PairedVerdict)


def test_held_out_rows_earn_what_the_training_measured(
    models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base and trained model repeat, word for word, the answers of the run's own evaluation."""
    config = parse(trained.read_config()["config"])
    held = list(iter_lines(trained.prepared / "holdout.jsonl"))[: config.evaluation.max_prompts]
    tokens = config.training.max_new_tokens
    run = make(models, "again", asked(models, None, trained), held, dataset=config.dataset, max_new_tokens=tokens)
    assert work(run, monkeypatch, models) is JobState.COMPLETED, run.read_status()
    known = {
        (int(group["when"] == "end"), group["instruction"]): group["completions"][0]
        for group in groups(trained) if group.get("when") in {"before", "end"}
    }  # fmt: skip
    again = {(group["model"], group["instruction"]): group["completions"][0] for group in groups(run)}
    assert {key: (one["text"], one["total"]) for key, one in again.items()} == {
        key: (one["text"], one["total"]) for key, one in known.items()
    }
    result = read_json(run.result)
    automatic = RunEvaluation.model_validate(read_json(trained.evaluation)).report
    assert result is not None
    assert result["reports"][0]["score"]["difference"] == pytest.approx(automatic.score.difference)


def test_a_stop_keeps_the_answers_and_a_resume_continues(
    models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No prompt is answered twice, and the answers equal those of an uninterrupted evaluation."""
    whole = make(models, "every-answer", asked(models, None, trained), QUESTIONS)
    assert work(whole, monkeypatch, models) is JobState.COMPLETED
    run = make(models, "stopped", asked(models, None, trained), QUESTIONS)
    # Stopped before its first batch, and again after the first model's: SIGTERM takes the same path.
    run.write_control(Control(stop=True))
    assert work(run, monkeypatch, models) is JobState.STOPPED
    assert groups(run) == []
    lines = whole.completions.read_bytes().splitlines(keepends=True)
    run.completions.write_bytes(b"".join(lines[:16]) + lines[16][:20])
    run.control.unlink()
    assert work(run, monkeypatch, models) is JobState.COMPLETED
    places = [(group["model"], group["place"]) for group in groups(run)]
    assert len(places) == len(set(places)) == 40
    assert [g["completions"] for g in groups(run)] == [g["completions"] for g in groups(whole)]
    assert read_json(run.result) == read_json(whole.result)
    status = run.read_status()
    assert status is not None
    assert (status.step, status.max_steps) == (40, 40)


def test_prompts_of_a_dataset_are_frozen_and_need_no_reward(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows up to the limit, answered without a score."""
    run = make(models, "unscored", asked(models, None), limit=5, reward=None, best=None)
    assert work(run, monkeypatch, models) is JobState.COMPLETED, run.read_status()
    assert len(list(iter_lines(run.prepared / "prompts.jsonl"))) == len(groups(run)) == 5
    assert "total" not in groups(run)[0]["completions"][0]
    assert read_json(run.result) == {"reports": []}


def test_unusable_prompts_are_reported(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt longer than the context is skipped with a reason; custom messages are used as they are."""
    own = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    prompts = [{"instruction": "word " * 600}, *read_prompts(json.dumps({"messages": own}), 1)]
    run = make(models, "too-long", asked(models, None), prompts)
    assert work(run, monkeypatch, models) is JobState.COMPLETED, run.read_status()
    long, short = groups(run)
    assert "512" in long["completions"][0]["problem"]
    assert "Be brief." in short["prompt"]
    assert "total" in short["completions"][0]


def test_a_reward_that_needs_a_reference_refuses_prompts_without(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a model is loaded, with a message."""
    reward = RewardSection(type="preset", preset_name="arithmetic")
    run = make(models, "no-reference", asked(models, None), [{"instruction": "Hi"}], reward=reward, best=1.2)
    assert work(run, monkeypatch, models) is JobState.FAILED
    assert "needs the column response" in str(run.read_status())


@pytest.fixture(scope="module")
def gguf(models: Home) -> Asked:
    """The random model as a GGUF."""
    from core.training.rollouts.llama_cpp import base_gguf

    file = base_gguf(models.cache / "models" / "tiny", models)
    return Asked(label="file", model_path="", resolved={"kind": "gguf", "path": str(file)})


def test_a_gguf_answers_in_a_separate_process(models: Home, gguf: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with the same weights in transformers: the same prompt, the same greedy answers."""
    run = make(models, "gguf", (*asked(models, None), gguf), QUESTIONS[:4])
    assert work(run, monkeypatch, models) is JobState.COMPLETED, run.read_status()
    found = {(group["model"], group["place"]): group for group in groups(run)}
    assert all(found[0, place]["prompt"] == found[1, place]["prompt"] for place in range(4))
    texts = {key: group["completions"][0]["text"].strip() for key, group in found.items()}
    # 16-bit rounding may decide between two nearly equally likely tokens.
    assert sum(texts[0, place] == texts[1, place] for place in range(4)) >= 3


def test_a_file_that_is_not_a_model_ends_the_evaluation_with_a_message(
    models: Home, gguf: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever llama.cpp does: the worker survives, names the file, and keeps the other models' answers."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing else")
    bad = gguf.model_copy(update={"resolved": {"kind": "gguf", "path": str(broken)}})
    run = make(models, "gguf-broken", (*asked(models, None), bad), QUESTIONS[:4])
    assert work(run, monkeypatch, models) is JobState.FAILED
    assert "broken.gguf" in str(run.read_status())
    assert sum(group["model"] == 0 for group in groups(run)) == 4


def texts(run: JobDir) -> dict[tuple[int, int], str]:
    return {(group["model"], group["place"]): group["completions"][0]["text"] for group in groups(run)}


def killing(patch: pytest.MonkeyPatch, op: str, *times: int) -> list[str]:
    """Kill llama.cpp's process just before the given requests of type ``op``; returns the requests."""
    asked_for: list[str] = []
    ask = Child.ask

    def wrapped(child: Child, request: dict[str, Any]) -> dict[str, Any]:
        asked_for.append(request["op"])
        if request["op"] == op and asked_for.count(op) in times:
            child.process.kill()
            child.process.wait()
        return ask(child, request)

    patch.setattr(Child, "ask", wrapped)
    return asked_for


def test_llama_cpp_answers_for_bases_and_adapters_as_transformers_does(
    models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word, even if its process is killed once; with the setting off there is no process."""
    asked_for = killing(monkeypatch, "generate", 1)
    slow = make(models, "slow", asked(models, None, trained), QUESTIONS[:6], rollout_engine="transformers")
    assert work(slow, monkeypatch, models) is JobState.COMPLETED, slow.read_status()
    assert asked_for == []
    fast = make(models, "fast", asked(models, None, trained), QUESTIONS[:6])
    assert work(fast, monkeypatch, models) is JobState.COMPLETED, fast.read_status()
    assert asked_for.count("generate") == 3
    written, wanted = texts(fast), texts(slow)
    assert written.keys() == wanted.keys()
    # 16-bit rounding may decide between two nearly equally likely words of a random model.
    assert sum(written[key] == wanted[key] for key in wanted) >= len(wanted) - 2
    status = fast.read_status()
    assert status is not None
    assert (status.notes, status.step, fast.rollout.exists()) == ((), 12, False)


def test_where_llama_cpp_is_not_the_same_model_transformers_answers(
    models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note says which model and why; llama.cpp still answers for the other one."""
    monkeypatch.setattr(gguf_adapter, "write", _without_values)
    asked_for = killing(monkeypatch, "generate", 0)
    run = make(models, "not-the-same", asked(models, None, trained), QUESTIONS[:2])
    assert work(run, monkeypatch, models) is JobState.COMPLETED, run.read_status()
    status = run.read_status()
    assert status is not None
    assert len(status.notes) == 1
    assert "model 1: Answers are generated by transformers" in status.notes[0]
    assert "mean KL" in status.notes[0]
    assert asked_for.count("generate") == 1
    assert len(groups(run)) == 4


def _without_values(path: Path, arch: str, adapted: list[gguf_adapter.LoraLayer]) -> None:
    """An adapter that arrives without effect."""
    kept = [layer.module.lora_B["default"].weight for layer in adapted]
    values = [weight.data for weight in kept]
    for weight in kept:
        weight.data = torch.zeros_like(weight)
    WRITE(path, arch, adapted)
    for weight, value in zip(kept, values, strict=True):
        weight.data = value


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_a_gguf_answers_many_prompts_as_it_answers_one(models: Home, gguf: Asked, temperature: float) -> None:
    """Greedy and sampled: an answer depends only on its position, whatever is in the same batch."""
    prompts = [*QUESTIONS[:5], {"instruction": "word " * 300}]
    run = make(models, f"many-{temperature}", (gguf,), prompts, temperature=temperature, seed=3)
    spec = EvaluationSpec.model_validate(run.read_config())
    questions = [(place, asking.conversation(prompt, spec.dataset)) for place, prompt in enumerate(prompts)]
    with closing(InLlama(gguf.resolved["path"], spec, lambda: False)) as llama:
        together = dict(one for piece in llama.answers(questions) for one in piece)
        alone = dict(one for question in questions for piece in llama.answers([question]) for one in piece)
    assert sorted(together) == sorted(alone) == list(range(6))
    # The last bit may decide between two nearly equally likely words of a random model.
    assert sum(together[place] == alone[place] for place in range(6)) >= 5
    assert len({one.text for one in together.values()}) > 1


def test_a_gguf_whose_process_is_killed_keeps_its_answers(
    models: Home, gguf: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once is not reported. After twice, the evaluation ends with an error; a resume does the rest.

    The answers equal those of an uninterrupted evaluation.
    """
    monkeypatch.setattr(answering, "LOOK", 0.0)  # check after every token
    prompts = [*QUESTIONS[:3], {"instruction": "word " * 300}]  # the long one comes after the others
    whole = make(models, "gguf-whole", (gguf,), prompts)
    assert work(whole, monkeypatch, models) is JobState.COMPLETED, whole.read_status()
    revived = make(models, "gguf-revived", (gguf,), prompts)
    with pytest.MonkeyPatch.context() as patch:
        killing(patch, "more", 3)  # in the middle of three answers
        assert work(revived, monkeypatch, models) is JobState.COMPLETED
    assert texts(revived) == texts(whole)
    run = make(models, "gguf-killed", (gguf,), prompts)
    with pytest.MonkeyPatch.context() as patch:
        killing(patch, "open", 2, 3)  # once is not reported
        assert work(run, monkeypatch, models) is JobState.FAILED
    assert "signal 9" in str(run.read_status())
    assert sorted(texts(run)) == [(0, 0), (0, 1), (0, 2)]
    assert work(run, monkeypatch, models) is JobState.COMPLETED
    assert texts(run) == texts(whole)
