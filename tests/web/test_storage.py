"""Disk usage, and cleaning up without harm to a job."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.process import identify
from core.progress import Progress, write_progress
from core.settings import Home
from services.container import Services
from services.jobs.database import Job, new_job
from services.machine.bin import Bin
from services.storage import usage
from tests.browser import sample
from tests.conftest import TINY, Browser, tiny

MODEL = "org/small"


def put(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * size)


def measured(client: FlaskClient, services: Services) -> dict[str, Any]:
    """The API's response after a fresh measurement."""
    services.storage.measure()
    services.storage.wait(60)
    found: dict[str, Any] = client.get("/api/storage").get_json()
    return found


@pytest.fixture
def filled(app: Flask, home: Home) -> None:
    """Runs, an export, an evaluation, and two downloads."""
    sample.fill(home.root)
    app.test_cli_runner().invoke(args=["rebuild"])
    shutil.rmtree(home.outputs / sample.FINISHED / "checkpoints")
    for step in (2, 4, 6):
        put(home.outputs / sample.FINISHED / "checkpoints" / f"checkpoint-{step}" / "state", 1000 * step)
    hub = home.cache / "hub" / "hub"
    put(hub / "models--org--small" / "blobs" / "abc", 50_000)
    link = hub / "models--org--small" / "snapshots" / "1" / "model.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../blobs/abc")
    put(hub / "datasets--org--rows" / "blobs" / "def", 7000)
    put(home.cache / "hub" / "datasets" / "rows.arrow", 900)
    put(home.cache / "gguf" / "x" / "base.gguf", 100)
    put(home.cache / "downloads" / "org--more" / "part", 40)


