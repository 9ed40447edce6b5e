"""The OpenAI-compatible endpoint, tested with OpenAI's own client."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import psutil
import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.settings import Home, Settings
from services.access.security import Gate, load_secrets
from services.container import Services
from tests.conftest import Browser
from tests.support.live import PATIENCE, Live

MODEL = "builtin:smollm2-135m-instruct"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that serves the built-in model as ``small``; ``token`` is its access token."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.make()
    folder = home.cache / "models" / "smollm2-135m-instruct"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    server = Live(home.root).start()
    server.ask("POST", "/api/models/serve", {"on": True, "model_path": MODEL, "name": "small"})
    server.token = server.ask("POST", "/api/models/serve/key")["token"]
    yield server
    server.close()


@pytest.fixture
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.token, max_retries=0, timeout=PATIENCE) as client:
        yield client


def said(text: str) -> list[Any]:
    return [{"role": "system", "content": "Repeat."}, {"role": "user", "content": text}]


def model_process(live: Live) -> int:
    """The id of the chat process."""
    assert live.process
    (found,) = (child for child in psutil.Process(live.process.pid).children() if child.cmdline()[-1:] == ["chat"])
    return found.pid


def test_the_served_model_is_listed(client: openai.OpenAI) -> None:
    """Only that model, under its given name."""
    assert [model.id for model in client.models.list()] == ["small"]
    assert client.models.retrieve("small").owned_by == "tunesmith"


def test_a_whole_answer(client: openai.OpenAI) -> None:
    """With token counts and the finish reason."""
    answer = client.chat.completions.create(model="small", messages=said("one two three"), temperature=0, seed=5)
    assert answer.choices[0].message.content == "one two three"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (3, 3, 6)


def test_a_limit_and_a_stop_text(client: openai.OpenAI) -> None:
    """Both names of the limit work; the stop text is not part of the answer."""
    for name in ("max_tokens", "max_completion_tokens"):
        short = client.chat.completions.create(model="small", messages=said("one two three"), **{name: 2})  # type: ignore[call-overload]
        assert (short.choices[0].message.content, short.choices[0].finish_reason) == ("one two", "length")
    stopped = client.chat.completions.create(model="small", messages=said("one two three"), stop=["three"])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("one two", "stop")


def test_a_streamed_answer(client: openai.OpenAI) -> None:
    """The chunks, then the finish reason, then the token counts."""
    stream = client.chat.completions.create(
        model="small", messages=said("one two three"), stream=True, stream_options={"include_usage": True}
    )
    *pieces, last, usage = list(stream)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "one two three"
    assert len(pieces) == 4
    assert last.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage
    assert usage.usage.total_tokens == 6


def test_a_closed_stream_ends_the_answer(client: openai.OpenAI, live: Live) -> None:
    """The next request does not wait for a final chunk that never comes."""
    stream = client.chat.completions.create(model="small", messages=said("one hold"), stream=True)
    next(stream)
    process = model_process(live)
    stream.close()
    assert client.chat.completions.create(model="small", messages=said("next")).choices[0].message.content == "next"
    assert model_process(live) == process, "it was killed, not told"


def test_a_disconnect_ends_the_answer(client: openai.OpenAI, live: Live) -> None:
    """A request without streaming is canceled too."""
    client.chat.completions.create(model="small", messages=said("first"))
    process = model_process(live)
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model="small", messages=said("one hold"))
    assert client.chat.completions.create(model="small", messages=said("next")).choices[0].message.content == "next"
    assert model_process(live) == process, "it was killed, not told"


def test_parts_and_newer_roles_are_understood(client: openai.OpenAI) -> None:
    """Content in parts, and ``developer`` as the system prompt."""
    parts: list[Any] = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "a b"}]}]  # fmt: skip # noqa: E501
    assert client.chat.completions.create(model="small", messages=parts).choices[0].message.content == "a b"


def test_a_wrong_key_is_refused(live: Live) -> None:
    """401 in OpenAI's format; so is a missing key, even on this machine."""
    with (
        openai.OpenAI(base_url=f"{live.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        client.models.list()
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(urllib.error.HTTPError) as bare:
        urllib.request.urlopen(f"{live.url}/v1/models", timeout=PATIENCE)
    with bare.value as answer:
        assert (answer.code, json.load(answer)["error"]["type"]) == (401, "invalid_request_error")


@pytest.mark.parametrize(
    ("change", "kind", "param"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError, "model"),
        ({"n": 2}, openai.BadRequestError, "n"),
        ({"temperature": 9}, openai.BadRequestError, "temperature"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "tools"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"messages": said("refuse this")}, openai.BadRequestError, None),
        ({"messages": said("refuse this"), "stream": True}, openai.BadRequestError, None),
        ({"messages": said("please die")}, openai.InternalServerError, None),
    ],
)
def test_unsupported_requests_are_reported(
    client: openai.OpenAI, change: dict[str, Any], kind: Any, param: Any
) -> None:
    """As the client's own exceptions, with the field at fault, before a stream begins."""
    with pytest.raises(kind) as refused:
        client.chat.completions.create(**{"model": "small", "messages": said("hi"), **change})
    assert (refused.value.param, bool(refused.value.message)) == (param, True)


