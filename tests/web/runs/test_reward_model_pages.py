"""Pages and endpoints of a run that trained a reward model: its report, and nothing that needs a model that writes."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import pytest

from core.errors import Conflict
from core.job import JobState
from core.job_dir import JobDir, JsonlWriter, write_json
from core.reward import Item
from core.reward_report import PairScores, report
from core.settings import Home
from services.container import Services
from services.runs import score_files
from tests.conftest import Browser, tiny
from tests.support.live import until
from tests.support.run_made import OTHER, RUN, make, text

PAIRED = {"source": "upload:20260101-090000-cccccc", "chosen_field": "better", "rejected_field": "worse"}


def config(**section: Any) -> dict[str, Any]:
    """The configuration of a small reward model."""
    plain = {name: value for name, value in tiny().items() if name in {"name", "model"}}
    return {**plain, "method": "reward_model", "dataset": PAIRED, "reward_model": section}


def pairs(shift: float = 0.0) -> list[PairScores]:
    """Forty pairs, of which 36 are ranked correctly."""
    return [
        PairScores(
            key=f"{place}", chosen=1 + shift, rejected=0.0 if place else 2.0 + place / 40, chosen_tokens=5 + place % 7,
            rejected_tokens=9, shuffled=0.5, empty=-3.0, flattered=1.5 + shift, rejected_flattered=1.2,
        )
        if place >= 4
        else PairScores(
            key=f"{place}", chosen=0.0, rejected=1.0, chosen_tokens=5, rejected_tokens=9, shuffled=0.5, empty=-3.0,
            flattered=-1.0, rejected_flattered=1.2,
        )
        for place in range(40)
    ]  # fmt: skip


def scored(services: Services, run_id: str = RUN, shift: float = 0.0, **section: Any) -> JobDir:
    """A finished run with its report."""
    run = make(services, JobState.COMPLETED, run_id=run_id, config=config(**section), checkpoint=6)
    run.adapter.mkdir()
    write_json(run.reward_report, report(6, pairs(shift)).model_dump(mode="json"))
    return run


def evaluated(run: JobDir) -> None:
    """Evaluations before and after, that show a gain."""
    writer = JsonlWriter(run.metrics)
    for step in range(1, 7):
        writer.append({"phase": "training", "step": step, "loss": 0.6, "preference_accuracy": 0.8, "grad_norm": 1.0})
    for when, step, share, change in (("before", 0, 0.5, None), ("end", 6, 0.9, 0.4)):
        row = {"phase": "evaluation", "step": step, "when": when, "loss": 0.5, "samples": 40}
        row |= {
            "preference_accuracy": share,
            "preference_accuracy_low": share - 0.1,
            "preference_accuracy_high": share + 0.05,
        }
        if change:
            row |= {"accuracy_change": change, "accuracy_change_low": 0.2, "accuracy_change_high": 0.5}
        writer.append(row)
    writer.close()


def test_the_run_s_page_shows_what_its_scores_are_worth(browser: Browser, services: Services) -> None:
    """Figures with intervals, the calibration as a drawing and as a table, and no button for a chat."""
    run = scored(services)
    evaluated(run)
    page = text(browser, f"/runs/{RUN}")
    assert "90% (36 of 40; 95% interval 76% to 97%)" in page
    assert "Flattery puts a worse answer ahead of the better one" in page
    assert '<circle cx="' in page
    assert "No other run has scored these held-out pairs." in page
    assert f"run:{RUN}" in page
    assert "Use it as a reward, or export it." in page
    assert 'data-testid="go-export"' in page
    for missing in ("go-test", "go-evaluate", "tab-answers"):
        assert f'data-testid="{missing}"' not in page


def test_another_seed_is_compared_on_the_same_pairs(browser: Browser, services: Services) -> None:
    """The button makes a setup with another seed of the model; a finished run with one shows how far both agree."""
    scored(services)
    scored(services, OTHER, shift=0.5, model_seed=43)
    page = text(browser, f"/runs/{RUN}")
    assert "100% (40 of 40; 95% interval 91% to 100%)" in page
    answer = browser.get(f"/api/training/sessions/{RUN}/reward-report").get_json()
    assert answer["report"]["accuracy"]["count"] == 36
    assert "pairs" not in answer["report"]
    assert [(one["session_id"], one["same"]["share"]) for one in answer["agreement"]] == [(OTHER, 1.0)]
    assert browser.post(f"/runs/{OTHER}/reseed").status_code == 302
    draft = services.wizard.config()
    assert (draft["method"], draft["reward_model"]["model_seed"]) == ("reward_model", 44)


def test_a_run_without_a_report_says_so(browser: Browser, services: Services) -> None:
    make(services, JobState.COMPLETED, [0.1, 0.2])
    answer = browser.get(f"/api/training/sessions/{RUN}/reward-report")
    assert answer.status_code == 404
    assert "has no report on a reward model" in answer.get_json()["error"]["message"]
    assert 'data-testid="scores"' not in text(browser, f"/runs/{RUN}")
    browser.post(f"/runs/{RUN}/use-reward")
    assert "not one that scores them" in text(browser, f"/runs/{RUN}")


def test_it_becomes_a_reward_with_a_click(browser: Browser, services: Services) -> None:
    """In the setup, in the list of the reward's editor, in the reward tester and for an evaluation."""
    scored(services)
    browser.get(f"/runs/{RUN}")
    assert browser.post(f"/runs/{RUN}/use-reward").status_code == 302
    draft = services.wizard.config()
    (part,) = draft["reward"]["components"]
    assert part == {"name": "reward_model", "params": {"model": f"run:{RUN}"}}
    assert f'<option value="run:{RUN}">' in text(browser, "/new/reward")
    assert f'value="run:{RUN}"' in text(browser, "/rewards/bench")
    assert f'value="run:{RUN}"' in text(browser, "/evaluations/new")


