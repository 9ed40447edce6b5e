"""The Settings page and its API: changes apply at once, and secrets are never shown."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.settings import Home, Settings
from flask_app import create_app
from services.container import Services
from services.machine import hub_account
from tests.conftest import Browser, tiny

TOKEN = "hf_abcdefghijklmnop"


class Hub(BaseHTTPRequestHandler):
    """A Hub that knows one token."""

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}" and self.path == "/api/whoami-v2"
        body = b'{"name": "ada"}' if known else b'{"error": "Invalid"}'
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub_account, "HUB", f"http://127.0.0.1:{server.server_address[1]}")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub_account, "HUB", "http://127.0.0.1:1")


def patch(client: FlaskClient, **changes: Any) -> Any:
    return client.patch("/api/settings", json=changes)


def test_settings_hold_at_once(browser: Browser, client: FlaskClient) -> None:
    """On the next page, without a restart."""
    browser.get("/settings")
    form = {"theme": "dark", "base_model": "Qwen/Qwen3-0.6B", "trash_days": "7"}
    browser.post("/settings", form=form)
    page = browser.get("/new/model").text
    assert 'data-theme="dark"' in page
    assert 'data-shortcuts="off"' in page
    assert 'data-notify="off"' in page
    assert "Settings saved." in page
    kept = client.get("/api/settings").json or {}
    assert {name: kept[name] for name in (*form, "shortcuts", "notifications")} == {
        "theme": "dark", "base_model": "Qwen/Qwen3-0.6B", "trash_days": 7, "shortcuts": False, "notifications": False,
    }  # fmt: skip
    browser.post("/settings", form={**form, "theme": "system", "notifications": "on", "shortcuts": "on"})
    page = browser.get("/settings").text
    assert "data-theme" not in page
    assert "data-shortcuts" not in page
    assert 'data-notify="on"' in page


def test_the_button_in_the_top_bar_is_the_same_setting(browser: Browser, client: FlaskClient) -> None:
    """Neither overrides the other."""
    browser.get("/")
    browser.post("/theme", form={"theme": "light", "back": "/"})
    assert (client.get("/api/settings").json or {})["theme"] == "light"
    patch(client, theme="dark")
    assert 'data-theme="dark"' in browser.get("/").text
    browser.post("/theme", form={"theme": "pink", "back": "/"})
    assert (client.get("/api/settings").json or {})["theme"] == "system"


def test_a_new_run_starts_with_the_default_model(services: Services, client: FlaskClient) -> None:
    """An explicitly chosen model stays."""
    patch(client, base_model="org/mine")
    assert services.wizard.draft().model.name == "org/mine"
    services.wizard.put(model={"name": "org/chosen"})
    patch(client, base_model="org/other")
    assert services.wizard.draft().model.name == "org/chosen"


@pytest.mark.usefixtures("hub")
def test_a_token_is_checked_kept_and_never_shown(
    browser: Browser, client: FlaskClient, home: Home, services: Services
) -> None:
    """Not on the page, in the API or in an error."""
    browser.get("/settings")
    browser.post("/settings/token", form={"token": f" {TOKEN} "})
    page = browser.get("/settings").text
    assert "signed in to Hugging Face as ada" in page
    assert "account <strong>ada</strong>" in page
    assert services.deliveries.has_token()
    answer = patch(client, theme="dark")
    assert (answer.json or {})["hf_token"] == {"set": True, "source": "settings", "user": "ada"}
    wrong = "hf_wrongwrongwrong"
    browser.post("/settings/token", form={"token": wrong})
    refused = browser.get("/settings").text
    assert "accept this token, so it was not saved" in refused
    by_api = patch(client, hf_token=wrong, theme="light")
    assert (by_api.status_code, (by_api.json or {})["error"]["field"]) == (400, "hf_token")
    kept = client.get("/api/settings")
    assert ((kept.json or {})["theme"], (kept.json or {})["hf_token"]["user"]) == ("dark", "ada")
    for text in (page, refused, answer.text, by_api.text, kept.text):
        assert TOKEN not in text
        assert wrong not in text
    assert home.preferences.stat().st_mode & 0o777 == 0o600
    browser.post("/settings/token", form={"action": "remove"})
    assert "No token yet" in browser.get("/settings").text
    assert TOKEN not in home.preferences.read_text()


@pytest.mark.usefixtures("no_hub")
def test_a_token_is_kept_unchecked_without_a_network(client: FlaskClient) -> None:
    """Its owner is shown once known; an invalid token is refused without a request."""
    answer = patch(client, hf_token=TOKEN)
    assert (answer.json or {})["hf_token"] == {"set": True, "source": "settings", "user": None}
    assert patch(client, hf_token="no token").status_code == 400
    assert (patch(client, hf_token="").json or {})["hf_token"]["set"] is False


def test_the_environment_comes_first(settings: Settings, home: Home) -> None:
    """And the page says so."""
    app = create_app(replace(settings, hf_token="hf_of_the_environment"))
    app.extensions["tunesmith"].preferences.change({"hf_token": TOKEN})
    page = app.test_client().get("/settings").text
    app.extensions["tunesmith"].close()
    assert "environment variable HF_TOKEN" in page
    assert "The token saved here is not used" in page
    assert "hf_of_the_environment" not in page
    assert TOKEN not in page


@pytest.mark.parametrize(
    "changes", [{"theme": "pink"}, {"trash_days": -1}, {"webhook_url": "file:///x"}, {"unknown": 1}, {"shortcuts": "?"}]
)
def test_what_cannot_be_used_changes_nothing(client: FlaskClient, changes: dict[str, Any]) -> None:
    """Neither does anything sent along with it."""
    before = client.get("/api/settings").json
    answer = patch(client, **{"base_model": "org/new", **changes})
    assert (answer.status_code, (answer.json or {})["error"]["field"]) == (400, next(iter(changes)))
    assert client.get("/api/settings").json == before


def test_a_damaged_file_is_reported_on_the_page(app: Flask, home: Home) -> None:
    """With the path of its backup; every page works."""
    home.preferences.write_text("{")
    client = app.test_client()
    page = client.get("/settings").text
    assert "settings.json could not be read" in page
    assert "settings.json.damaged-" in page
    assert client.get("/").status_code == 200


def test_a_webhook_that_fails_is_seen_in_settings(browser: Browser, client: FlaskClient, services: Services) -> None:
    """With the reason; the run itself ends normally."""
    browser.get("/settings")
    browser.post("/settings/webhook", form={"webhook_url": "http://127.0.0.1:1/", "action": "test"})
    page = browser.get("/settings").text
    assert "Last message: Not delivered:" in page
    assert ((client.get("/api/settings").json or {})["webhook"] or {})["ok"] is False
    browser.post("/settings/webhook", form={"webhook_url": "gopher://x"})
    assert "Not saved. Webhook URL" in browser.get("/settings").text
    assert services.preferences.get().webhook_url == "http://127.0.0.1:1/"
    browser.post("/settings/webhook", form={"webhook_url": ""})
    assert client.post("/api/settings/webhook/test").status_code == 400


class Receiver(BaseHTTPRequestHandler):
    """Records what is posted."""

    def do_POST(self) -> None:
        self.server.got.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: object) -> None: ...


def test_the_end_of_a_run_is_posted(client: FlaskClient, services: Services) -> None:
    """By the server, to the address in Settings; queued and running ones are not."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    got: queue.Queue[dict[str, Any]] = queue.Queue()
    server.got = got  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    patch(client, webhook_url=f"http://127.0.0.1:{server.server_address[1]}/ended")
    services.runs.start(tiny("told"), session_id="told")
    services.runs.start(tiny("waiting"), session_id="waiting")
    services.runs.stop("told")
    said = got.get(timeout=60)
    server.shutdown()
    thread.join()
    server.server_close()
    assert (said["session_id"], said["name"], said["status"]) == ("told", "told", "stopped")
    assert got.empty()


def test_settings_are_changed_by_the_pages_own_forms_only(browser: Browser, guarded: Flask) -> None:
    """A browser without the page's token is refused, and so is everyone without a login."""
    browser.get("/settings")
    browser.csrf = "wrong"
    assert browser.post("/settings", form={"theme": "dark"}).status_code == 403
    assert guarded.test_client().get("/api/settings").status_code == 401
