"""Evaluations over HTTP: the worker gets what was requested, and its answers can be viewed and downloaded."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.evaluation import EvaluationSpec
from core.job import JobKind, JobState, JobStatus
from core.job_dir import JobDir, JsonlWriter, iter_lines, write_json
from pages.evaluations.report import word_diff
from services.container import Services
from services.jobs.database import Job
from services.jobs.rebuild import rebuild
from services.jobs.watcher import crash_words
from tests.conftest import Browser, tiny
from tests.support.second_method import install
from tests.web.exports.test_exports import create, finish
from tests.web.runs.test_runs import follow, start

BASE = "builtin:smollm2-135m-instruct"


@pytest.fixture
def trained(client: FlaskClient, services: Services) -> str:
    """A finished run with held-out rows."""
    session_id = start(client, tiny("sums", max_steps=2))
    follow(services, session_id, "completed")
    prepared = services.settings.home.outputs / session_id / "prepared"
    prepared.mkdir(exist_ok=True)
    rows = [{"instruction": f"{a} + 1", "response": str(a + 1)} for a in range(40)]
    (prepared / "holdout.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return session_id


def test_a_run_without_a_reward_asks_what_scores_its_answers(
    client: FlaskClient, browser: Browser, trained: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers are not scored by a reward it never had; the form preselects 'none'."""
    install(monkeypatch)
    copied = {name: section for name, section in tiny("copies").items() if name not in {"reward", "training"}}
    services.database.update(trained, config={**copied, "method": "imitate"})
    asked: dict[str, Any] = {"models": [BASE], "session_id": trained, "limit": 30}
    assert '<option value="none" selected>' in browser.get(f"/evaluations/new?session_id={trained}").text
    refused = client.post("/api/evaluations/start", json=asked)
    assert refused.status_code == 400
    assert (refused.json or {})["error"]["field"] == "reward"
    begin(client, BASE, session_id=trained, limit=30, scored=False)
    begin(client, BASE, session_id=trained, limit=30, reward={"type": "preset", "preset_name": "math"})


def begin(client: FlaskClient, *models: str, **body: Any) -> str:
    response = client.post("/api/evaluations/start", json={"models": list(models), **body})
    assert response.status_code == 202, response.json
    return str((response.json or {})["evaluation_id"])


def ran(services: Services, evaluation_id: str, right: dict[int, set[int]], prompts: int = 30) -> None:
    """Write a worker's output: model ``m`` solves the prompts in ``right[m]``; its other answers are well-formed."""
    run = JobDir(services.settings.home.outputs / evaluation_id)
    writer = JsonlWriter(run.completions)
    for model, solved in right.items():
        for place in range(prompts):
            score = float(place in solved)
            parts = {
                "numeric": {"score": score, "weight": 1.0, "why": "as it is"},
                "format": {"score": 1.0, "weight": 0.2, "why": "both markers"},
            }
            answer = {"text": f"It is {place + score:.0f}.", "tokens": 5, "cut_off": False, "total": score + 0.2}
            row = {"phase": "evaluation", "model": model, "place": place, "instruction": f"{place} + 1", "prompt": ""}
            writer.append({**row, "reference": str(place + 1), "completions": [{**answer, "components": parts}]})
    writer.close()
    steps = prompts * len(right)
    run.write_status(JobStatus(state=JobState.COMPLETED, step=steps, max_steps=steps))
    services.database.update(evaluation_id, state="completed", step=steps, max_steps=steps)


@pytest.fixture
def compared(client: FlaskClient, services: Services, trained: str) -> str:
    """The base model solves 3 of 30; the trained model solves 18, including two of those three."""
    evaluation_id = begin(client, BASE, f"session:{trained}", session_id=trained, limit=30)
    ran(services, evaluation_id, {0: {0, 1, 29}, 1: set(range(18))})
    return evaluation_id


