"""Training runs over HTTP, as an API client uses them."""

from __future__ import annotations

import time
from typing import Any

import psutil
import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, event

from core.job import JobKind, JobState
from services.container import Services
from services.jobs.database import new_job
from services.jobs.launcher import process_of
from tests.conftest import Browser, tiny
from tests.support.live import PATIENCE, held


def start(client: FlaskClient, config: dict[str, Any], **more: Any) -> str:
    response = client.post("/api/training/start", json={"config": config, **more})
    assert response.status_code == 202, response.json
    assert response.json is not None
    assert response.json["status"] == "queued"
    return str(response.json["session_id"])


def follow(services: Services, session_id: str, *states: str, seconds: float = PATIENCE) -> str:
    """Let the watcher work until the run is in one of the states."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        services.watcher.tick()
        status = services.runs.get(session_id).job.status
        if status in states:
            return status
        time.sleep(0.02)
    raise AssertionError(f"still {services.runs.get(session_id)}")


def test_a_run_goes_from_queued_to_completed_with_its_rows(client: FlaskClient, services: Services) -> None:
    """Start, follow, and read back rows, completions and log."""
    session_id = start(client, tiny())
    follow(services, session_id, "completed")
    run = client.get(f"/api/training/sessions/{session_id}").json
    assert run is not None
    assert (run["step"], run["max_steps"], run["reward"], run["config"]["name"]) == (6, 6, 0.06, "tiny")
    rows = client.get(f"/api/training/sessions/{session_id}/metrics").json
    assert rows is not None
    assert [row["row"] for row in rows["rows"]] == [1, 2, 3, 4, 5, 6]
    assert rows["next"] == 6
    later = client.get(f"/api/training/sessions/{session_id}/metrics?after=4").json
    assert later is not None
    assert [row["row"] for row in later["rows"]] == [5, 6]
    groups = client.get(f"/api/training/sessions/{session_id}/completions?step=3").json
    assert groups is not None
    assert (groups["total"], groups["groups"][0]["step"], groups["steps"]) == (1, 3, [1, 2, 3, 4, 5, 6])
    log = client.get(f"/api/training/sessions/{session_id}/logs?tail=2").text
    assert log.splitlines() == ["step 5", "step 6"]


def test_the_list_has_every_run_newest_first(client: FlaskClient) -> None:
    """Queued runs are listed too, with their position in the queue."""
    first, second = start(client, tiny("one")), start(client, tiny("two"))
    sessions = (client.get("/api/training/sessions").json or {})["sessions"]
    assert [run["session_id"] for run in sessions] == [second, first]
    assert [run["queue_position"] for run in sessions] == [2, 1]


def test_the_same_id_twice_starts_once(client: FlaskClient) -> None:
    """A double click or a retried request starts only one run."""
    start(client, tiny(), session_id="mine")
    again = client.post("/api/training/start", json={"config": tiny(), "session_id": "mine"})
    assert again.status_code == 409
    assert (again.json or {})["error"]["code"] == "conflict"
    assert len((client.get("/api/training/sessions").json or {})["sessions"]) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"modell": {}}, "modell"),
        ({"training": {"learning_rat": 1}}, "training.learning_rat"),
        ({"training": {"num_generations": 3}}, "training.num_generations"),
        ({"model": {"name": "builtin:smollm2-135m-instruct", "load_in_4bit": True}}, "model.load_in_4bit"),
        ({"reward": {"type": "preset", "preset_name": "nonsense"}}, "reward.preset_name"),
        ({"model": {"name": "/nowhere/at/all"}}, "model.name"),
        ({"model": {"name": "not a model"}}, "model.name"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_field(
    client: FlaskClient, change: dict[str, Any], field: str
) -> None:
    """Nothing is started, and the error names the field."""
    response = client.post("/api/training/start", json={"config": {**tiny(), **change}})
    assert response.status_code in {404, 422}
    error = (response.json or {})["error"]
    assert error["field"] == field
    assert error["message"].endswith((".", ")")) or ":" in error["message"]
    assert (client.get("/api/training/sessions").json or {})["sessions"] == []


def test_a_queued_run_is_stopped_by_taking_it_out_of_the_queue(client: FlaskClient) -> None:
    """No worker is started for it, and Resume queues it again."""
    session_id = start(client, tiny())
    stopped = client.post("/api/training/stop", json={"session_id": session_id})
    assert (stopped.status_code, (stopped.json or {})["status"]) == (202, "stopped")
    again = client.post("/api/training/resume", json={"session_id": session_id})
    assert (again.json or {})["status"] == "queued"


def test_stop_and_resume_go_on_from_the_checkpoint(client: FlaskClient, services: Services) -> None:
    """The step after the resume follows the last step before the stop."""
    with held(services.settings.home.root):
        session_id = start(client, tiny(max_steps=10))
        follow(services, session_id, "training")
        client.post("/api/training/stop", json={"session_id": session_id})
        assert services.runs.get(session_id).job.status == "stopping"
        follow(services, session_id, "stopped")
    reached = services.runs.get(session_id).job.checkpoint_step
    client.post("/api/training/resume", json={"session_id": session_id})
    follow(services, session_id, "completed")
    rows, _ = services.runs.metrics(session_id)
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert next(row["step"] for row in rows if row["attempt"] == 2) == (reached or 0) + 1


def test_a_worker_that_ignores_stop_now_is_ended(
    client: FlaskClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the grace period it gets SIGTERM, and the run is stopped, not crashed."""
    monkeypatch.setattr("services.jobs.watcher.GRACE", 0.3)
    session_id = start(client, tiny("deaf", max_steps=2000))
    follow(services, session_id, "training")
    client.post("/api/training/stop", json={"session_id": session_id, "now": True})
    follow(services, session_id, "stopped")
    assert services.runs.get(session_id).job.error is None


