"""The end of a run, posted to the address in Settings."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from core.settings import Home
from services.machine import webhook
from services.machine.preferences import PreferenceStore
from services.machine.webhook import EVENT, Webhook


class Listener(ThreadingHTTPServer):
    """Receives posts, and responds as a test wants."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.arrived = threading.Semaphore(0)
        self.status, self.body = 200, b"ok"
        self.headers: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook?key=1"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Listener

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)
        self.server.arrived.release()

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> PreferenceStore:
    return PreferenceStore(Home(tmp_path))


@pytest.fixture
def hook(store: PreferenceStore) -> Iterator[Webhook]:
    kept: dict[str, Any] = {}
    found = Webhook(store, 5000, kept.__setitem__, kept.get)
    yield found
    found.close()


def ends(status: str, session_id: str = "run-1", **more: Any) -> dict[str, Any]:
    return {"session_id": session_id, "name": "Sums", "status": status, "step": 3, "max_steps": 9, **more}


def test_each_end_of_a_run_is_posted_once(store: PreferenceStore, hook: Webhook, listener: Listener) -> None:
    """However often it is announced; a resumed run ends again. Only the facts are sent, nothing private."""
    store.change({"webhook_url": listener.url, "hf_token": "hf_secret"})
    for status in ("queued", "training", "stopped", "stopped", "queued", "training", "failed"):
        hook.heard(EVENT, ends(status, error="It broke." if status == "failed" else None))
    hook.heard("export_progress", ends("completed", "export-1"))
    for _ in range(2):
        assert listener.arrived.acquire(timeout=60)
    path, headers, body = listener.got[1]
    assert [body["status"] for _, _, body in listener.got] == ["stopped", "failed"]
    assert (path, body["event"], body["error"], body["step"]) == ("/hook?key=1", "run_ended", "It broke.", 3)
    assert headers["Content-Type"] == "application/json"
    assert "hf_secret" not in json.dumps([headers, body])
    assert not {"Cookie", "Authorization"} & headers.keys()


def test_a_run_that_ends_does_not_wait_for_the_webhook(
    store: PreferenceStore, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event returns before the response, and even if the queue is full."""
    store.change({"webhook_url": "http://127.0.0.1:9/"})
    held, begun = threading.Event(), threading.Event()

    def slow(*_args: object) -> int:
        begun.set()
        assert held.wait(60)
        return 200

    monkeypatch.setattr(webhook, "_post", slow)
    for number in range(webhook.WAITING + 20):
        hook.heard(EVENT, ends("completed", f"run-{number}"))
    assert begun.wait(60)
    held.set()


def test_without_an_address_nothing_is_sent(hook: Webhook) -> None:
    """Not even a thread is started."""
    hook.heard(EVENT, ends("completed"))
    assert (hook._thread, hook.last()) == (None, None)
    with pytest.raises(InvalidInput, match="save it first"):
        hook.test()


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (204, {}, "Delivered"),
        (500, {}, "answered HTTP 500"),
        (302, {"Location": "http://169.254.169.254/latest"}, "redirects"),
    ],
)
def test_a_test_message_says_how_it_went(
    store: PreferenceStore,
    hook: Webhook,
    listener: Listener,
    status: int,
    headers: dict[str, str],
    words: str,
) -> None:
    """Redirects are not followed; the outcome is kept for the Settings page."""
    store.change({"webhook_url": listener.url})
    listener.status, listener.headers, listener.body = status, headers, b""
    sent = hook.test()
    assert (sent.ok, hook.last()) == (status == 204, sent)
    assert words in sent.message
    assert [body["test"] for _, _, body in listener.got] == [True]


def test_an_endless_answer_is_cut_off(store: PreferenceStore, hook: Webhook, listener: Listener) -> None:
    """Only a few bytes of it are read."""
    store.change({"webhook_url": listener.url})
    listener.body = b"x" * 5_000_000
    assert hook.test().ok


def test_an_answer_that_drips_is_given_up(
    store: PreferenceStore, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte arrives within the timeout, but it would never end."""
    monkeypatch.setattr(webhook, "IN_ALL", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        store.change({"webhook_url": f"http://127.0.0.1:{server.getsockname()[1]}/"})
        over = threading.Event()

        def drip() -> None:
            client, _ = server.accept()
            with client, suppress(OSError):
                while not over.wait(0.02):
                    client.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        sent = hook.test()
        over.set()
        thread.join()
    assert not sent.ok


def test_an_unreachable_address_is_reported(store: PreferenceStore, hook: Webhook) -> None:
    """A refused connection, and a name that does not resolve."""
    for url in ("http://127.0.0.1:1/", "http://nowhere.invalid/"):
        store.change({"webhook_url": url})
        sent = hook.test()
        assert not sent.ok
        assert sent.message.startswith("Not delivered: ")


def test_the_servers_own_address_is_refused(store: PreferenceStore, listener: Listener) -> None:
    """A request from this machine needs no login there."""
    own = listener.server_address[1]
    store.change({"webhook_url": f"http://localhost:{own}/api/training/start"})
    hook = Webhook(store, own, lambda *_: None, lambda _: None)
    assert "own address" in hook.test().message
    assert listener.got == []


@pytest.mark.parametrize(
    ("peer", "refused"),
    [
        ("169.254.169.254", True), ("::ffff:169.254.169.254", True), ("fe80::1%eth0", True), ("224.0.0.1", True),
        ("0.0.0.0", True), ("192.168.1.5", False), ("127.0.0.1", False), ("93.184.216.34", False),
    ],
)  # fmt: skip
def test_the_address_that_was_reached_is_what_counts(peer: str, refused: bool) -> None:
    """Link-local addresses are cloud metadata services; the local network is allowed."""

    class Socket:
        def getpeername(self) -> tuple[str, int]:
            return peer, 80

        def getsockname(self) -> tuple[str, int]:
            return "10.0.0.1", 40000

    if refused:
        with pytest.raises(InvalidInput, match="not allowed"):
            webhook._check_peer(Socket(), 5000)  # type: ignore[arg-type]
    else:
        webhook._check_peer(Socket(), 5000)  # type: ignore[arg-type]