def test_the_worker_gets_what_was_asked_for(client: FlaskClient, services: Services, trained: str) -> None:
    """Frozen held-out rows; the reward, answer tags, system prompt and lengths of the training; greedy decoding."""
    evaluation_id = begin(client, BASE, f"session:{trained}", session_id=trained, limit=30)
    run = JobDir(services.settings.home.outputs / evaluation_id)
    spec = EvaluationSpec.model_validate(run.read_config())
    assert [model.label for model in spec.models] == ["SmolLM2 135M Instruct", "sums"]
    assert spec.models[1].resolved["adapter"].endswith(f"{trained}/adapter")
    assert (spec.reward and spec.reward.preset_name, spec.best) == ("arithmetic", 1.2)
    assert (spec.temperature, spec.max_new_tokens, spec.rollout_engine) == (0, 8, "auto")
    assert len(list(iter_lines(run.given))) == 30
    view = client.get(f"/api/evaluations/{evaluation_id}").json or {}
    assert (view["status"], view["waiting"], view["source"]) == ("queued", True, "held-out questions of sums")


def test_models_are_called_by_words(services: Services, trained: str) -> None:
    """A run by its name, a checkpoint by its step, a base model or file by what tells it apart."""
    label = services.evaluations.specifier.label
    assert [label(f"session:{trained}"), label(f"session:{trained}@2")] == ["sums", "sums (step 2)"]
    assert [label(BASE), label("/models/one/base.gguf")] == ["SmolLM2 135M Instruct", "base.gguf"]


def test_prompts_come_from_a_file_or_a_dataset(client: FlaskClient, services: Services) -> None:
    """Lines and JSON lines are used as they are, without a score; a dataset is left to the worker."""
    text = 'Say hello.\n{"question": "2 + 2", "answer": 4}\n'
    run = JobDir(services.settings.home.outputs / begin(client, BASE, text=text, rollout_engine="transformers"))
    rows = list(iter_lines(run.given))
    assert [(row["instruction"], row.get("response")) for row in rows] == [("Say hello.", None), ("2 + 2", "4")]
    spec = EvaluationSpec.model_validate(run.read_config())
    assert (spec.reward, spec.rollout_engine) == (None, "transformers")
    dataset = {"source": "generated:arithmetic", "size": 10}
    reward = {"type": "preset", "preset_name": "arithmetic"}
    run = JobDir(services.settings.home.outputs / begin(client, BASE, dataset=dataset, reward=reward, limit=5))
    assert not run.given.exists()
    assert EvaluationSpec.model_validate(run.read_config()).dataset.size == 10


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"models": [BASE, BASE], "text": "Hi"}, "models"),
        ({"models": []}, "models"),
        ({"models": [BASE]}, "session_id"),
        ({"models": [BASE], "text": " \n"}, "text"),
        ({"models": [BASE], "text": '{"colour": "red"}'}, "text"),
        ({"models": [BASE], "text": '{"messages": [{"role": "robot", "content": "x"}]}'}, "text"),
        ({"models": [BASE], "text": "Hi", "dataset": {"source": "generated:arithmetic"}}, "dataset"),
        ({"models": [BASE], "dataset": {"source": "generated:arithmetic", "size": -1}}, "dataset"),
        ({"models": [BASE], "text": "Hi", "reward": {"type": "preset"}}, "reward"),
        ({"models": [BASE], "text": "Hi", "limit": 0}, "limit"),
    ],
)
def test_impossible_requests_are_refused_with_the_field(client: FlaskClient, body: dict[str, Any], field: str) -> None:
    """Before anything is queued."""
    response = client.post("/api/evaluations/start", json=body)
    assert response.status_code in {400, 422}, response.json
    assert (response.json or {})["error"]["field"] == field
    assert (client.get("/api/evaluations/list").json or {})["evaluations"] == []


def test_the_report_is_of_the_pairs(client: FlaskClient, compared: str) -> None:
    """Sixteen improved and one got worse: better, with McNemar's test and a confidence interval."""
    view = client.get(f"/api/evaluations/{compared}").json or {}
    report = view["reports"][0]
    assert (report["verdict"], report["only_second"], report["only_first"]) == ("better", 16, 1)
    assert report["score"]["difference"] == pytest.approx(0.5)
    assert report["score"]["low"] > 0.2
    assert report["components"]["format"]["difference"] == 0
    assert len(report["improved"]) == 5


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 30), ("show=improved", 16), ("show=worsened", 1), ("show=changed", 17), ("show=right&model=0", 3),
        ("show=right", 19), ("show=wrong&model=1", 12), ("q=it+is+7.", 2), ("q=29+%2B", 1), ("show=problem", 0),
    ],
)  # fmt: skip
def test_results_are_filtered_and_paged(client: FlaskClient, compared: str, query: str, count: int) -> None:
    """By text, model, right or wrong, and change."""
    found = client.get(f"/api/evaluations/{compared}/results?{query}&limit=10").json or {}
    assert found["total"] == count
    assert len(found["rows"]) == min(10, count)


