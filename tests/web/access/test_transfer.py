"""Responses are compressed where that is safe; static files are cached under content-based addresses."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from routes._transfer import content_version
from tests.conftest import Browser

GZIP = {"Accept-Encoding": "gzip, deflate, br"}


def opened(browser: Browser, site: str = "none", **headers: str) -> TestResponse:
    """The help page as a browser requests it, as raw bytes."""
    own = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": site}
    return browser.client.get("/help", base_url=browser.base, headers={**own, **headers})


def closed(client: FlaskClient, path: str, **headers: str) -> TestResponse:
    """A response whose file is closed, as the server does after sending it."""
    response = client.get(path, headers={**GZIP, **headers})
    response.get_data()
    response.close()
    return response


def test_a_page_is_compressed_for_the_person_who_opened_it(browser: Browser) -> None:
    """The page shrinks to a third; a client that does not accept gzip gets it uncompressed."""
    plain, packed = opened(browser), opened(browser, **GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert b"<h1>Help</h1>" in gzip.decompress(packed.data)
    assert len(packed.data) < len(plain.data) / 2
    assert int(packed.headers["Content-Length"]) == len(packed.data)
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["Vary"] == packed.headers["Vary"]
    assert "Accept-Encoding" in packed.headers["Vary"]


@pytest.mark.parametrize(
    ("site", "packed"), [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False)]
)
def test_what_another_site_asks_for_is_not_compressed(browser: Browser, site: str, packed: bool) -> None:
    """The size of a compressed page leaks its secrets to anyone who can repeat the request (BREACH)."""
    answer = opened(browser, site, **GZIP)
    assert (answer.status_code, "Content-Encoding" in answer.headers) == (200, packed)


def test_a_cookie_without_the_request_site_is_not_enough(browser: Browser, client: FlaskClient) -> None:
    """An old browser gets its page uncompressed; an API client, which has no cookie, gets compressed JSON."""
    browser.get("/help")
    old = browser.client.get("/help", base_url=browser.base, headers=GZIP)
    program = client.get("/api/openapi.json", headers=GZIP)
    assert "Content-Encoding" not in old.headers
    assert program.headers["Content-Encoding"] == "gzip"


def test_streams_short_answers_and_binary_files_stay_as_they_are(app: Flask, client: FlaskClient) -> None:
    """A stream must not wait in a buffer, and compressed data would only grow."""
    app.add_url_rule("/stream", "stream", lambda: Response(("x" * 5000 for _ in range(2)), mimetype="text/plain"))
    app.add_url_rule("/events", "events", lambda: Response("x" * 5000, mimetype="text/event-stream"))
    app.add_url_rule("/packed", "packed", lambda: Response(b"x" * 5000, mimetype="application/octet-stream"))
    for path in ("/stream", "/events", "/packed", "/healthz"):
        answer = closed(client, path)
        assert "Content-Encoding" not in answer.headers, path
        assert answer.data


def test_static_files_are_cached_for_a_year_under_their_version(browser: Browser, client: FlaskClient) -> None:
    """The address in the page contains the version, which a module's relative imports inherit."""
    found = re.search(r'src="(/static/v-\w+/js/)app\.js"', browser.get("/help").text)
    assert found
    for path in ("app.js", "lib/live.js"):
        answer = closed(client, found.group(1) + path)
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "immutable" in answer.headers["Cache-Control"]
    for stale in ("/static/v-0000000000/js/app.js", "/static/js/app.js"):
        first = closed(client, stale)
        assert (first.status_code, first.headers["Cache-Control"]) == (200, "no-cache")
        again = closed(client, stale, **{"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
    assert client.get(f"{found.group(1)}../../flask_app.py").status_code == 404


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    """Changed content or a changed name is a new version; identical files keep theirs."""
    file = tmp_path / "css" / "a.css"
    file.parent.mkdir()
    file.write_text("a {}")
    first = content_version(tmp_path)
    assert content_version(tmp_path) == first
    file.write_text("b {}")
    second = content_version(tmp_path)
    file.rename(file.with_name("b.css"))
    assert len({first, second, content_version(tmp_path)}) == 3
