"""Limits on the number of connections and on slow clients. See docs/decisions/0001-server.md."""

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
"""Maximum connections; each uses a thread. WebSockets count too, and have their own lower limit."""
GRACE = 20.0
"""Total seconds of waiting for a request's bytes before the minimum rate applies."""
LEAST_RATE = 500.0
"""Minimum bytes per second, averaged over the waiting time, after :data:`GRACE`."""
SENDING = 120.0
"""Maximum seconds for the client to accept one part of a response."""

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\nToo many connections are open. Close some pages, or try again in a few seconds.\n"
)


class SteadyReader(io.RawIOBase):
    """Reads from a connection, and raises if the client sends too slowly.

    Only time spent waiting for the client counts, not the server's processing in between.

    Args:
        connection: The socket. Its timeout is set for each read, and for the response that follows.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._waited = 0.0
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """See :meth:`io.RawIOBase.readinto`.

        Raises:
            TimeoutError: The client is too slow. Werkzeug treats it as a dropped connection, and
                :mod:`routes.errors` responds with 408 if a handler was reading.
        """
        if self._connection.fileno() < 0:  # A WebSocket took over and closed it: no next request.
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
    """Handles one request. Werkzeug closes the connection after its response."""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(SteadyReader(self.connection))

    def make_environ(self) -> dict[str, Any]:
        """Build the request. WebSockets get no timeout, because Socket.IO's pings detect dead connections."""
        environ = super().make_environ()
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            self.connection.settimeout(None)
        return environ


class Server(ThreadedWSGIServer):
    """Uses a thread per connection, up to :data:`MOST_CONNECTIONS`. Further connections are rejected immediately."""

    def __init__(self, host: str, port: int, app: WSGIApplication, *, fd: int | None = None) -> None:
        super().__init__(host, port, app, Handler, fd=fd)
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            try:
                request.settimeout(0)  # This thread accepts connections: it must not block.
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
