"""A run handed to a running server: what that server refuses, and what happens when it is gone."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from commands.train import There
from core.errors import InvalidInput, Unavailable


def answered(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception) -> list[dict[str, Any]]:
    """The server responds with this; returns the requests."""
    asked: list[dict[str, Any]] = []

    def request(method: str, url: str, **more: Any) -> httpx.Response:
        asked.append({"method": method, "url": url, **more})
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(httpx, "request", request)
    return asked


def test_a_run_is_sent_as_it_stands_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the token, and even with values that are not strict JSON: the server reports them."""
    asked = answered(monkeypatch, httpx.Response(202, json={"session_id": "s"}))
    there = There("http://127.0.0.1:5000", "the-token", confirmed=True)
    assert there.start({"training": {"learning_rate": float("nan")}}) == "s"
    (call,) = asked
    assert (call["method"], call["url"]) == ("POST", "http://127.0.0.1:5000/api/training/start")
    assert call["headers"]["Authorization"] == "Bearer the-token"
    assert call["content"] == '{"config": {"training": {"learning_rate": NaN}}, "confirm_reward": true}'


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(422, json={"error": {"message": "batch_size is too small."}}), "batch_size is too small."),
        (httpx.Response(502, text="<h1>Bad gateway</h1>"), "The server answered 502."),
        (httpx.Response(500, json=["no error object"]), "The server answered 500."),
        (
            httpx.Response(401, json={"error": {"message": "Log in first."}}),
            "Log in first. Set TUNESMITH_TOKEN to the server's access token.",
        ),
    ],
)
def test_a_refusal_shows_the_servers_message(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, words: str
) -> None:
    """A response in another format is reported by its status code."""
    answered(monkeypatch, answer)
    with pytest.raises(InvalidInput) as refusal:
        There("http://127.0.0.1:5000", "", confirmed=False).look("s")
    assert refusal.value.message == words


def test_a_server_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its address, with the reason."""
    answered(monkeypatch, httpx.ConnectError("Connection refused"))
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:5000 is not responding: Connection refused\."):
        There("http://127.0.0.1:5000", "", confirmed=False).look("s")