def test_everything_can_be_downloaded(client: FlaskClient, compared: str) -> None:
    """CSV with one line per answer; JSON with everything."""
    table = list(csv.DictReader(io.StringIO(client.get(f"/api/evaluations/{compared}/results.csv").text)))
    assert len(table) == 60
    assert [table[1][name] for name in ("model", "answer", "reward", "right", "numeric")] == [
        "sums", "It is 1.", "1.2", "True", "1.0",
    ]  # fmt: skip
    whole = client.get(f"/api/evaluations/{compared}/results.json")
    assert "attachment" in whole.headers["Content-Disposition"]
    assert len((whole.json or {})["rows"]) == 30


def test_answers_can_be_read_before_the_end(client: FlaskClient, services: Services, trained: str) -> None:
    """Stopped in the middle of the second model: rows, a report on the complete pairs, and Resume."""
    evaluation_id = begin(client, BASE, f"session:{trained}", session_id=trained, limit=30)
    ran(services, evaluation_id, {0: set()})
    ran(services, evaluation_id, {1: {0, 1, 2, 3, 4, 5, 6}}, prompts=12)
    services.database.update(evaluation_id, state="stopped")
    view = client.get(f"/api/evaluations/{evaluation_id}").json or {}
    assert (view["resumable"], view["reports"][0]["pairs"]) == (True, 12)
    assert (client.get(f"/api/evaluations/{evaluation_id}/results").json or {})["total"] == 30
    assert client.post(f"/api/evaluations/{evaluation_id}/resume").status_code == 202
    assert client.delete(f"/api/evaluations/{evaluation_id}").status_code == 409
    assert client.post(f"/api/evaluations/{evaluation_id}/stop").status_code == 202
    assert client.delete(f"/api/evaluations/{evaluation_id}").status_code == 204
    assert client.get(f"/api/evaluations/{evaluation_id}").status_code == 404


def test_a_lost_database_loses_no_evaluation(services: Services, compared: str) -> None:
    """It is restored from its folder; after a crash the page says what is kept."""
    services.database.delete(compared)
    rebuild(services.settings.home, services.database)
    job = services.database.job(compared, JobKind.EVALUATION)
    assert (job.state, job.step, job.name) == ("completed", 60, "SmolLM2 135M Instruct and sums")
    assert services.evaluations.get(compared).reports[0]["verdict"] == "better"
    assert "Resume asks the remaining questions" in crash_words(job, -9, "")


def test_the_pages_show_it(browser: Browser, services: Services, compared: str, trained: str) -> None:
    """The list, the form prefilled for a run, the verdict with a diff, the table with filters, the run's own page."""
    assert "SmolLM2 135M Instruct and sums" in browser.get("/evaluations").text
    form = browser.get(f"/evaluations/new?session_id={trained}").text
    assert f'<option value="session:{trained}" selected>' in form
    assert f'<option value="{BASE}" selected>' in form
    page = browser.get(f"/evaluations/{compared}?show=improved").text
    assert "sums is better than SmolLM2 135M Instruct on 30 questions: average reward " in page
    assert "<del>" in page
    assert re.search(r"<dt>Smallest detectable difference</dt><dd>[\d.]+ in reward, with 80% power</dd>", page)
    assert "16 questions, page 1 of 1" in page
    report = services.evaluations.reports(compared)[0].model_dump(mode="json")
    # The placeholder is there before the run ends, so that a live page can fill it.
    assert '<div id="run-evaluation" data-live hidden></div>' in browser.get(f"/runs/{trained}").text
    for first in ("the base model", "the model it went on from"):
        mine = {"step": 2, "report": {**report, "first": first}}
        write_json(JobDir(services.settings.home.outputs / trained).evaluation, mine)
        run = browser.get(f"/runs/{trained}").text
        assert f"Is it better than {first}?" in run
    assert f"/evaluations/new?session_id={trained}" in run
    found = browser.client.get(f"/api/training/sessions/{trained}/evaluation").json or {}
    assert found["report"]["verdict"] == "better"