def test_a_failed_run_says_why(client: FlaskClient, services: Services) -> None:
    """The worker's own message is shown, and Resume is offered."""
    session_id = start(client, tiny("fails"))
    follow(services, session_id, "failed")
    run = services.runs.get(session_id)
    assert run.job.error == "It failed, as it was asked to."
    assert run.job.resumable


def test_a_worker_that_dies_before_its_first_status_is_crashed_with_its_log(
    client: FlaskClient, services: Services
) -> None:
    """The error contains the last lines of its log."""
    session_id = start(client, tiny("mute"))
    follow(services, session_id, "crashed")
    assert "cannot load the library" in (services.runs.get(session_id).job.error or "")


def test_a_checkpoint_is_known_even_if_the_worker_died_before_it_could_say_so(
    client: FlaskClient, services: Services
) -> None:
    """Resume continues from what is on disk, so that is what the page shows."""
    with held(services.settings.home.root):
        session_id = start(client, tiny())
        follow(services, session_id, "training")
        saved = services.settings.home.outputs / session_id / "checkpoints"
        for step in (9, 10):
            (saved / f"checkpoint-{step}").mkdir(parents=True)
        psutil.Process(process_of(services.database.job(session_id, JobKind.TRAIN).handle).pid).kill()
        follow(services, session_id, "crashed")
    run = services.runs.get(session_id)
    assert run.job.checkpoint_step == 10
    assert "step 10" in (run.job.error or "")


def test_a_running_run_is_not_deleted(client: FlaskClient, services: Services) -> None:
    """409 while it runs, 204 after."""
    with held(services.settings.home.root):
        session_id = start(client, tiny())
        follow(services, session_id, "training")
        assert client.delete(f"/api/training/sessions/{session_id}").status_code == 409
        client.post("/api/training/stop", json={"session_id": session_id})
        follow(services, session_id, "stopped")
    assert client.delete(f"/api/training/sessions/{session_id}").status_code == 204
    assert client.get(f"/api/training/sessions/{session_id}").status_code == 404
    assert not (services.settings.home.outputs / session_id).exists()


def test_an_empty_name_is_refused_on_the_page_of_the_run(client: FlaskClient, browser: Browser) -> None:
    """With a message at the top of the page, not on an error page."""
    session_id = start(client, tiny())
    browser.get(f"/runs/{session_id}")
    refused = browser.post(f"/runs/{session_id}/rename", form={"name": " "})
    assert refused.location == f"/runs/{session_id}"
    assert "Enter a name of 1 to 100 printable characters." in browser.get(f"/runs/{session_id}").text


