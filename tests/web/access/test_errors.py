"""The text of every error, for users and for API clients."""

from __future__ import annotations

import errno
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from flask import Flask, abort

from core import errors
from routes.errors import _TITLES
from services.container import Services
from tests.conftest import Browser

OWN: list[tuple[int, Callable[[], Exception], str, str]] = [
    (400, lambda: errors.InvalidInput("A name is needed."), "Invalid request", "invalid_input"),
    (401, lambda: errors.Unauthorized("Send the token."), "Log in to continue", "unauthorized"),
    (403, lambda: errors.Forbidden("Another site's page."), "Not allowed", "forbidden"),
    (404, lambda: errors.NotFound("There is no run x."), "Page not found", "not_found"),
    (409, lambda: errors.Conflict("It is running."), "Not possible right now", "conflict"),
    (413, lambda: errors.TooLarge("More than 5 GB."), "Too large", "too_large"),
    (422, lambda: errors.InvalidConfig([("a.b", "is odd")]), "Some settings need your attention", "invalid_config"),
    (429, lambda: errors.TooManyRequests("Wait a minute."), "Too many requests", "too_many_requests"),
    (503, lambda: errors.Unavailable("The Hub is away."), "Temporarily unavailable", "unavailable"),
    (503, lambda: OSError(errno.ENOSPC, "full"), "Temporarily unavailable", "unavailable"),
    (500, lambda: RuntimeError("secret"), "Something went wrong", "error"),
]
"""Status, raised exception, heading, and code in the JSON."""


def failing(app: Flask, raised: Callable[[], Any]) -> None:
    """Add routes that fail in a given way, one for a page and one for an API client."""

    def fail() -> str:
        raised()
        return ""

    for path in ("/fails", "/api/fails"):
        app.add_url_rule(path, path, fail)


def read(browser: Browser, path: str) -> tuple[int, str, str, str]:
    """Status, document title, heading and text of an error page."""
    response = browser.get(path, Accept="text/html")
    page = unescape(response.get_data(as_text=True))
    title, heading = (page.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0] for tag in ("title", "h1"))
    return response.status_code, title, heading, page.partition("<h1>")[2].partition("</main>")[0]


@pytest.mark.parametrize(("status", "make", "heading", "code"), OWN)
def test_a_failure_says_what_happened_and_what_to_do(
    app: Flask, browser: Browser, status: int, make: Callable[[], Exception], heading: str, code: str
) -> None:
    """A page has a heading, text and a number; an API client gets the standard format. Neither shows a traceback."""

    def raised() -> None:
        raise make()

    failing(app, raised)
    error = make()
    ours = {503: "Free", 500: "Nothing was deleted"}
    words = error.message if isinstance(error, errors.TunesmithError) else ours[status]
    found, title, shown, text = read(browser, "/fails")
    assert (found, title, shown) == (status, f"{heading} · Tunesmith", heading)
    assert words in text
    assert f"Error {status}" in text
    assert "Macro" not in text
    assert "secret" not in text
    response = browser.get("/api/fails")
    assert response.status_code == status
    assert response.json["error"]["code"] == code
    assert words in response.json["error"]["message"]
    assert "secret" not in response.json["error"]["message"]


@pytest.mark.parametrize("status", sorted({*_TITLES} - {422}))
def test_framework_errors_have_our_own_text(app: Flask, browser: Browser, status: int) -> None:
    """Every status that Flask and Werkzeug return has our own heading, explanation and next step."""
    failing(app, lambda: abort(status))
    found, title, heading, text = read(browser, "/fails")
    assert (found, title, heading) == (status, f"{_TITLES[status]} · Tunesmith", _TITLES[status])
    assert f"Error {status}" in text
    error = browser.get("/api/fails").json["error"]
    assert error["message"] in text
    assert error["message"].endswith(".")
    assert error["code"] != "error" or status == 500


def test_an_unlisted_status_still_has_a_page(app: Flask, browser: Browser) -> None:
    """An unlisted status falls back to the framework's text."""
    failing(app, lambda: abort(418))
    status, title, heading, text = read(browser, "/fails")
    assert (status, title, heading) == (418, "Something went wrong · Tunesmith", "Something went wrong")
    assert "Error 418" in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing/here", 404),
        ("GET", "/runs/none-of-these", 404),
        ("GET", "/new/nothing", 404),
        ("GET", "/theme", 405),
        ("POST", "/theme", 403),
    ],
)
def test_real_addresses_answer_with_the_right_page(
    app: Flask, browser: Browser, method: str, path: str, status: int
) -> None:
    """A mistyped address, a deleted run, a wrong method, a form without its token."""
    own = {"Origin": browser.base, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
    response = browser.client.open(path, method=method, base_url=browser.base, headers={**own, "Accept": "text/html"})
    text = response.get_data(as_text=True)
    assert response.status_code == status
    assert f"<h1>{_TITLES[status]}</h1>" in text
    assert f"Error {status}" in text


def test_a_refused_form_leads_back_to_its_page(browser: Browser) -> None:
    """An expired page can be reloaded from its error page; another site's address is never linked."""
    for came, link in (("/configs?q=a", "/configs?q=a"), ("//elsewhere.example/x", "/elsewhere.example/x")):
        text = browser.post("/configs/keep", Accept="text/html", Referer=f"{browser.base}{came}").text
        assert f'<a class="button primary" href="{link}">Reload the page</a>' in text
    text = browser.post("/configs/keep", Accept="text/html", Referer="https://elsewhere.example/configs").text
    assert "elsewhere" not in text
    assert '<a class="button primary" href="/">' in text


def test_an_error_page_is_there_when_the_frame_cannot_be_built(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause may break the layout of the error page too: then only the message is shown."""

    def broken() -> list[Any]:
        raise RuntimeError("no database")

    monkeypatch.setattr(services.runs, "list", broken)
    status, title, _, text = read(browser, "/runs")
    assert (status, title) == (500, "Something went wrong · Tunesmith")
    assert "Nothing was deleted" in text
    assert "no database" not in text