def test_a_finished_run_is_offered_before_a_newer_one_that_crashed(
    client: FlaskClient, browser: Browser, services: Services, trained: str
) -> None:
    """Both have an adapter; the crashed run is chosen only if the address asks for it."""
    crashed = start(client, tiny("crashed"))
    follow(services, crashed, "completed")
    services.database.update(crashed, state=JobState.CRASHED)
    for session_id in (trained, crashed):
        JobDir(services.settings.home.outputs / session_id).adapter.mkdir(exist_ok=True)
    assert re.search(rf'value="session:{trained}"\s+selected', browser.get("/evaluations/new").text)
    asked = browser.get(f"/evaluations/new?session_id={crashed}").text
    assert re.search(rf'value="session:{crashed}"\s+selected', asked)


def test_the_form_starts_one_and_keeps_what_was_typed(browser: Browser, services: Services) -> None:
    """The error for a wrong number is shown on the form; a valid form redirects to the evaluation."""
    browser.get("/evaluations/new")
    form = {"model_1": BASE, "prompts": "typed", "typed": "What is 1 + 1?", "reward": "none", "temperature": "hot"}
    refused = browser.post("/evaluations/new", form=form)
    assert "Temperature: enter a number from 0 to 5" in refused.text
    assert "What is 1 + 1?" in refused.text
    started = browser.post("/evaluations/new", form={**form, "temperature": "0"})
    assert started.status_code == 302
    assert len(services.evaluations.list()) == 1
    view = services.evaluations.list()[0]
    browser.post(f"/evaluations/{view.evaluation_id}/stop")
    assert services.evaluations.get(view.evaluation_id).job.status == "stopped"


def test_a_diff_puts_both_texts_together() -> None:
    """Kept and removed parts give the first text, kept and added parts the second, including spaces."""
    before, after = "The sum of 2 and 3\n is  41.", "I think the sum is  5."
    pieces = word_diff(before, after)
    assert "".join(piece.text for piece in pieces if piece.kind != "new") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "gone") == after


def test_what_an_evaluation_needs_is_not_deleted(client: FlaskClient, services: Services, trained: str) -> None:
    """The run or export that answers and the upload with the prompts, until the evaluation has ended."""
    exported = create(client, trained)
    finish(services, exported, "completed")
    rows = b"".join(b'{"question": "%d + 1", "answer": "%d"}\n' % (a, a + 1) for a in range(20))
    upload = {"file": (io.BytesIO(rows), "rows.jsonl")}
    upload_id = (client.post("/api/datasets/upload", data=upload).json or {})["id"]
    asks = {"dataset": {"source": f"upload:{upload_id}"}}
    waiting = begin(client, f"session:{trained}", f"export:{exported}/model.gguf", **asks)
    for path in (f"training/sessions/{trained}", f"exports/{exported}", f"datasets/{upload_id}"):
        response = client.delete(f"/api/{path}")
        assert response.status_code == 409
        assert "sums" in (response.json or {})["error"]["message"]
    assert (services.settings.home.exports / exported / "files" / "model.gguf").is_file()
    client.post(f"/api/evaluations/{waiting}/stop")
    for path in (f"exports/{exported}", f"training/sessions/{trained}", f"datasets/{upload_id}"):
        assert client.delete(f"/api/{path}").status_code == 204


def test_the_top_bar_shows_the_job_at_work(browser: Browser, client: FlaskClient, services: Services) -> None:
    """Every kind of job, with a link to its page. A probe is called what its start button says."""
    kinds = (
        (JobKind.EVALUATION, "evaluations", "Evaluation"),
        (JobKind.PROBE, "probe", "Check"),
        (JobKind.EXPORT, "exports", "Export"),
    )
    for kind, page, word in kinds:
        job = Job(
            id=f"one-{kind}", kind=str(kind), name=f"my {kind}", state="running", created_at="", step=3, max_steps=9
        )
        services.database.add(job)
        text = browser.get("/shell").get_data(as_text=True)
        assert f'href="/{page}/one-{kind}"' in text
        assert f"{word}: my {kind}" in text
        services.database.delete(job.id)
    assert 'class="job"' not in browser.get("/shell").get_data(as_text=True)
