"""Problems of one job, one dataset or the disk stay isolated and are reported."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

import flask_app
from commands.serve import serve
from core.disk import FULL
from core.errors import Unavailable
from core.job_dir import JobDir, JsonlWriter
from core.settings import Home, Settings
from flask_app import create_app
from services.access.security import hash_token, load_secrets
from services.container import Services
from tests.conftest import Browser, tiny
from tests.support.damage import PaperLauncher
from tests.support.live import held
from tests.web.runs.test_runs import follow, start


@pytest.fixture
def paper(settings: Settings) -> Any:
    """An application whose workers finish as soon as they start."""
    app = create_app(settings, launcher=PaperLauncher())
    yield app
    app.extensions["tunesmith"].close()


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_bad_line_of_a_running_run_does_not_affect_others(
    client: FlaskClient, services: Services, home: Home
) -> None:
    """The other rows are shown, the run completes, the next one starts, and the server can restart."""
    with held(home.root):
        start(client, tiny(), session_id="first")
        start(client, tiny(), session_id="second")
        follow(services, "first", "training")
        metrics = home.outputs / "first" / "metrics.jsonl"
        while metrics.read_bytes().count(b"\n") < 5:
            services.watcher.tick()
        with metrics.open("ab") as file:
            file.write(b"this is not JSON\n")
        services.watcher.tick()
        services.watcher.catch_up()
    follow(services, "second", "completed")
    run = client.get("/api/training/sessions/first").json or {}
    assert run["status"] == "completed"
    assert run["damage"] == ["metrics.jsonl is damaged at row 6; the readable part is shown."]
    rows = (client.get("/api/training/sessions/first/metrics").json or {})["rows"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert "metrics.jsonl is damaged at row 6" in client.get("/runs/first").text


def test_a_job_that_cannot_be_followed_is_logged_once_and_the_others_go_on(
    paper: Flask, home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong with it."""
    services: Services = paper.extensions["tunesmith"]
    monkeypatch.setattr("services.jobs.watcher.ALIVE_EVERY", 0.0)
    launcher: Any = services.watcher._launchers["local"]
    for name in ("one", "two"):
        services.runs.start(tiny(name), session_id=name)
    services.watcher.tick()
    launcher.living = {"one"}
    (home.outputs / "one" / "status.json").unlink()
    reader = services.watcher._readers["one"]
    monkeypatch.setattr(reader, "poll", lambda: 1 / 0)
    monkeypatch.setattr(reader, "look_again", lambda: 1 / 0)
    for _ in range(5):
        services.watcher.tick()
    said = [record.message for record in caplog.records]
    assert said.count("job one cannot be followed; other jobs are not affected") == 1
    assert services.runs.get("one").damage == ["Live updates are not available: ZeroDivisionError: division by zero"]
    launcher.living = set()
    for _ in range(5):
        services.watcher.tick()
    assert [services.runs.get(name).job.status for name in ("one", "two")] == ["crashed", "completed"]


@pytest.mark.parametrize("text", ["", "{", '{"id": 1}', "[]", '"x"'])
def test_a_dataset_whose_description_is_damaged_can_be_deleted(app: Flask, home: Home, text: str) -> None:
    """The others are listed and work as before."""
    client, pages = app.test_client(), app.test_client()
    files = [(io.BytesIO(b'{"question": "1", "answer": "2"}\n' * rows), f"{rows}.jsonl") for rows in (3, 4)]
    good, bad = ((client.post("/api/datasets/upload", data={"file": file}).json or {})["id"] for file in files)
    (home.uploads / bad / "info.json").write_text(text)
    found = client.get("/api/datasets/list").json or {}
    assert [[one["id"] for one in found[name]] for name in ("datasets", "damaged")] == [[good], [bad]]
    assert "Delete it" in found["damaged"][0]["message"]
    page = pages.get("/datasets").text
    assert f"/datasets/{bad}/delete" in page
    assert f'href="/datasets/{good}"' in page
    looks = {f"/datasets/{bad}": 409, f"/datasets/{good}": 200, "/new/dataset": 200}
    assert {path: pages.get(path).status_code for path in looks} == looks
    assert client.delete(f"/api/datasets/{bad}").status_code == 204
    assert (client.get("/api/datasets/list").json or {})["damaged"] == []
    assert client.delete(f"/api/datasets/{bad}").status_code == 404


