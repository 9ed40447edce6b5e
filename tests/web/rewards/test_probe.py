"""The check before training (the probe): its endpoints, its page, and what your setup shows of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask.testing import FlaskClient

from core.config import dump, parse
from core.job import JobState
from core.job_dir import JobDir, JsonlWriter, write_json
from core.probe import Figures
from services.container import Services
from services.probes.probes import fingerprint
from tests.conftest import Browser, tiny


def probe_body(**more: Any) -> dict[str, Any]:
    return {"config": tiny("probed"), "prompts": 2, "samples": 2, **more}


def test_a_probe_is_a_job_that_can_be_read_and_stopped(browser: Browser, client: FlaskClient) -> None:
    """It is queued like any job, has its own address, is not in the list of runs, and can be stopped."""
    started = client.post("/api/probe/start", json=probe_body())
    assert started.status_code == 202
    assert started.json is not None
    probe_id = started.json["probe_id"]
    assert client.get(f"/api/probe/{probe_id}").json["status"] == "queued"  # type: ignore[index]
    assert client.get("/api/training/sessions").json == {"sessions": []}
    assert client.get("/api/training/sessions/" + probe_id).status_code == 404
    assert "Check before training" in browser.get(f"/probe/{probe_id}").text
    assert client.post(f"/api/probe/{probe_id}/stop").status_code == 202
    assert client.get("/api/probe/../config").status_code == 404


def test_a_check_is_stopped_from_its_page(browser: Browser, client: FlaskClient) -> None:
    """The button is there while the check is queued or running; pressed again, it says that nothing is left to stop."""
    probe_id = client.post("/api/probe/start", json=probe_body()).get_json()["probe_id"]
    assert 'data-testid="probe-stop"' in browser.get(f"/probe/{probe_id}").text
    assert browser.post(f"/probe/{probe_id}", form={}).location == f"/probe/{probe_id}"
    page = browser.get(f"/probe/{probe_id}").text
    assert "Stopped" in page
    assert 'data-testid="probe-stop"' not in page
    assert browser.post(f"/probe/{probe_id}", form={}).status_code == 302


def test_a_check_that_starts_says_so_once(browser: Browser, client: FlaskClient, services: Services) -> None:
    """Its state and its message are the same word then."""
    probe_id = client.post("/api/probe/start", json=probe_body()).get_json()["probe_id"]
    services.database.update(probe_id, state=JobState.STARTING, message="Starting")
    page = browser.get(f"/probe/{probe_id}").text
    state = page.partition('id="probe-state"')[2].partition("</p>")[0]
    assert state.count("Starting") == 1


def test_too_many_answers_are_refused(client: FlaskClient) -> None:
    """The error names the limit."""
    refused = client.post("/api/probe/start", json=probe_body(prompts=100, samples=60))
    assert refused.status_code == 400
    assert "at most 256" in refused.json["error"]["message"]  # type: ignore[index]


def ended(services: Services, probe_id: str) -> None:
    """A finished probe that found the rows too hard."""
    run = JobDir(services.settings.home.outputs / probe_id)
    figures = asdict(Figures(8, 8, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.2)) | {"cancel": False}
    verdict = {
        "outcome": "too_hard",
        "title": "Too hard",
        "reason": "None was right.",
        "field": "",
        "advice": "Take easier rows.",
    }
    write_json(run.result, {"verdict": verdict, "figures": figures})
    services.database.update(probe_id, state=str(JobState.COMPLETED))


def test_an_open_page_shows_the_result_of_a_check(browser: Browser, client: FlaskClient, services: Services) -> None:
    """Verdict and answers are in live-updated parts that exist from the start."""
    probe_id = client.post("/api/probe/start", json=probe_body()).get_json()["probe_id"]
    parts = ('id="probe-state" data-live', 'id="probe-fix" data-live', 'id="probe-answers" data-live')
    before = browser.get(f"/probe/{probe_id}").text
    assert [part for part in parts if part not in before] == []
    writer = JsonlWriter(JobDir(services.settings.home.outputs / probe_id).completions)
    answer = {"text": "3", "tokens": 1, "total": 0.0, "components": {}}
    asked = {"instruction": "1 + 1", "prompt": "1 + 1", "reference": "2"}
    writer.append({"phase": "probe", "step": 1, **asked, "completions": [answer]})
    writer.close()
    ended(services, probe_id)
    page = browser.get(f"/probe/{probe_id}").text
    assert "Too hard. None was right." in page.partition(parts[0])[2].partition(parts[1])[0]
    assert "1 + 1" in page.partition(parts[2])[2].partition("</section>")[0]


def test_the_draft_keeps_its_probe_and_says_when_it_has_changed(browser: Browser, services: Services) -> None:
    """On the page before the start: the verdict, and after a change of the draft, that it is out of date."""
    services.wizard.load(tiny("draft"))
    browser.get("/new/train")
    assert browser.post("/new/train", form={"action": "probe", "name": "draft"}).status_code == 302
    assert 'id="check" data-live' in browser.get("/new/train").text
    probe_id = services.wizard.draft().page("train")["probe_id"]
    assert probe_id
    ended(services, probe_id)
    assert "Too hard. None was right." in browser.get("/new/train").text
    assert "has changed since" not in browser.get("/new/train").text
    services.wizard.put(training={**services.wizard.draft().training.values, "temperature": 0.5})
    assert "has changed since" in browser.get("/new/train").text


def test_the_fingerprint_sees_what_a_probe_sees() -> None:
    """The name does not count; every section does."""
    first, renamed = dump(parse(tiny("one"))), dump(parse(tiny("two")))
    assert fingerprint(first) == fingerprint(renamed)
    assert fingerprint(first) != fingerprint(dump(parse(tiny("one", temperature=0.3))))
