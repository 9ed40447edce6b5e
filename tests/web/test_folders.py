"""Moving a folder from Settings: what may move where and when, and that nothing else happens meanwhile."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core import progress
from core.delivery.state import Progress as DeliveryProgress
from core.errors import Conflict, InvalidInput, Unavailable
from core.job import JobState
from core.job_dir import write_json
from core.model_hub.state import DownloadProgress
from core.move import Move, MoveProgress, write_move
from core.process import identify, this_process
from core.settings import PROJECT, Home, Settings
from flask_app import create_app
from services.container import Services
from services.jobs.database import Job
from services.storage import folders
from tests.browser import sample
from tests.conftest import TOKEN, Browser, tiny
from tests.support.live import until

MEMORY = Path("/dev/shm")
"""A separate file system."""


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk")


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch, home: Home) -> Iterator[Path]:
    """A folder on another file system."""
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == home.root.stat().st_dev:
        pytest.skip("this machine has only one file system")
    monkeypatch.setattr(folders, "SYSTEM", ())
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        yield Path(place)


@pytest.fixture
def moving(home: Home, disk: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process of the move in progress."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    staged = disk / ".runs.moving-x"
    staged.mkdir()
    home.moving.mkdir()
    write_move(home, Move(link=home.outputs, source=home.outputs, target=disk / "runs", staged=staged,
                          old=home.root / ".outputs.old-x", size=4_000_000))  # fmt: skip
    said = MoveProgress(state="working", message=f"Moving to {disk / 'runs'}", bytes=1_000_000, total_bytes=4_000_000)
    progress.write_progress(home.moving, said.by(identify(process.pid)))
    yield process
    process.kill()
    process.wait()


def moved(browser: Browser) -> str:
    """The Settings page once the move has ended."""
    return until(lambda: str(browser.get("/settings").text), lambda text: 'data-testid="moving"' not in text)


@pytest.mark.parametrize("place", ["disk", "other"])
def test_a_folder_moves_and_comes_back(
    browser: Browser, client: FlaskClient, home: Home, place: str, request: pytest.FixtureRequest
) -> None:
    """Its files are found as before, and deleted items can be restored, before and after."""
    target = request.getfixturevalue(place) / "datasets"
    upload = {"file": (io.BytesIO(b'{"instruction": "a", "response": "b"}\n' * 9), "rows.jsonl")}
    kept = (client.post("/api/datasets/upload", data=upload).json or {})["id"]
    upload = {"file": (io.BytesIO(b'{"instruction": "c", "response": "d"}\n' * 9), "old.jsonl")}
    deleted = (client.post("/api/datasets/upload", data=upload).json or {})["id"]
    browser.get("/settings")
    page = browser.get(browser.post(f"/datasets/{deleted}/delete").location).text
    undo = re.search(r'action="(/settings/trash/[\w-]+/restore)"', page)
    assert undo
    browser.post("/settings/move", form={"name": "uploads", "to": f" {target} "})
    page = moved(browser)
    assert f"The files in {home.uploads} were moved to {target}." in page
    assert f"Files are in {target}." in page
    assert home.uploads.readlink() == target
    assert client.get(f"/api/datasets/{kept}").status_code == 200
    browser.post(undo[1])
    assert client.get(f"/api/datasets/{deleted}").status_code == 200
    browser.post("/settings/move", form={"name": "uploads"})
    page = moved(browser)
    assert "Files are in" not in page
    assert not home.uploads.is_symlink()
    assert not target.exists()
    assert client.get(f"/api/datasets/{kept}").status_code == 200
    assert sorted(path.name for path in home.root.glob(".*")) == [".move"]


def test_a_program_moves_a_folder_too(client: FlaskClient, home: Home, disk: Path) -> None:
    """The response has the result; refusals have the usual format."""

    def look() -> Any:
        return client.get("/api/settings/move").json

    assert look() == dict.fromkeys(("state", "message", "error", "bytes", "total_bytes"))
    refused = client.post("/api/settings/move", json={"name": "cache", "to": "here"})
    assert (refused.status_code, (refused.json or {})["error"]["field"]) == (400, "to")
    assert client.post("/api/settings/move", json={"name": "logs", "to": str(disk / "x")}).status_code == 400
    answer = client.post("/api/settings/move", json={"name": "cache", "to": str(disk / "x")})
    assert answer.status_code == 202
    assert (
        until(look, lambda said: said["state"] == "done")["message"]
        == f"The files in {home.cache} were moved to {disk / 'x'}."
    )
    assert client.post("/api/settings/move", json={"name": "cache"}).status_code == 202
    until(look, lambda said: said["state"] == "done" and not home.cache.is_symlink())
    assert client.delete("/api/settings/move").status_code == 200


@pytest.mark.usefixtures("moving")
def test_nothing_changes_while_a_folder_moves(
    app: Flask, browser: Browser, client: FlaskClient, services: Services, disk: Path
) -> None:
    """No job starts, no upload, no delete; pages can be read. Canceled, everything works again."""
    page = browser.get("/settings").text
    assert '<progress max="1" value="0.25"' in page
    assert "1.0 MB of 4.0 MB copied" in page
    assert 'action="/settings/move"' not in page
    upload = {"file": (io.BytesIO(b'{"instruction": "a", "response": "b"}\n'), "rows.jsonl")}
    for answer in (
        client.post("/api/training/start", json={"config": tiny()}),
        client.post("/api/datasets/upload", data=upload),
        client.delete("/api/storage/caches"),
        client.patch("/api/settings", json={"theme": "dark"}),
    ):
        assert answer.status_code == 409
        assert "A folder is being moved" in (answer.json or {})["error"]["message"]
    browser.post("/settings/move", form={"name": "exports", "to": str(disk / "exports")})
    assert "A folder is being moved" in browser.get("/settings").text
    assert not (disk / "exports").exists()
    refused = app.test_cli_runner().invoke(args=["rebuild"])
    assert refused.exit_code == 1
    assert "A folder is being moved" in refused.output
    browser.post("/settings/move/cancel")
    page = moved(browser)
    assert "It was canceled. Everything is still in" in page
    assert list(disk.iterdir()) == []
    assert client.patch("/api/settings", json={"theme": "dark"}).status_code == 200
    services.runs.start(tiny())


def test_a_move_whose_process_was_killed_is_undone(
    browser: Browser, client: FlaskClient, moving: subprocess.Popen[bytes], disk: Path
) -> None:
    """By the next request, or at the next start."""
    moving.kill()
    moving.wait()
    assert client.patch("/api/settings", json={"theme": "dark"}).status_code == 200
    assert list(disk.iterdir()) == []
    assert "It was interrupted. Everything is still in" in browser.get("/settings").text


def _job(services: Services, state: str) -> None:
    services.database.add(Job(id="x", kind="train", name="mine", state=state, created_at="2026-01-01"))


def _upload(services: Services) -> None:
    services.dataset_jobs.begin("big.jsonl", 1000)


def _download(services: Services) -> None:
    folder = services.settings.home.cache / "downloads" / "org--model"
    folder.mkdir(parents=True)
    write_json(folder / "job.json", {"name": "org/model"})
    progress.write_progress(folder, DownloadProgress(state="working").by(this_process()))


def _delivery(services: Services) -> None:
    folder = services.settings.home.exports / "one" / "deliveries" / "1"
    folder.mkdir(parents=True)
    progress.write_progress(folder, DeliveryProgress(state="working").by(this_process()))


UNDER_WAY: dict[str, tuple[Callable[[Services], None], str]] = {
    "running": (lambda services: _job(services, JobState.RUNNING), "The run &#39;mine&#39; is running or waiting."),
    "queued": (lambda services: _job(services, JobState.QUEUED), "The run &#39;mine&#39; is running or waiting."),
    "upload": (_upload, "A dataset is being uploaded or imported."),
    "download": (_download, "A model is being downloaded."),
    "delivery": (_delivery, "An export is being sent."),
    "request": (lambda services: services.folders.enter(), "Another request is still being answered."),
}


@pytest.mark.parametrize("what", UNDER_WAY)
def test_what_is_under_way_ends_first(
    browser: Browser, services: Services, home: Home, disk: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Afterwards, requests are accepted again."""
    monkeypatch.setattr(folders, "PATIENCE", 0.1)
    begin, words = UNDER_WAY[what]
    begin(services)
    browser.get("/settings")
    page = browser.get(browser.post("/settings/move", form={"name": "outputs", "to": str(disk / "x")}).location).text
    assert words in page
    assert "Nothing was moved" in page
    assert f'value="{disk / "x"}"' in page, "what was entered is still there"
    assert not home.outputs.is_symlink()
    assert list(disk.iterdir()) == []
    services.folders.check()


