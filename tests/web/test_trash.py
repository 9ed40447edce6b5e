"""Deleting on pages and by API: everything goes to the trash, with an Undo."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.settings import Home
from services.container import Services
from services.jobs.rebuild import rebuild
from tests.browser import sample
from tests.conftest import TINY, Browser

ROWS = b'{"question": "1", "answer": "2"}\n' * 3
REWARD = {"type": "preset", "preset_name": "math"}


def items(client: FlaskClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (client.get("/api/trash").json or {})["items"]
    return found


@pytest.fixture
def filled(app: Flask, home: Home, client: FlaskClient) -> dict[str, tuple[str, str]]:
    """One of each kind: its address and that of its Delete button."""
    sample.fill(home.root)
    app.test_cli_runner().invoke(args=["rebuild"])
    dataset = (client.post("/api/datasets/upload", data={"file": (io.BytesIO(ROWS), "rows.jsonl")}).json or {})["id"]
    client.post("/api/configs/save", json={"name": "My preset", "config": TINY})
    client.post("/api/rewards/save", json={"name": "strict", "reward": REWARD})
    return {
        "run": (f"/api/training/sessions/{sample.FINISHED}", f"/runs/{sample.FINISHED}/delete"),
        "export": (f"/api/exports/{sample.EXPORT}", f"/exports/{sample.EXPORT}/delete"),
        "evaluation": (f"/api/evaluations/{sample.EVALUATION}", f"/evaluations/{sample.EVALUATION}/delete"),
        "dataset": (f"/api/datasets/{dataset}", f"/datasets/{dataset}/delete"),
        "preset": ("/api/configs/load?name=My preset", "/configs/delete"),
        "reward": ("/api/rewards/saved/strict", "/rewards/strict/delete"),
    }


@pytest.mark.parametrize("kind", ["run", "export", "evaluation", "dataset", "preset", "reward"])
def test_what_a_page_deletes_is_undone_by_its_button(
    browser: Browser, client: FlaskClient, filled: dict[str, tuple[str, str]], kind: str
) -> None:
    """The API returns the same as before."""
    address, delete = filled[kind]
    before = client.get(address).json
    browser.get("/")
    answer = browser.post(delete, form={"name": "My preset"})
    assert client.get(address).status_code == 404
    page = browser.get(answer.location).text
    undo = re.search(r'action="(/settings/trash/[\w-]+/restore)"', page)
    assert undo
    assert 'data-testid="undo"' in page
    restored = browser.post(undo[1])
    assert client.get(address).json == before
    assert "restored." in browser.get(restored.location).text
    assert items(client) == []


def test_the_api_deletes_and_restores(client: FlaskClient, filled: dict[str, tuple[str, str]]) -> None:
    """DELETE responds as before; the trash lists items newest first, with the time of permanent deletion."""
    addresses = {kind: address.replace("load?name=", "") for kind, (address, _) in filled.items()}
    order = ["export", "evaluation", "run", "dataset", "preset", "reward"]
    for kind in order:
        assert client.delete(addresses[kind]).status_code == 204
        assert client.delete(addresses[kind]).status_code == 404
    found = items(client)
    assert sorted(item["kind"] for item in found) == sorted(order)
    assert all(item["size"] > 0 and item["deletes_at"] > item["deleted_at"] for item in found)
    for item in found:
        assert client.post(f"/api/trash/{item['id']}/restore").json == {
            name: item[name] for name in ("id", "kind", "name", "deleted_at", "size")
        }
        assert client.post(f"/api/trash/{item['id']}/restore").status_code == 404
    assert all(client.get(address).status_code == 200 for address, _ in filled.values())


def test_a_check_before_training_is_deleted_and_undone(
    browser: Browser, client: FlaskClient, services: Services
) -> None:
    """Once it has ended; the setup that refers to it works without it, and again with it."""
    view = services.probes.start(TINY)
    services.wizard.remember("train", probe_id=view.probe_id)
    assert client.delete(f"/api/probe/{view.probe_id}").status_code == 409
    browser.get(f"/probe/{view.probe_id}")
    browser.post(f"/probe/{view.probe_id}/delete")
    assert "Stop it first" in browser.get(f"/probe/{view.probe_id}").text
    services.probes.stop(view.probe_id)
    before = client.get(f"/api/probe/{view.probe_id}").json
    assert 'data-testid="delete-probe"' in browser.get(f"/probe/{view.probe_id}").text
    answer = browser.post(f"/probe/{view.probe_id}/delete")
    page = browser.get(answer.location)
    assert (page.status_code, client.get(f"/api/probe/{view.probe_id}").status_code) == (200, 404)
    undo = re.search(r'action="(/settings/trash/[\w-]+/restore)"', page.text)
    assert undo
    assert browser.post(undo[1]).location == f"/probe/{view.probe_id}"
    assert client.get(f"/api/probe/{view.probe_id}").json == before
    assert client.delete(f"/api/probe/{view.probe_id}").status_code == 204


def test_a_restart_keeps_the_trash(client: FlaskClient, services: Services, filled: dict[str, tuple[str, str]]) -> None:
    """A rebuilt database does not bring back deleted items."""
    address, _ = filled["run"]
    client.delete(address)
    rebuild(services.settings.home, services.database)
    services.trash.start()
    assert client.get(address).status_code == 404
    client.post(f"/api/trash/{items(client)[0]['id']}/restore")
    assert client.get(address).status_code == 200


def test_the_trash_is_emptied_for_good(
    browser: Browser, client: FlaskClient, home: Home, filled: dict[str, tuple[str, str]]
) -> None:
    """One by one, or all at once."""
    for kind in ("dataset", "reward", "preset"):
        client.delete(filled[kind][0].replace("load?name=", ""))
    page = browser.get("/settings/trash").text
    assert page.count('data-testid="trash-item"') == 3
    one = items(client)[0]
    browser.post(f"/settings/trash/{one['id']}/delete")
    assert one["id"] not in [item["id"] for item in items(client)]
    assert client.delete(f"/api/trash/{one['id']}").status_code == 404
    browser.post("/settings/trash/empty")
    assert "The trash is empty" in browser.get("/settings/trash").text
    assert list(home.trash.iterdir()) == []
    assert (client.delete("/api/trash").json or {})["freed"] == 0


def test_what_cannot_be_restored_says_why(browser: Browser, client: FlaskClient, home: Home) -> None:
    """On the trash page."""
    made = (client.post("/api/datasets/upload", data={"file": (io.BytesIO(ROWS), "rows.jsonl")}).json or {})["id"]
    client.delete(f"/api/datasets/{made}")
    (home.uploads / made).mkdir()
    browser.get("/settings/trash")
    browser.post(f"/settings/trash/{items(client)[0]['id']}/restore")
    assert "another dataset in its place" in browser.get("/settings/trash").text
    assert len(items(client)) == 1
