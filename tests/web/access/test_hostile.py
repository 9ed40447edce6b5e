"""Hostile requests get a client error, never a server error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from core.settings import Settings
from flask_app import create_app
from tests.conftest import TOKEN, Browser, tiny

HOSTILE = [
    "", " ", "[", "http://[", "http://[::1", "//", "\\", "é", "\x7f", "\x80\xff", "a" * 60_000, "%", "%00", "²", "-1",
    "9" * 400, "{", "null", "http://localhost:5000", "https://localhost:5000/", "Bearer", "Bearer ", "Bearer é",
        "Basic x",
    "bytes=-",
        "bytes=5-1,9-", "application/json; charset=nonsense", "multipart/form-data", "text/html;q=x", "*/*;q=9e999",
    "tunesmith_5000=..", "a=b; a=b;;;=", "gzip;q=-1", "W/\"", "Thu, 99 Foo 0000 99:99:99 GMT",
]  # fmt: skip
HEADERS = [
    "Host", "Origin", "Authorization", "Cookie", "Accept", "Accept-Encoding", "Content-Type", "Content-Length", "Range",
    "If-None-Match", "X-CSRF-Token", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Upgrade", "Transfer-Encoding", "Expect",
]  # fmt: skip


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """An application that is only read from."""
    app = create_app(Settings.from_env({"TUNESMITH_HOME": str(tmp_path_factory.mktemp("home"))}))
    yield app
    app.extensions["tunesmith"].close()


@pytest.mark.parametrize("header", HEADERS)
def test_no_header_causes_a_server_error(app: Flask, guarded: Flask, header: str) -> None:
    """Whatever a header contains, the response is not a 5xx, with or without a login."""
    for one in (app, guarded):
        for value in HOSTILE:
            for method, path in (
                ("GET", "/runs"),
                ("POST", "/api/training/stop"),
                ("POST", "/login"),
                ("GET", "/api/system/status"),
                ("GET", "/socket.io/?EIO=4&transport=polling"),
                ("GET", "/nowhere"),
            ):
                _, status, _ = run_wsgi_app(one, environment(path, method, header, value), buffered=True)
                assert int(status[:3]) < 500, (header, value[:40], method, path, status)


def environment(path: str, method: str, header: str, value: str) -> dict[str, Any]:
    """A WSGI environment as a server would pass it, so that no client library normalizes it first."""
    builder = EnvironBuilder(path=path, method=method, base_url="http://localhost:5000")
    environ = builder.get_environ()
    builder.close()
    name = header.upper().replace("-", "_")
    environ[name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}"] = value
    return environ


@pytest.mark.parametrize("onward", ["/runs\r\nSet-Cookie: a=b", "/\n", "//[", "http://[", "/\x00", "/é²"])
def test_a_login_survives_any_way_on(guarded: Flask, onward: str) -> None:
    """A newline in the return address would inject a header, so it redirects to the home page."""
    browser = Browser(guarded)
    browser.get("/login")
    response = browser.post("/login", form={"token": TOKEN, "next": onward})
    assert response.status_code == 302
    assert response.location == "/" or response.location.startswith("/%")
    assert "a=b" not in response.headers.get("Set-Cookie", "")


@pytest.mark.parametrize("value", ["²", "٣", "-1", "1e3", "9" * 400, "\x00", "a" * 5000, "../x", ""])
@pytest.mark.parametrize(
    "path",
    [
        "/runs?page={}", "/runs/r-1?step={}", "/evaluations/e-1?page={}&model={}", "/new/train?step={}",
        "/datasets?page={}",
        "/api/exports/e-1/download/{}", "/api/training/sessions/{}", "/runs/{}", "/datasets/{}", "/evaluations/{}",
        "/exports/{}", "/configs/{}", "/api/configs/load?name={}", "/api/datasets/{}/rows?start={}",
    ],
)  # fmt: skip
def test_no_address_causes_a_server_error(standing: Flask, path: str, value: str) -> None:
    """Non-digits as numbers, file names that do not exist, huge numbers."""
    assert standing.test_client().get(path.replace("{}", quote(value, safe=""))).status_code < 500


@pytest.mark.parametrize("value", ["²", "~nobody-of-that-name/x", "/\x00", "/" + "a" * 5000, "~\x00", "a" * 5000])
def test_no_path_causes_a_server_error(browser: Browser, value: str) -> None:
    """A field for a local folder accepts any text."""
    browser.get("/exports")
    for field in ("adapter", "base", "checkpoint", "session_id"):
        form = {"choice": "merged", "adapter": "/tmp", field: value}
        assert browser.post("/exports", form=form).status_code < 500
        sent = {"format": "merged", "adapter": "/tmp", field: value}
        assert browser.post("/api/exports/create", json=sent).status_code < 500
    for field in ("model_path", "prompt"):
        assert browser.post("/api/models/test", json={"model_path": "/", "prompt": "x", field: value}).status_code < 500
    config = {**tiny(), "model": {"name": value}}
    assert browser.post("/api/training/start", json={"config": config}).status_code < 500