def test_a_run_whose_folder_was_deleted_says_so(app: Flask, services: Services, home: Home) -> None:
    """On its page and in the API, running or finished; other pages are unaffected, and Delete removes it."""
    client, pages = app.test_client(), app.test_client()
    with held(home.root):
        start(client, tiny(), session_id="gone")
        follow(services, "gone", "training")
        while (home.outputs / "gone").exists():  # its worker may be writing into it
            shutil.rmtree(home.outputs / "gone", ignore_errors=True)
        services.watcher.tick()
        for path in ("/", "/runs", "/runs/gone", "/settings"):
            assert pages.get(path).status_code == 200, path
        assert client.post("/api/training/stop", json={"session_id": "gone", "now": True}).status_code == 202
    follow(services, "gone", "stopped", "crashed")
    assert "Its folder was deleted" in pages.get("/runs/gone").text
    assert (client.get("/api/training/sessions/gone").json or {})["damage"][0].startswith("Its folder was deleted")
    assert (client.get("/api/training/sessions/gone/metrics").json or {})["rows"] == []
    assert client.post("/api/training/resume", json={"session_id": "gone"}).status_code == 409
    assert client.delete("/api/training/sessions/gone").status_code == 204
    assert client.delete("/api/training/sessions/gone").status_code == 404


def test_resume_and_stop_twice_are_each_once(paper: Flask) -> None:
    """From two tabs or a double click: the second response equals the first."""
    client, services = paper.test_client(), paper.extensions["tunesmith"]
    start(client, tiny(), session_id="run")
    for verb, state in (("stop", "stopped"), ("stop", "stopped"), ("resume", "queued"), ("resume", "queued")):
        answer = client.post(f"/api/training/{verb}", json={"session_id": "run"})
        assert (answer.status_code, (answer.json or {})["status"]) == (202, state)
    browser = Browser(paper)
    for path in ("/runs/run/resume", "/runs/run/resume"):
        browser.get("/runs/run")
        browser.post(path, form={})
        assert 'class="note problem"' not in browser.get("/runs/run").text
    services.watcher.tick()
    assert services.runs.get("run").job.status == "starting"
    assert client.post("/api/training/resume", json={"session_id": "run"}).status_code == 202
    for _ in range(3):
        services.watcher.tick()
    assert services.runs.get("run").job.status == "completed"
    assert client.post("/api/training/resume", json={"session_id": "run"}).status_code == 409