@pytest.mark.usefixtures("filled")
def test_every_byte_is_counted_once(client: FlaskClient, services: Services, home: Home) -> None:
    """Links into the cache count for nothing; deleted items count as trash."""
    found = measured(client, services)
    assert (found["parts"]["checkpoints"], found["old_checkpoints"]) == (12_000, 6000)
    assert (found["parts"]["models"], found["parts"]["downloaded"], found["parts"]["caches"]) == (50_002, 7000, 1040)
    assert found["caches"] == 1000
    whole = sum(
        path.stat().st_size
        for folder in (home.outputs, home.exports, home.uploads, home.cache, home.logs)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    assert found["total"] == whole
    assert [(one["name"], one["size"]) for one in found["downloads"]] == [(MODEL, 50_000), ("org/rows", 7000)]
    run = next(one for one in found["largest"] if one["id"] == sample.FINISHED)
    client.delete(f"/api/training/sessions/{sample.FINISHED}")
    after = measured(client, services)
    assert after["parts"]["checkpoints"] == 0
    assert after["parts"]["trash"] >= run["size"]
    Bin(home).keep_beside(home.outputs)
    assert measured(client, services)["parts"] == after["parts"]


@pytest.mark.usefixtures("filled")
def test_the_page_does_not_wait_for_the_disk(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows the last measurement or that one is running, and refreshes itself."""
    go = threading.Event()
    real = usage.measured

    def slow(*args: Any) -> Any:
        assert go.wait(60)
        return real(*args)

    monkeypatch.setattr(usage, "measured", slow)
    page = browser.get("/settings/storage").text
    assert "Measuring the disk" in page
    assert "data-poll" in page
    go.set()
    services.storage.wait(60)
    page = browser.get("/settings/storage").text
    assert "data-poll" not in page
    assert 'data-testid="part-runs"' in page
    assert f'href="/runs/{sample.FINISHED}"' in page
    assert "org/small" in page


@pytest.mark.usefixtures("filled")
def test_an_unmeasurable_disk_is_reported(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the page still loads."""

    def failing(*_args: object) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(usage, "measured", failing)
    services.storage.measure()
    services.storage.wait(60)
    assert "could not be measured" in browser.get("/settings/storage").text


@pytest.mark.usefixtures("filled")
def test_old_checkpoints_go_and_the_newest_stays(client: FlaskClient, home: Home, services: Services) -> None:
    """A run that an unfinished job needs keeps all of its checkpoints. Leftovers of earlier deletions go too."""
    folder = home.outputs / sample.FINISHED / "checkpoints"
    config = {"session_id": sample.FINISHED}
    services.database.add(Job(id="x", kind="export", name="x", state="queued", created_at="2026-01-01", config=config))
    assert (client.delete("/api/storage/checkpoints").json or {})["freed"] == 0
    assert len(list(folder.iterdir())) == 3
    services.database.delete("x")
    (folder / "checkpoint-2").rename(folder / ".checkpoint-2")
    assert measured(client, services)["old_checkpoints"] == 6000
    assert (client.delete("/api/storage/checkpoints").json or {})["freed"] == 6000
    assert [path.name for path in folder.iterdir()] == ["checkpoint-6"]


@pytest.mark.usefixtures("filled")
def test_checkpoints_of_a_run_at_work_stay(client: FlaskClient, home: Home, services: Services) -> None:
    """Its worker prunes them itself."""
    services.database.update(sample.FINISHED, state="running")
    assert (client.delete("/api/storage/checkpoints").json or {})["freed"] == 0
    assert len(list((home.outputs / sample.FINISHED / "checkpoints").iterdir())) == 3


@pytest.mark.usefixtures("filled")
def test_a_download_goes_unless_a_job_needs_it(client: FlaskClient, home: Home, services: Services) -> None:
    """Unrelated jobs do not protect it."""

    def wait_for(name: str, config: dict[str, Any]) -> None:
        content = {"kind": "train", "name": name, "created_at": "2026-01-02", "config": config}
        services.database.add(new_job(name, content))

    wait_for("other", {**TINY, "model": {"name": "org/other"}})
    wait_for("mine", {**tiny("mine"), "model": {"name": MODEL}})
    refused = client.delete(f"/api/storage/downloads?name={MODEL}")
    assert refused.status_code == 409
    assert "needed by the run 'mine'" in (refused.json or {})["error"]["message"]
    services.database.update("mine", state="completed")
    listed = measured(client, services)["downloads"]
    assert [(one["name"], one["last_used"]) for one in listed if one["last_used"]] == [(MODEL, "2026-01-02")]
    assert client.delete(f"/api/storage/downloads?name={MODEL}").json == {"freed": 50_000}
    assert not (home.cache / "hub" / "hub" / "models--org--small").exists()
    assert client.delete(f"/api/storage/downloads?name={MODEL}").status_code == 404
    assert client.delete("/api/storage/downloads?name=../../outputs").status_code == 404


@pytest.mark.usefixtures("filled")
def test_caches_are_emptied_while_no_job_may_need_them(
    browser: Browser, client: FlaskClient, home: Home, services: Services
) -> None:
    """Models and datasets stay: they are downloads, not caches."""
    services.database.update(sample.FINISHED, state="queued")
    browser.get("/settings/storage")
    browser.post("/settings/storage/caches")
    assert "may need the caches" in browser.get("/settings/storage").text
    services.database.update(sample.FINISHED, state="completed")
    assert browser.post("/settings/storage/everything").status_code == 404
    browser.post("/settings/storage/caches")
    assert "1 kB freed." in browser.get("/settings/storage").text
    assert (home.cache / "hub" / "hub" / "models--org--small").is_dir()
    assert not (home.cache / "gguf").exists()
    assert (client.delete("/api/storage/caches").json or {})["freed"] == 0


@pytest.mark.usefixtures("filled")
def test_the_datasets_page_clears_downloads_by_the_same_rules(
    browser: Browser, client: FlaskClient, home: Home, services: Services
) -> None:
    """Not during an import, which is not a job; data that belongs to runs stays."""
    entries = (client.get("/api/datasets/cache").json or {})["entries"]
    assert [(one["name"], one["kind"], one["size"]) for one in entries] == [
        (MODEL, "model", 50_000), ("org/rows", "dataset", 7000), ("Converted rows", "cache", 900),
    ]  # fmt: skip
    job = services.dataset_jobs.begin("rows.jsonl", 10)
    folder = next(home.uploads.glob(f"{job.id}*"))
    me = Progress(state="working").by(identify(os.getpid()))
    write_progress(folder, me)
    browser.get("/datasets")
    browser.post("/datasets/cache/clear")
    assert "is being downloaded" in browser.get("/datasets").text
    assert client.delete("/api/datasets/cache").status_code == 409
    write_progress(folder, me.model_copy(update={"state": "stopped"}))
    assert client.delete("/api/datasets/cache?name=org/rows").json == {"freed": 7000}
    assert client.delete("/api/datasets/cache?name=org/rows").status_code == 404
    assert client.delete("/api/datasets/cache").json == {"freed": 50_900}
    assert (home.cache / "gguf" / "x" / "base.gguf").is_file()
    assert (home.outputs / sample.FINISHED).is_dir()