def test_a_renamed_run_keeps_its_name_when_the_database_is_rebuilt(client: FlaskClient, services: Services) -> None:
    """The name is also stored in the run's folder."""
    session_id = start(client, tiny())
    renamed = client.patch(f"/api/training/sessions/{session_id}", json={"name": "better"})
    assert (renamed.json or {})["name"] == "better"
    for wrong in ("   ", "a\0b", "x" * 101):
        assert client.patch(f"/api/training/sessions/{session_id}", json={"name": wrong}).status_code == 400
    from services.jobs.rebuild import rebuild

    services.database.delete(session_id)
    assert rebuild(services.settings.home, services.database) == 1
    assert services.runs.get(session_id).job.name == "better"


def test_the_database_is_rebuilt_from_the_directories(client: FlaskClient, services: Services) -> None:
    """States, steps, rewards and file offsets are as before."""
    from services.jobs.rebuild import rebuild

    done = start(client, tiny("done"))
    follow(services, done, "completed")
    waiting = start(client, tiny("waiting"))  # After the watcher's last check: nothing starts it.
    before = services.runs.get(done).json()
    job = services.database.unfinished()
    for session_id in (done, waiting):
        services.database.delete(session_id)
    assert rebuild(services.settings.home, services.database) == 2
    after = services.runs.get(done).json()
    same = ("status", "step", "max_steps", "reward", "checkpoint_step", "attempt", "name", "model", "dataset")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert [found.id for found in job] == [waiting]
    assert services.runs.get(waiting).job.status == "queued"
    assert services.runs.replay(done, 4) == services.runs.metrics(done, 4)[0]


@pytest.mark.parametrize("bad", ["..", "../..", "%2e%2e%2f%2e%2e", "UPPER", "a" * 65, "a%00b", "-x"])
def test_an_invalid_id_finds_nothing(client: FlaskClient, bad: str) -> None:
    """Whatever the id, nothing outside the folder is read and no traceback is shown."""
    for path in ("", "/metrics", "/completions", "/logs"):
        response = client.get(f"/api/training/sessions/{bad}{path}")
        assert response.status_code in {400, 404}, path
        assert "error" in (response.json or {})
    assert client.delete(f"/api/training/sessions/{bad}").status_code in {400, 404, 405}
    for verb in ("stop", "resume"):
        assert client.post(f"/api/training/{verb}", json={"session_id": bad}).status_code in {400, 404}
    assert client.post("/api/training/start", json={"config": tiny(), "session_id": bad}).status_code == 400


def test_a_thousand_runs_are_listed_from_the_database_alone(client: FlaskClient, services: Services) -> None:
    """The list reads no files of runs and makes no more queries than for ten runs."""
    asked: list[str] = []

    def note(*given: Any) -> None:
        asked.append(given[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        ten, thousand = (_listed(client, services, number, asked) for number in (10, 1000))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert ten == thousand > 0


def _listed(client: FlaskClient, services: Services, number: int, asked: list[str]) -> int:
    """How many queries the list of that many runs takes; none of them has a folder."""
    for place in range(len(services.runs.list()), number):
        content = {"kind": "train", "name": f"run {place}", "created_at": "2026-01-01T00:00:00+00:00"}
        job = new_job(f"run-{place:04}", {**content, "config": tiny()})
        job.state = str(JobState.COMPLETED)
        services.database.add(job)
    asked.clear()
    response = client.get("/api/training/sessions")
    assert len((response.json or {})["sessions"]) == number
    return len(asked)


def test_the_list_is_read_once_after_each_change(browser: Browser, services: Services) -> None:
    """The layout and the page share it, and so do later pages until something is written."""
    session_id = start(browser.client, tiny("one"))
    asked: list[str] = []

    def note(*given: Any) -> None:
        asked.append(given[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert "one" in browser.get("/runs").text
        assert sum("FROM jobs" in text and "jobs.kind = ?" in text for text in asked) == 1
        asked.clear()
        browser.get("/")
        assert not any("jobs.kind = ?" in text for text in asked)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    services.runs.list().clear()  # The caller's copy.
    services.runs.rename(session_id, "two")
    assert [(run.job.name, run.job.queue_position) for run in services.runs.list()] == [("two", 1)]
    services.runs.stop(session_id)
    assert [run.job.status for run in services.runs.list()] == ["stopped"]
    services.runs.delete(session_id)
    assert services.runs.list() == []