def test_a_stream_that_breaks_says_so(client: openai.OpenAI) -> None:
    """A failure after the first token is an error in the stream."""
    stream = client.chat.completions.create(model="small", messages=said("one die"), stream=True)
    with pytest.raises(openai.APIError, match="memory ran out"):
        list(stream)


def test_other_parts_of_the_service_are_not_here(client: openai.OpenAI) -> None:
    """They are refused in the same format."""
    with pytest.raises(openai.NotFoundError, match="There are /v1/models"):
        client.embeddings.create(model="small", input="a")


# --- the switch ---


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_it_is_off_until_it_is_switched_on(client_of_app: FlaskClient, gate: Gate) -> None:
    """It is off even with a valid key; without a key, nothing is revealed."""
    assert client_of_app.get("/v1/models").status_code == 401
    answer = client_of_app.get("/v1/models", headers=bearer(gate.new_token()))
    assert (answer.status_code, "is off. Turn it on" in answer.get_json()["error"]["message"]) == (404, True)


def test_the_choice_survives_a_restart(client_of_app: FlaskClient, settings: Settings, gate: Gate) -> None:
    """Model, name, switch and key are on disk, the key as a hash."""
    client_of_app.post("/api/models/serve", json={"on": True, "model_path": MODEL})
    token = gate.new_token()
    kept = settings.home.endpoint.read_text() + settings.home.secrets.read_text()
    assert token not in kept
    again = Gate(settings, load_secrets(settings))
    assert again.check_token(token, "here")
    assert not again.login_required
    assert json.loads(settings.home.endpoint.read_text())["name"] == "smollm2-135m-instruct"
    assert client_of_app.post("/api/models/serve", json={"on": False}).get_json()["on"] is False
    assert client_of_app.get("/v1/models", headers=bearer(token)).status_code == 404


def test_a_model_that_is_not_there_is_not_served(client_of_app: FlaskClient, services: Services) -> None:
    """The switch stays as it was."""
    answer = client_of_app.post("/api/models/serve", json={"on": True, "model_path": "session:none"})
    assert answer.status_code == 404
    assert not services.endpoint.served.on


def test_a_token_of_the_environment_is_not_replaced(settings: Settings) -> None:
    """It is set by whoever starts the server."""
    given = Settings(home=settings.home, token="t" * 40)
    gate = Gate(given, load_secrets(given))
    assert gate.key == "environment"
    with pytest.raises(Exception, match="TUNESMITH_TOKEN"):
        gate.new_token()


def test_a_browser_cannot_be_made_to_use_it(app: Flask, gate: Gate) -> None:
    """Neither a cookie nor another site's page gets in."""
    browser = Browser(app)
    browser.get("/playground/serve")
    gate.new_token()
    assert browser.get("/v1/models").status_code == 401
    headers = {**bearer(gate.new_token()), "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    stranger = browser.client.get("/v1/models", headers=headers)
    assert stranger.status_code == 403


def test_the_page_switches_it_on_and_shows_the_key_once(browser: Browser, app: Flask) -> None:
    """With the address, and examples that use the model's name."""
    browser.get("/playground/serve")
    page = browser.post("/playground/serve", form={"action": "on", "model": MODEL, "name": "mine"}).get_data(
        as_text=True
    )
    token = page.partition('data-testid="token">')[2].partition("<")[0]
    assert app.extensions["tunesmith_gate"].check_token(token, "here")
    assert "http://localhost:5000/v1" in page
    assert "&#34;mine&#34;" in page
    assert token not in browser.get("/playground/serve").get_data(as_text=True)
    browser.post("/playground/serve", form={"action": "off"})
    assert ">Off<" in browser.get("/playground/serve").get_data(as_text=True)


@pytest.fixture
def client_of_app(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def gate(app: Flask) -> Gate:
    found: Gate = app.extensions["tunesmith_gate"]
    return found