def test_a_worker_that_has_not_left_yet_ends_first(
    services: Services, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so does a preparation, which writes to the cache."""
    for owner, words in ((services.watcher, "its process is still there"), (services.preparations, "being prepared")):
        with monkeypatch.context() as patch:
            patch.setattr(type(owner), "busy", True)
            with pytest.raises(Conflict, match=words):
                services.folders.move("cache", str(disk / "x"))


def _places(home: Home, disk: Path) -> dict[str, tuple[str, str]]:
    (disk / "full").mkdir()
    (disk / "full" / "file").touch()
    (disk / "file").touch()
    (disk / "link").symlink_to(home.configs)
    return {
        "": ("", "whole path"),
        "relative": ("runs", "whole path"),
        "not a path": (f"/{'x' * 300}/{'x' * 300}", "not a valid path"),
        "unprintable": ("/mnt/\x07", "whole path"),
        "in the home": (str(home.root / "big"), "overlaps"),
        "in itself": (str(home.outputs / "big"), "overlaps"),
        "around the home": (str(home.root.parent), "overlaps"),
        "by a link": (str(disk / "link" / "x"), "overlaps"),
        "by dots": (f"{disk}/../{disk.name}/full", "not empty"),
        "the program": (str(PROJECT / "core" / "x"), "overlaps"),
        "system": ("/etc/tunesmith", "belongs to the system"),
        "memory": ("/dev/shm/tunesmith", "belongs to the system"),
        "top": ("/tunesmith", "belongs to the system"),
        "no parent": (str(disk / "none" / "x"), "does not exist"),
        "not empty": (str(disk / "full"), "not empty"),
        "a file": (str(disk / "file"), "not empty"),
    }


def test_only_a_new_or_empty_own_folder_is_accepted(services: Services, home: Home, disk: Path) -> None:
    """Each with its reason; nothing is created."""
    places = _places(home, disk)
    before = sorted(disk.iterdir())
    for name, (path, words) in places.items():
        with pytest.raises(InvalidInput) as refused:
            services.folders.move("outputs", path)
        assert words in refused.value.message, name
    assert sorted(disk.iterdir()) == before
    with pytest.raises(InvalidInput, match="which folder"):
        services.folders.move("../outside", str(disk / "x"))
    with pytest.raises(Conflict, match="there already"):
        services.folders.move("outputs")


def test_a_whole_disk_is_not_a_folder(services: Services, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmounted, it would be an empty folder; and a mount point cannot be renamed."""
    monkeypatch.setattr(os.path, "ismount", lambda path: path == disk / "mounted")
    (disk / "mounted").mkdir()
    with pytest.raises(InvalidInput, match="whole disk"):
        services.folders.move("outputs", str(disk / "mounted"))
    monkeypatch.setattr(os.path, "ismount", lambda path: path == services.settings.home.outputs)
    with pytest.raises(Conflict, match="of its own"):
        services.folders.move("outputs", str(disk / "x"))


def test_without_enough_room_nothing_is_copied(
    services: Services, home: Home, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the sizes."""
    (home.outputs / "weights").write_bytes(b"w" * 3_000_000)
    free = shutil.disk_usage(other)._replace(free=folders.SPARE + 2_999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(Unavailable) as refused:
        services.folders.move("outputs", str(other / "x"))
    assert (
        f"{home.outputs} is 3.0 MB, and 253.0 MB are free in {other}; 250.0 MB must stay free." in refused.value.message
    )
    assert list(other.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free._replace(free=folders.SPARE + 3_000_000))
    services.folders.move("outputs", str(other / "x"))
    until(services.folders.held, lambda held: not held)
    assert (home.outputs.resolve() / "weights").stat().st_size == 3_000_000
    assert home.outputs.resolve() == other / "x"


def test_an_unwritable_place_is_reported(
    services: Services, home: Home, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of the attempt is left."""
    mkdir = Path.mkdir

    def refuse(path: Path, *args: Any, **more: Any) -> None:
        if path.parent == disk:
            raise PermissionError(13, "Permission denied")
        mkdir(path, *args, **more)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Unavailable, match=r"cannot be made: Permission denied\. Nothing was moved"):
        services.folders.move("outputs", str(disk / "x"))
    services.folders.check()
    assert not home.outputs.is_symlink()


def test_it_needs_a_login_and_the_token_of_the_page(browser: Browser, guarded: Flask, home: Home, disk: Path) -> None:
    """As for every form."""
    form = {"name": "outputs", "to": str(disk / "x")}
    browser.get("/settings")
    assert browser.post("/settings/move", form={**form, "csrf_token": "wrong"}).status_code == 403
    assert browser.post("/settings/move/cancel", form={"csrf_token": "wrong"}).status_code == 403
    stranger = Browser(guarded)
    assert "/login" in stranger.post("/settings/move", form=form).location
    assert list(disk.iterdir()) == []
    assert not home.outputs.is_symlink()
    stranger.get("/login")
    stranger.post("/login", form={"token": TOKEN})
    stranger.get("/settings")
    stranger.post("/settings/move", form=form)
    moved(stranger)
    assert home.outputs.resolve() == disk / "x"


def test_without_its_disk_a_start_says_so(settings: Settings, disk: Path) -> None:
    """And no empty folder is created in its place."""
    outputs = settings.home.outputs
    outputs.rmdir()
    outputs.symlink_to(disk / "gone" / "runs")
    with pytest.raises(Unavailable) as refused:
        create_app(settings)
    assert f"{outputs} is a link to {disk / 'gone' / 'runs'}, which is not there. Connect the disk" in (
        refused.value.message
    )
    assert not (disk / "gone").exists()


def test_a_filled_home_works_as_before(
    app: Flask, browser: Browser, client: FlaskClient, home: Home, other: Path
) -> None:
    """All four folders on another disk: the same runs, exports and sizes, at the same addresses."""
    sample.fill(home.root)
    app.test_cli_runner().invoke(args=["rebuild"])
    addresses = ("training/sessions", "exports/list", f"exports/{sample.EXPORT}", "datasets/list", "evaluations/list")

    def seen() -> list[Any]:
        answers = [client.get(f"/api/{address}") for address in addresses]
        assert [answer.status_code for answer in answers] == [200] * len(answers)
        assert client.get(f"/runs/{sample.FINISHED}").status_code == 200
        return [answer.json for answer in answers]

    before = seen()
    for name in folders.MOVABLE:
        browser.get("/settings")
        browser.post("/settings/move", form={"name": name, "to": str(other / name)})
        assert f"were moved to {other / name}" in moved(browser), name
    assert seen() == before