def test_a_start_that_finds_the_disk_full_leaves_no_folder(
    client: FlaskClient, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not listed either, and the response says what is wrong."""
    monkeypatch.setattr("services.jobs.verbs.write_json", full)
    for path, body in (("/api/training/start", {"session_id": "r2"}), ("/api/probe/start", {})):
        answer = client.post(path, json={"config": tiny(), **body})
        assert answer.status_code == 503
        assert "The disk is full." in (answer.json or {})["error"]["message"]
    assert list(home.outputs.iterdir()) == []
    assert (client.get("/api/training/sessions").json or {})["sessions"] == []


def test_a_job_waits_its_turn_while_the_disk_is_full(paper: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the job's fault: it stays first in the queue, says why, and starts when there is space."""
    services: Services = paper.extensions["tunesmith"]
    monkeypatch.setattr("services.jobs.watcher.PUT_OFF", 0.0)
    for name in ("one", "two"):
        services.runs.start(tiny(name), session_id=name)
    with monkeypatch.context() as patch:
        patch.setattr(services.watcher._launchers["local"], "start", full)
        services.watcher.tick()
    view = services.runs.get("one")
    assert (view.job.status, view.job.queue_position, view.job.error) == ("queued", 1, None)
    assert "full" in view.job.message
    for _ in range(8):
        services.watcher.tick()
    assert services.runs.get("two").job.status == "completed"


def test_a_run_that_cannot_be_deleted_stays_in_the_list(
    client: FlaskClient, services: Services, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; nothing is half deleted."""
    start(client, tiny(), session_id="run")
    client.post("/api/training/stop", json={"session_id": "run"})

    def refused(path: Path, *_args: Any, **_more: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("services.machine.bin._move", refused)
        answer = client.delete("/api/training/sessions/run")
    assert answer.status_code == 503
    assert "operation not permitted" in (answer.json or {})["error"]["message"]
    assert client.get("/api/training/sessions/run").status_code == 200
    assert client.delete("/api/training/sessions/run").status_code == 204


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full."),
        (OSError(errno.EROFS, "Read-only file system", "/x"), "mounted read-only"),
        (OSError(errno.EIO, "Input/output error"), "input/output error"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/data/x"),
            "/data/x cannot be written: permission denied.",
        ),
    ],
)
def test_what_the_disk_refuses_is_explained_on_pages_and_by_the_api(
    app: Flask, home: Home, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    """Not as 'Something went wrong'."""

    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("services.wizard.configs.write_json", refuse)
    monkeypatch.setattr("services.datasets.datasets.uploads.store", refuse)
    client = app.test_client()
    answer = client.post("/api/configs/save", json={"name": "mine", "config": tiny()})
    assert answer.status_code == 503
    assert words in (answer.json or {})["error"]["message"]
    sent = client.post("/datasets", data={"file": (io.BytesIO(b"x"), "x.csv")})
    assert sent.status_code == 503
    assert words in sent.text


@pytest.mark.parametrize("text", ["", "{", '{"session_key": 3, "token_hash": ""}', '{"token_hash": ["x"]}', "[]"])
def test_damaged_secrets_are_recreated_and_grant_no_access(home: Home, text: str) -> None:
    """A new session key logs everyone out; the lost token is replaced, and shown once."""
    home.secrets.write_text(text)
    there = load_secrets(Settings.from_env({"TUNESMITH_HOME": str(home.root), "HOST": "0.0.0.0"}))
    assert there.new_token
    assert there.token_hash == hash_token(there.new_token)
    assert len(there.session_key) == 64
    again = load_secrets(Settings.from_env({"TUNESMITH_HOME": str(home.root), "HOST": "0.0.0.0"}))
    assert (again.session_key, again.token_hash, again.new_token) == (there.session_key, there.token_hash, None)
    home.secrets.write_text(text)
    here = load_secrets(Settings.from_env({"TUNESMITH_HOME": str(home.root)}))
    assert (here.token_hash, here.new_token) == ("", None)


def test_a_full_disk_at_the_start_is_named(settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither DATABASE_URL nor a setting is blamed for it."""
    monkeypatch.setattr("services.jobs.lock.json.dump", full)
    with pytest.raises(Unavailable) as caught:
        serve(settings, create_app)
    assert caught.value.message == FULL
    monkeypatch.undo()
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE

    def refuse(_: Any) -> None:
        raise OperationalError("CREATE", {}, error)

    monkeypatch.setattr("services.jobs.database.Base.metadata.create_all", refuse)
    with pytest.raises(Unavailable) as caught:
        serve(replace(settings, port=0), create_app)
    assert "full or failing" in caught.value.message
    assert "DATABASE_URL" not in caught.value.message


def test_only_a_setting_error_is_reported_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any other ValueError is a bug, and its traceback is logged."""
    monkeypatch.setattr(Settings, "from_env", lambda: (_ for _ in ()).throw(ValueError("PORT is 'x'")))
    assert flask_app.main() == 1
    assert "A setting is not valid: PORT is 'x'" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr("commands.serve.serve", lambda *_: int("no number"))
    monkeypatch.setattr(flask_app, "settings_from_env", lambda: Settings.from_env({}))
    with pytest.raises(ValueError, match="no number"):
        flask_app.main()


def test_an_old_database_learns_of_boots(home: Home, settings: Settings) -> None:
    """A database from before boot ids were stored keeps its jobs."""
    app = create_app(settings, launcher=PaperLauncher())
    services: Services = app.extensions["tunesmith"]
    services.runs.start(tiny(), session_id="old")
    services.close()
    with sqlite3.connect(home.root / "catalogue.db") as database:
        database.execute("ALTER TABLE jobs DROP COLUMN pid_boot")
    again: Services = create_app(settings, launcher=PaperLauncher()).extensions["tunesmith"]
    assert [run.session_id for run in again.runs.list()] == ["old"]
    for _ in range(4):
        again.watcher.tick()
    assert again.runs.get("old").job.status == "completed"
    again.close()


def test_a_text_with_half_a_character_is_written_and_shown(paper: Flask, home: Home) -> None:
    """A lone surrogate, such as in a program's error, in a file and on the page; also if another program escaped it."""
    client = paper.test_client()
    start(client, tiny(), session_id="run")
    run = JobDir(home.outputs / "run")
    for _ in range(3):
        paper.extensions["tunesmith"].watcher.tick()
    part = {"numeric": {"score": 1.0, "weight": 1.0, "why": "caf\ud800"}}
    answer = {"text": "\udc00", "tokens": 1, "cut_off": False, "total": 1.0, "advantage": None, "components": part}
    writer = JsonlWriter(run.completions)
    writer.append({"phase": "training", "step": 1, "instruction": "?", "prompt": "?", "completions": [answer]})
    writer.close()
    with run.completions.open("ab") as file:
        told = b'"instruction": "\\ud83d\\ude00 \\ud800"'
        file.write(b'{"phase": "training", "step": 1, ' + told + b', "prompt": "", "completions": []}\n')
    groups = (client.get("/api/training/sessions/run/completions").json or {})["groups"]
    assert [group["instruction"] for group in groups] == ["\U0001f600 \ufffd", "?"]
    assert groups[1]["completions"][0]["components"]["numeric"]["why"] == "caf?"
    assert client.get("/runs/run").status_code == 200