@pytest.mark.parametrize("format", ["gguf", "adapter_gguf"])
def test_there_is_no_gguf_of_it(browser: Browser, services: Services, format: str) -> None:  # noqa: A002
    """Neither on the page nor by the API, which says why."""
    scored(services)
    page = text(browser, f"/exports?session_id={RUN}")
    assert 'value="merged"' in page
    assert 'value="adapter"' in page
    assert "gguf/" not in page
    assert 'data-testid="no-gguf"' in page
    body = {"session_id": RUN, "format": format, **({"quantization": "q8_0"} if format == "gguf" else {})}
    refused = browser.post("/api/exports/create", json=body)
    assert refused.status_code == 400
    assert "scores answers and writes none" in refused.get_json()["error"]["message"]


def test_nothing_offers_to_chat_with_it(browser: Browser, services: Services) -> None:
    """It is in no list of models that write, and a reference to it is refused with the reason."""
    scored(services)
    assert browser.get("/api/models/list").get_json()["trained"] == []
    assert f"session:{RUN}" not in text(browser, "/playground")
    assert f"session:{RUN}" not in text(browser, "/evaluations/new")
    body = {"model_path": f"session:{RUN}", "prompt": "Hello"}
    refused = browser.post("/api/models/test", json=body)
    assert refused.status_code == 400
    assert "scores answers and writes none" in refused.get_json()["error"]["message"]
    services.wizard.load(config())
    home = text(browser, "/")
    assert "/playground?session_id" not in home


def test_exports_of_both_kinds_are_reached(browser: Browser, services: Services) -> None:
    """Formats belong to a kind of run, so the form lists one kind and links to the other."""
    make(services, JobState.COMPLETED, [0.1, 0.2, 0.3], run_id=OTHER, checkpoint=3)
    scored(services)
    writes = text(browser, f"/exports?session_id={OTHER}")
    assert "gguf/q4_k_m" in writes
    assert f"/exports?session_id={RUN}" in writes
    assert f"/exports?session_id={OTHER}" in text(browser, f"/exports?session_id={RUN}")


def uploaded(services: Services, rows: list[dict[str, Any]]) -> str:
    data = "\n".join(map(json.dumps, rows)).encode()
    return f"upload:{services.datasets.save_upload(io.BytesIO(data), 'four.jsonl').id}"


