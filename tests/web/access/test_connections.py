"""Slow clients and too many connections, against a real server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from commands import connections
from commands.connections import Server, SteadyReader
from routes import _guard, errors

START = b"GET /api/ HTTP/1.1\r\nHost: localhost\r\n"
UPLOAD = b"POST /api/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that counts the bytes it receives."""
    monkeypatch.setattr(connections, "GRACE", 1.0)
    app = Flask(__name__)
    app.register_blueprint(errors.bp)

    @app.route("/api/", methods=["GET", "POST"])
    def count() -> str:
        return str(len(request.get_data()))

    server = Server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()


def connect(port: int, first: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(first)
    return client


def answer(client: socket.socket) -> bytes:
    """Everything the server sends until it closes the connection."""
    got = b""
    with client:
        while piece := _received(client):
            got += piece
    return got


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(4096)
    except ConnectionResetError:
        return b""


def drip(client: socket.socket) -> None:
    """Send one byte every tenth of a second until the server closes the connection."""
    try:
        while True:
            client.sendall(b"x")
            time.sleep(0.1)
    except OSError:
        return


@pytest.mark.parametrize("first", [b"", b"GET", START, START + b"X-Long: "])
@pytest.mark.parametrize("dripping", [False, True])
def test_half_a_request_is_not_waited_for_without_end(port: int, first: bytes, *, dripping: bool) -> None:
    """Whether the client is silent or sends a byte now and then."""
    client = connect(port, first)
    if dripping:
        threading.Thread(target=drip, args=(client,), daemon=True).start()
    answer(client)  # ends when the server closes


def test_a_body_that_drips_in_is_refused(port: int) -> None:
    """The response says why, so that a user on a slow connection knows."""
    client = connect(port, UPLOAD % 1_000_000 + b"x" * 100)
    threading.Thread(target=drip, args=(client,), daemon=True).start()
    assert b"408" in answer(client)[:20]


def test_a_steady_body_is_taken(port: int) -> None:
    """It takes longer than the grace period, but at a sufficient rate."""
    client = connect(port, UPLOAD % 32_000)
    for _ in range(16):
        client.sendall(b"x" * 2_000)
        time.sleep(0.1)
    assert answer(client).endswith(b"32000")


def test_there_is_a_limit_on_connections(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections above the limit are refused at once; closed ones make room."""
    monkeypatch.setattr(connections, "GRACE", 30.0)
    held = [connect(port, START) for _ in range(connections.MOST_CONNECTIONS)]
    until = time.monotonic() + 30
    while b"503" not in (said := answer(connect(port, START + b"\r\n"))):
        assert time.monotonic() < until  # the held connections may not all have been accepted yet
    assert b"Retry-After" in said
    for client in held:
        client.close()
    until = time.monotonic() + 30
    while b"200 OK" not in answer(connect(port, START + b"\r\n")):
        assert time.monotonic() < until


def test_there_is_a_limit_on_sockets(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new socket is refused with a message; open ones keep working."""
    monkeypatch.setattr(_guard, "MOST_SOCKETS", 2)
    path = "/socket.io/?EIO=4&transport=polling"
    first = [client.get(path) for _ in range(2)]
    assert [one.status_code for one in first] == [200, 200]
    late = client.get(path)
    assert late.status_code == 503
    assert "Close some" in (late.json or {})["error"]["message"]
    sid = first[0].get_data(as_text=True).split('"sid":"')[1].split('"')[0]
    assert client.post(f"{path}&sid={sid}", data="40").status_code == 200


def test_a_connection_that_a_websocket_has_closed_is_at_its_end() -> None:
    """Werkzeug reads the next request from it: that is end of file, not an error with a traceback in the log."""
    here, there = socket.socketpair()
    reader = SteadyReader(here)
    here.close()
    there.close()
    assert reader.read() == b""
