"""What a trained reward model is used for: exports, and the reward of another run. Also one without an adapter."""

from __future__ import annotations

import json

import pytest

from core.delivery.card import model_card
from core.job import JobState
from core.job_dir import JobDir, iter_lines, read_json, whole_lines, write_json
from core.reward import Item, Markers
from core.reward_report import sigmoid
from core.rewards import classifier
from core.rewards import reward_model as judging
from core.settings import Home
from core.training.models.scorer import load_scorer
from tests.training.reward_runs import CPU, report_of, reward_run
from tests.training.worker_runs import TINY, changed, make_run, rows, work

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]


def test_every_weight_can_be_trained(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole model is published with its score, gives the report's scores, and is exported as it is."""
    values = {"model__adapter": "none", "training__max_steps": 4, "training__learning_rate": 1e-3}
    run = make_run(models, "reward-every-weight", reward_run(models, **values, evaluation__holdout_fraction=0.2))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert not run.adapter.exists()
    scorer, row = load_scorer(run, models, CPU), whole_lines(run.prepared / "holdout.jsonl")[0]
    (again,) = scorer.scores([scorer.ids(row["instruction"], row["chosen"])])
    assert again == pytest.approx(report_of(run).pairs[0].chosen, abs=1e-5)
    result = read_json(export(models, monkeypatch, run, "merged").result) or {}
    assert result["fidelity"][0]["verdict"] == "faithful"
    assert "model_sha256" in result["origin"]


def export(models: Home, monkeypatch: pytest.MonkeyPatch, run: JobDir, kind: str) -> JobDir:
    job = JobDir(models.exports / f"{run.path.name}-{kind}")
    job.path.mkdir(parents=True)
    spec = {"kind": "export", "session_id": run.path.name, "format": kind, "name": "Judge", "created_at": ""}
    write_json(job.config, spec)
    state = work(job, monkeypatch, models)
    status = job.read_status()
    assert status
    assert state == JobState.COMPLETED, status.error
    assert status.step == status.max_steps
    return job


@pytest.mark.parametrize("kind", ["merged", "adapter"])
def test_an_export_scores_like_the_run(
    finished: JobDir, models: Home, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Its own commands, run as they are, print the score; the check compared it with the trained model."""
    job = export(models, monkeypatch, finished, kind)
    result = read_json(job.result) or {}
    assert result["origin"]["head"] == "score"
    (check,) = result["fidelity"]
    assert (check["subject"], check["verdict"]) == (kind, "faithful")
    (command,) = result["commands"]
    code = command["text"].replace('"builtin:tiny"', repr(str(models.cache / "models" / "tiny")))
    assert '{"role": "system", "content": "Add."}' in code
    printed: list[float] = []
    monkeypatch.chdir(job.files)
    exec(compile(code, "command", "exec"), {"print": printed.append})
    scorer = load_scorer(finished, models, CPU)
    (wanted,) = scorer.scores([scorer.ids("What is 2 + 2?", "4")])
    assert printed == [pytest.approx(wanted, abs=0.05 if kind == "merged" else 1e-5)]
    if kind == "merged":
        settings = json.loads((job.files / "config.json").read_text())
        assert settings["architectures"] == ["LlamaForSequenceClassification"]
        assert (settings["id2label"], settings["pad_token_id"]) == ({"0": "score"}, scorer.tokenizer.pad_token_id)
        assert "text-classification" in model_card(job, models, repo="me/judge")
        assert "The better answer scores higher" in model_card(job, models, repo="me/judge")


def test_it_is_the_reward_of_another_run(finished: JobDir, models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """GRPO learns from its scores, each as the report's mean and deviation place it."""
    component = {"name": "reward_model", "params": {"model": f"run:{finished.path.name}"}}
    reward = {"type": "composite", "components": [component]}
    config = {**changed(TINY, training__max_steps=2, training__save_steps=2), "reward": reward}
    run = make_run(models, "reward-taught", config)
    try:
        assert work(run, monkeypatch, models) == JobState.COMPLETED
    finally:
        classifier.close_all()
    groups = [group for group in iter_lines(run.completions) if group["phase"] == "training"]
    report, scorer = report_of(finished), load_scorer(finished, models, CPU)
    for group in groups[:2]:
        answer = group["completions"][0]
        (raw,) = scorer.scores([scorer.ids(group["instruction"], answer["text"])])
        assert answer["total"] == pytest.approx(sigmoid((raw - report.mean) / report.deviation), abs=1e-4)
    assert all(row["reward"] > 0 for row in rows(run, "training"))


def test_a_run_that_is_no_reward_model_gives_no_score(
    models: Home, trained: JobDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is known before a process is started."""
    monkeypatch.setenv("TUNESMITH_HOME", str(models.root))
    markers = Markers("<w>", "</w>", "<s>", "</s>")
    item = Item("4", "What is 2 + 2?", {})
    for model, why in (
        ("run:exported", "the run exported has not trained a reward model"),
        ("run:nowhere", "there is no run 'nowhere'"),
        ("run:../elsewhere", "there is no run '../elsewhere'"),
    ):
        (found,) = judging.reward_model([item], markers=markers, model=model)
        assert found.value == 0
        assert why in found.why
    assert not classifier.RUNNING