def four(count: int) -> list[dict[str, Any]]:
    """Rows in the form of RewardBench 2, of which all but the first have the longest answer as the right one."""
    return [
        {
            "id": str(place), "prompt": f"Question {place}?", "subset": "odd" if place % 2 else "even",
            "chosen": ["x" if not place else "x" * 9], "rejected": ["xx", "xxx", "xxxx"], "num_correct": 1,
        }
        for place in range(count)
    ]  # fmt: skip


def judging(monkeypatch: pytest.MonkeyPatch, home: Home, wait: threading.Event | None = None) -> None:
    """A reward model whose score is the length of the answer; it waits before its second batch."""
    monkeypatch.setenv("TUNESMITH_HOME", str(home.root))
    batches: list[int] = []

    def lengths(items: list[Item], *, model: str) -> list[float | str]:
        batches.append(len(items))
        if wait and len(batches) > 1:
            wait.wait(60)
        return [float(len(item.completion)) for item in items]

    monkeypatch.setattr(score_files, "raw_scores", lengths)


def ended(services: Services) -> score_files.ScoredFile:
    return until(lambda: services.score_files.list(RUN)[0], lambda found: found.state != "scoring")


def test_a_file_in_the_form_of_rewardbench_is_scored(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the page and by the API: the accuracy, by subset, with intervals."""
    scored(services)
    judging(monkeypatch, services.settings.home)
    source = uploaded(services, four(6))
    page = text(browser, f"/runs/{RUN}")
    assert f'<option value="{source}">four.jsonl' in page
    assert browser.post(f"/runs/{RUN}/score-file", form={"dataset": source}).status_code == 302
    assert ended(services).state == "completed"
    page = text(browser, f"/runs/{RUN}")
    assert "83% (5 of 6; 95% interval 36% to 100%)" in page
    assert "67% (2 of 3" in page
    assert browser.post(f"/api/training/sessions/{RUN}/score-files", json={"dataset": source}).status_code == 202
    ended(services)
    files = browser.get(f"/api/training/sessions/{RUN}/score-files").get_json()["files"]
    assert [(one["state"], one["result"]["overall"]["right"]["count"]) for one in files] == [("completed", 5)] * 2


def test_scoring_can_be_canceled_and_is_not_lost_silently(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second file has to wait; what a server left behind is said to be interrupted."""
    run, gate = scored(services), threading.Event()
    judging(monkeypatch, services.settings.home, gate)
    source = uploaded(services, four(6))
    entry = services.score_files.start(RUN, source, "four.jsonl")
    until(lambda: services.score_files.list(RUN)[0].done, lambda done: done == 8)
    assert "8 of 24 answers scored." in text(browser, f"/runs/{RUN}")
    with pytest.raises(Conflict, match="scoring a file already"):
        services.score_files.start(RUN, source, "four.jsonl")
    assert browser.post(f"/runs/{RUN}/score-cancel", form={"file": entry.id}).status_code == 302
    gate.set()
    assert ended(services).state == "canceled"
    left = {**entry.model_dump(mode="json"), "state": "scoring"}
    write_json(run.scored / f"{entry.id}.json", left)
    assert "The server was stopped in between" in text(browser, f"/runs/{RUN}")


def test_only_files_of_this_form_and_reward_models_are_taken(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(services)
    make(services, JobState.COMPLETED, [0.1], run_id=OTHER)
    judging(monkeypatch, services.settings.home)
    plain = uploaded(services, [{"question": "q", "answer": "a"}])
    place = "/api/training/sessions/{}/score-files"
    for run, source, why in (
        (RUN, plain, "Row 1 has no prompt"),
        (RUN, "generated:arithmetic", "Upload the file"),
        (RUN, "upload:20260101-090000-cccccc", "dataset"),
        (OTHER, uploaded(services, four(2)), "has not trained a reward model"),
    ):
        browser.get("/")
        refused = browser.post(place.format(run), json={"dataset": source})
        assert refused.status_code in {400, 404, 409}
        assert why in refused.get_json()["error"]["message"]
