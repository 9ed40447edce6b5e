"""The model card of an export: what it contains, and what it leaves out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from core.delivery.card import model_card
from core.job_dir import JobDir, write_json
from core.settings import Home
from tests.support.second_method import install
from tests.web.exports.test_deliveries import EXPORT, SESSION, lay_out


def card_of(home: Home, **about: Any) -> ModelCard:
    export = JobDir(home.exports / EXPORT)
    if about:
        write_json(export.config, {**export.read_config(), **about})
    return ModelCard(model_card(export, home, repo="me/sums", licence="Apache-2.0"))


def test_a_card_says_what_a_model_is_made_of(home: Home) -> None:
    """Base model, data, reward, configuration, evaluation, comparison, versions, and how to reproduce it."""
    lay_out(home)
    text = card_of(home).text
    for words in (
        "57 training rows and 7 held-out rows", "ef" * 32, "| numeric | 1 | yes |",
        "0.125 before training, 0.750 at step 6",
        "No interval was computed", "| Q4\\_K\\_M | **loses quality** | 91.0% | 0.02 | +0.100 (+0.010 to +0.200) |",
        "rank 16, alpha 32", "flask --app flask_app train config.json", "ollama run sums", "torch",
    ):  # fmt: skip
        assert words in text, words
    assert "sums \\| and more" in text


def test_a_card_of_a_local_model_names_no_path_and_no_license_that_it_does_not_know(home: Home) -> None:
    """Only the folder's last part; the license is given to the Hub as 'other'."""
    lay_out(home)
    session = JobDir(home.outputs / SESSION)
    asked: dict[str, Any] = session.read_config()
    asked["config"]["model"]["name"] = "/home/person/models/own-model"
    asked["config"]["dataset"]["source"] = "/home/person/rows"
    judge = {"name": "judge", "params": {"url": "http://10.0.0.7/v1", "rubric": "Is it right?"}}
    asked["config"]["reward"] = {"type": "composite", "components": [judge]}
    write_json(session.config, asked)
    export = JobDir(home.exports / EXPORT)
    text = model_card(export, home, repo="me/sums")
    assert "/home/person" not in text
    assert "10.0.0.7" not in text
    head = ModelCard(text).data.to_dict()
    assert (head["license"], head["license_name"], "base_model" in head) == ("other", "as-the-base-model", False)


def test_the_card_of_a_run_without_a_reward_has_its_loss(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    lay_out(home)
    session = JobDir(home.outputs / SESSION)
    asked: dict[str, Any] = session.read_config()
    asked["config"] = {name: asked["config"][name] for name in ("name", "model", "dataset")} | {"method": "imitate"}
    write_json(session.config, asked)
    shared = {"phase": "evaluation", "samples": 12}
    rows = [{"row": 1, "step": 0, "loss": 2.0, **shared}, {"row": 2, "step": 6, "loss": 1.25, **shared}]
    session.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = card_of(home).text
    assert "Mean loss (lower is better) on 12 held-out prompts: 2.000 before training, 1.250 at step 6." in text
    assert "No interval was computed" in text
    assert "## Reward" not in text

    rows = [
        *rows[:1],
        {**rows[1], "loss_change_low": -1.0, "loss_change_high": -0.5},
        {**rows[1], "step": 9, "loss": 1.5},
    ]
    session.metrics.write_text("".join(json.dumps({**row, "row": n}) + "\n" for n, row in enumerate(rows, 1)))
    kept = {"metric": "loss", "step": 6, "value": 1.25, "published": True, "ended": 9, "planned": 40}
    write_json(session.kept, kept)
    text = card_of(home).text
    assert (
        "1.250 at step 6. 95% interval of the change: -1.000 to -0.500. Training ended early, after step 9 of 40. This "
        "is the step with the best of all evaluations, 6."
    ) in text


@pytest.mark.parametrize("gone", [lambda home: shutil.rmtree(home.outputs / SESSION)])
def test_a_card_without_its_run_still_has_a_head(home: Home, gone: Callable[[Home], None]) -> None:
    """The run may have been deleted."""
    lay_out(home)
    gone(home)
    assert card_of(home).data.to_dict()["pipeline_tag"] == "text-generation"


def test_the_paired_evaluation_is_in_the_card_with_its_interval(home: Home) -> None:
    """As the run wrote it when it ended."""
    from core.evaluation import Answered, RunEvaluation, paired_report

    lay_out(home)
    answers = [
        tuple(Answered("q", "r", "t", total, {"numeric": total}, solved=total == 1.0) for total in (0.0, after))
        for after in (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0)
    ]
    report = paired_report([(one[0], one[1]) for one in answers], first="base", second="trained")
    assert report is not None
    path: Path = home.outputs / SESSION / "evaluation.json"
    write_json(path, RunEvaluation(step=6, report=report).model_dump(mode="json"))
    text = card_of(home).text
    assert "On 8 held-out prompts" in text
    assert f"| Reward | 0.000 | 0.875 | +0.875 | {report.score.low:+.3f} to {report.score.high:+.3f} |" in text
    assert "McNemar" in text


def test_the_adapter_is_described_with_what_it_trains(home: Home) -> None:
    """Its kind, its layers, and the worker's count, if the run has one."""
    lay_out(home)
    session = JobDir(home.outputs / SESSION)
    assert "| Trained |" not in card_of(home).text
    status = session.read_status()
    assert status
    session.write_status(status.model_copy(update={"trained_parameters": 1_843_200, "parameters": 136_358_208}))
    asked: dict[str, Any] = session.read_config()
    asked["config"]["model"] |= {"lora_preset": "feed_forward", "use_dora": True, "use_rslora": True}
    write_json(session.config, asked)
    text = card_of(home).text
    assert "| DoRA | rank 16, alpha 32, rank-stabilized, feed-forward layers |" in text
    assert "| Trained | 1,843,200 of 136,358,208 parameters (1.4%) |" in text
