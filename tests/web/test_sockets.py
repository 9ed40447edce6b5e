"""Socket.IO, with the standard client, against a separate server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import socketio

from core.settings import Home
from tests.conftest import tiny
from tests.support.live import PATIENCE, Listener, Live, hang_up, held, socket_client, until


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = Home(tmp_path_factory.mktemp("home"))
    home.make()
    folder = home.cache / "models" / "smollm2-135m-instruct"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    server = Live(home.root).start()
    yield server
    server.close()


class Client:
    """Records every event by name."""

    def __init__(self, url: str, **more: Any) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.client = socket_client(reconnection=False)
        self.client.on("*", lambda name, data: self.heard.append((name, data)))
        self.client.connect(url, wait_timeout=PATIENCE, **more)

    def of(self, name: str) -> list[Any]:
        return [data for heard, data in self.heard if heard == name]


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    client = Client(live.url)
    yield client
    hang_up(client.client)


def test_connecting_and_listening_is_enough(live: Live, client: Client) -> None:
    """Every row of a run arrives once, in order, beside its states and the system load."""

    def states_of() -> list[str]:
        return [data["status"] for data in client.of("training_status") if data["session_id"] == "heard"]

    with held(live.home):
        live.ask("POST", "/api/training/start", {"config": tiny(max_steps=10), "session_id": "heard"})
        until(states_of, lambda states: "training" in states)
    states = until(states_of, lambda states: "completed" in states)
    rows = [row for row in client.of("training_update") if row["session_id"] == "heard"]
    assert [row["row"] for row in rows] == list(range(1, 11))
    assert {"reward", "step", "loss"} <= set(rows[0])
    assert states[0] == "queued"
    assert [state for i, state in enumerate(states) if i == 0 or states[i - 1] != state] == [
        "queued", "starting", "training", "completed",
    ]  # fmt: skip
    load = until(lambda: client.of("system_update"), bool)[0]
    assert {"cpu", "memory", "gpu_memory", "gpu_utilization"} <= set(load)
    until(lambda: client.of("log_line"), lambda lines: {"session_id": "heard", "line": "step 10"} in lines)


def test_late_clients_get_earlier_rows(live: Live) -> None:
    """By a watch in the middle of a run, and by one after its end."""
    with held(live.home):
        live.ask("POST", "/api/training/start", {"config": tiny(max_steps=30), "session_id": "late"})
        until(lambda: live.status("late"), lambda view: view["step"] >= 8)
        listener = Listener(live.url, "late")
    live.wait("late", "completed")
    until(lambda: len(listener.rows), lambda count: count == 30)
    assert (listener.rows, listener.doubles) == (list(range(1, 31)), [])
    answer = listener.client.call("watch", {"session_id": "late", "after": 27})
    listener.close()
    assert [row["row"] for row in answer["rows"]] == [28, 29, 30]
    assert (answer["next"], answer["status"]) == (30, "completed")


@pytest.mark.parametrize("data", [None, {}, {"session_id": 5}, {"session_id": "../.."}, {"session_id": "none"}])
def test_a_wrong_watch_is_answered_with_an_error(client: Client, data: Any) -> None:
    """And the connection stays open."""
    assert client.client.call("watch", data)["error"]["message"]
    assert client.client.call("watch", data)["error"]["code"] in {"not_found", "invalid_input"}


def test_an_export_is_followed(live: Live, client: Client) -> None:
    """Stage by stage, to every client."""
    live.ask("POST", "/api/training/start", {"config": tiny(max_steps=2), "session_id": "source"})
    live.wait("source", "completed")
    body = {"session_id": "source", "format": "gguf", "quantization": "q8_0"}
    export_id = live.ask("POST", "/api/exports/create", body)["export_id"]

    def heard() -> list[Any]:
        return [data for data in client.of("export_progress") if data["export_id"] == export_id]

    until(heard, lambda found: any(data["status"] == "completed" for data in found))
    steps = [data["step"] for data in heard()]
    assert steps == sorted(steps)
    assert steps[-1] == 2


def test_a_reply_is_streamed_word_by_word(client: Client) -> None:
    """One chat in; chat_token and chat_done out, with the id that was sent."""
    client.client.emit("chat", chat("one two three", id="mine"))
    done = until(lambda: client.of("chat_done"), bool)[0]
    assert (done["id"], done["text"], done["tokens"]) == ("mine", "one two three", 3)
    assert [token["text"] for token in client.of("chat_token")] == ["one ", "two ", "three"]


def test_a_reply_is_seen_by_its_asker_alone(live: Live, client: Client) -> None:
    """Other tabs do not receive it."""
    other = Client(live.url)
    client.client.emit("chat", chat("private words"))
    until(lambda: client.of("chat_done"), bool)
    hang_up(other.client)
    assert [name for name, _ in other.heard if name.startswith("chat")] == []


def test_a_reply_can_be_canceled(client: Client) -> None:
    """It ends with the text so far."""
    client.client.emit("chat", chat("one two hold three", id="long"))
    until(lambda: client.of("chat_token"), lambda tokens: len(tokens) == 2)
    client.client.emit("chat_cancel", {"id": "long"})
    done = until(lambda: client.of("chat_done"), bool)[0]
    assert (done["text"], done["tokens"], done["finish"]) == ("one two", 2, "cancelled")


def test_a_dead_model_process_is_reported_and_restarted(client: Client) -> None:
    """A chat_error says what to do; the next message is answered."""
    client.client.emit("chat", chat("please die now"))
    error = until(lambda: client.of("chat_error"), bool)[0]
    assert "Send again" in error["message"]
    client.client.emit("chat", chat("still there"))
    assert until(lambda: client.of("chat_done"), bool)[0]["text"] == "still there"


@pytest.mark.parametrize(
    "change",
    [{"model_path": "session:none"}, {"model_path": 5}, {"messages": "hi"}, {"temperature": "hot"}, {"max_tokens": 0}],
)
def test_a_wrong_chat_is_answered_with_an_error(client: Client, change: dict[str, Any]) -> None:
    """In the response or as chat_error, never without a reply."""
    answer = client.client.call("chat", {**chat("hello"), **change})
    if "error" not in answer:
        assert until(lambda: client.of("chat_error"), bool)[0]["id"] == answer["id"]


def test_another_origin_gets_no_socket(live: Live) -> None:
    """Neither by polling nor by WebSocket."""
    for transport in ("polling", "websocket"):
        with pytest.raises(socketio.exceptions.ConnectionError):
            Client(live.url, headers={"Origin": "https://evil.example"}, transports=[transport])


def test_one_answer_over_http(live: Live) -> None:
    """POST /api/models/test, for clients without streaming."""
    body = {"model_path": "builtin:smollm2-135m-instruct", "prompt": "say this back", "temperature": 0}
    answer = live.ask("POST", "/api/models/test", body)
    assert (answer["response"], answer["tokens"]) == ("say this back", 3)


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model_path": "builtin:smollm2-135m-instruct", "messages": [{"role": "user", "content": text}], **more}
