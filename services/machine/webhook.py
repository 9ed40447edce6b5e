"""Sends a webhook when a run ends: one POST of JSON to the address in Settings.

It never delays a job: events go into a queue, and a separate thread sends them. The user chooses the address, but the
request is restricted: http or https, no redirects, none of our cookies or secrets, a few seconds, a few bytes of the
response, and never to this server or to link-local addresses, where cloud providers serve machine metadata.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel

from core.errors import InvalidInput, Unavailable
from core.moment import now
from services.machine.preferences import PreferenceStore

log = logging.getLogger(__name__)

EVENT = "training_status"
ENDS = frozenset({"completed", "stopped", "failed", "crashed"})
TIMEOUT = 5.0
"""Seconds for the connection, and again for each piece that arrives."""
IN_ALL = 10.0
"""Seconds after which a slow response is aborted."""
MOST = 4096
"""Bytes that are read of a response."""
WAITING = 100
"""Queued events; more than that are dropped."""
KEY = "webhook_result"


class Sent(BaseModel):
    """Result of the last request. ``at`` is ISO 8601, UTC."""

    at: str
    ok: bool
    message: str


class Webhook:
    """Listens to the events of runs and posts their ends.

    Args:
        preferences: Has the address.
        own_port: This server's port.
        remember: Stores the last result across restarts.
        recall: Returns it.
    """

    def __init__(
        self,
        preferences: PreferenceStore,
        own_port: int,
        remember: Callable[[str, Any], None],
        recall: Callable[[str], Any],
    ) -> None:
        self._preferences, self._own_port = preferences, own_port
        self._remember, self._recall = remember, recall
        self._told: dict[str, str] = {}
        self._waiting: queue.Queue[tuple[str, dict[str, Any]] | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def heard(self, event: str, payload: dict[str, Any]) -> None:
        """Handle a server event; a run's end is sent once, even if announced repeatedly."""
        if event != EVENT:
            return
        session_id, status = str(payload.get("session_id")), str(payload.get("status"))
        with self._lock:
            before = self._told.pop(session_id, "")
            self._told[session_id] = status
            if len(self._told) > 10 * WAITING:
                del self._told[next(iter(self._told))]
        if status not in ENDS or before == status:
            return
        if url := self._preferences.get().webhook_url:
            self._later(url, body_of(payload))

    def _later(self, url: str, body: dict[str, Any]) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="webhook", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait((url, body))
        except queue.Full:
            log.warning("the webhook is too slow: the message about %s was not sent", body["session_id"])

    def _loop(self) -> None:
        while (item := self._waiting.get()) is not None:
            try:
                self.send(*item)
            except Exception:
                log.exception("the webhook could not be sent")

    def close(self) -> None:
        """End the thread after its current request."""
        with self._lock, suppress(queue.Empty):
            while self._thread:
                self._waiting.get_nowait()
        if self._thread:
            self._waiting.put(None)

    def test(self) -> Sent:
        """Send an example to the saved address. Raises InvalidInput if none is saved."""
        url = self._preferences.get().webhook_url
        if not url:
            raise InvalidInput("Enter an address and save it first.", field="webhook_url")
        example = {"session_id": "test", "name": "Test from Tunesmith", "status": "completed", "test": True}
        return self.send(url, body_of(example))

    def send(self, url: str, body: dict[str, Any]) -> Sent:
        """Post once and store the result. Network errors are not raised."""
        try:
            status = _post(urlsplit(url), json.dumps(body).encode(), self._own_port)
            sent = Sent(at=now(), ok=200 <= status < 300, message=_words(status))
        except (InvalidInput, Unavailable) as error:
            sent = Sent(at=now(), ok=False, message=error.message)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = "it did not answer in time" if isinstance(error, TimeoutError) else str(error) or "no answer"
            sent = Sent(at=now(), ok=False, message=f"Not delivered: {reason[:200].rstrip('.')}.")
        self._remember(KEY, sent.model_dump())
        return sent

    def last(self) -> Sent | None:
        """Result of the last request; None before the first."""
        found = self._recall(KEY)
        return Sent.model_validate(found) if found else None


def body_of(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload: which run, how it ended, how far it got."""
    names = ("session_id", "name", "status", "step", "max_steps", "message", "error", "test")
    return {"event": "run_ended", "sent_at": now(), **{name: payload[name] for name in names if name in payload}}


def _post(url: SplitResult, body: bytes, own_port: int) -> int:
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=TIMEOUT)
    try:
        connection.connect()
        # A timeout applies between bytes: a trickling response would never end.
        giving_up = threading.Timer(IN_ALL, _cut, (connection.sock,))
        giving_up.daemon = True
        giving_up.start()
    except BaseException:
        connection.close()
        raise
    try:
        # Checks the connected address, not the name, which may resolve differently each time.
        _check_peer(connection.sock, own_port)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = {"Content-Type": "application/json", "User-Agent": "Tunesmith", "Connection": "close"}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read(MOST)
        return answer.status
    finally:
        giving_up.cancel()
        connection.close()


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _check_peer(sock: socket.socket, own_port: int) -> None:
    host, port = sock.getpeername()[:2]
    address = ipaddress.ip_address(str(host).partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    here = address.is_loopback or str(address) == str(sock.getsockname()[0])
    if here and port == own_port:
        raise InvalidInput("Not delivered: this is Tunesmith's own address.")
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        raise InvalidInput(f"Not delivered: {address} is a link-local or multicast address, which is not allowed.")


def _words(status: int) -> str:
    if 200 <= status < 300:
        return f"Delivered (HTTP {status})."
    if 300 <= status < 400:
        return f"Not delivered: the address redirects (HTTP {status}). Enter the address that it leads to."
    return f"Not delivered: the address answered HTTP {status}."
