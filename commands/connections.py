"""Limits on the server's connections: their number, and slow clients. See docs/decisions/0001-server.md."""

from __future__ import annotations

import io
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

MOST_CONNECTIONS = 400
"""Maximum connections; each uses a thread. Sockets of open pages count, and have their own limit."""
GRACE = 20.0
"""Total seconds of waiting for a request's bytes before the minimum rate applies."""
LEAST_RATE = 500.0
"""Minimum bytes per second, averaged over the waiting time, after :data:`GRACE`."""
SENDING = 120.0
"""Seconds that the client may take to accept one piece of a response."""

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\nToo many connections are open. Close some pages, or try again in a few seconds.\n"
)


class SteadyReader(io.RawIOBase):
    """A connection's incoming bytes; reading raises if the sender is too slow.

    Only the time spent waiting for the sender counts, not what the server does in between.

    Args:
        connection: Read from; its timeout is set for each read, and for the sending that follows.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._waited = 0.0
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As :meth:`io.RawIOBase.readinto`.

        Raises:
            TimeoutError: The sender is too slow. Werkzeug treats it as a dropped connection, and
                :mod:`routes.errors` responds with 408 if a handler was reading.
        """
        if self._connection.fileno() < 0:  # It became a WebSocket, which has closed it: there is no next request.
            return 0
        left = GRACE + self._count / LEAST_RATE - self._waited
        if left <= 0:
            raise TimeoutError("the client is too slow")
        self._connection.settimeout(left)
        began = time.monotonic()
        try:
            count = self._connection.recv_into(buffer)
        finally:
            self._waited += time.monotonic() - began
            self._connection.settimeout(SENDING)
        self._count += count
        return count


class Handler(WSGIRequestHandler):
    """One request. Werkzeug closes the connection after its response."""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(SteadyReader(self.connection))

    def make_environ(self) -> dict[str, Any]:
        """The request; a WebSocket may be idle, Socket.IO's own pings end it."""
        environ = super().make_environ()
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            self.connection.settimeout(None)
        return environ


class Server(ThreadedWSGIServer):
    """A thread per connection, at most :data:`MOST_CONNECTIONS`; others are rejected immediately."""

    def __init__(self, host: str, port: int, app: WSGIApplication, *, fd: int | None = None) -> None:
        super().__init__(host, port, app, Handler, fd=fd)
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            try:
                request.settimeout(0)  # This is the accepting thread: it must not block.
                request.send(_BUSY)
            except OSError:
                pass
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread available
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()
