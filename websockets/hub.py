"""Socket.IO: live events, and replay after a reconnect."""

from __future__ import annotations

import threading
from typing import Any

from flask import Flask, request

from core.errors import NotFound, TunesmithError
from services.container import Services
from services.current import services
from websockets.chat import Chats
from websockets.light import SocketIO

SYSTEM_EVERY = 2.0
MOST_ROWS = 100_000


def make_hub(app: Flask) -> SocketIO:
    """Attach Socket.IO to the application. Same origin only; requests are already authorized by the guard."""
    hub = SocketIO(
        app,
        async_mode="threading",
        cors_allowed_origins=None,
        max_http_buffer_size=2_000_000,
        ping_interval=20,
        ping_timeout=20,
        manage_session=False,
    )
    listeners = Listeners()
    found: Services = app.extensions["tunesmith"]
    found.events.listen(hub.emit)
    chats = Chats(hub, found.models)

    @hub.on("connect")
    def connect() -> None:
        listeners.joined(_sid())

    @hub.on("disconnect")
    def disconnect(_reason: str = "") -> None:
        listeners.left(_sid())
        chats.left(_sid())

    hub.on_event("watch", watch)
    hub.on_event("chat", lambda data=None: chats.begin(_sid(), data))
    hub.on_event("chat_cancel", lambda data=None: chats.cancel(_sid(), data))
    threading.Thread(target=_pulse, args=(hub, listeners, found), name="system", daemon=True).start()
    return hub


def watch(data: Any = None) -> dict[str, Any]:
    """Return a run's rows after a row number. Later rows arrive as events.

    ``{"session_id", "after"}`` → ``{"rows", "next", "status"}``, or ``{"error"}``. An event that arrives before the
    response may repeat its rows; those with a number above ``next`` are new.
    """
    try:
        session_id, after = _watched(data)
        view = services().runs.get(session_id)
        rows = services().runs.replay(session_id, after)
    except TunesmithError as error:
        return {"error": {"code": error.code, "message": error.message}}
    return {"rows": rows, "next": rows[-1]["row"] if rows else after, "status": view.job.status}


def _watched(data: Any) -> tuple[str, int]:
    if not isinstance(data, dict) or not isinstance(data.get("session_id"), str):
        raise NotFound("Send {session_id, after}.")
    after = data.get("after", 0)
    return data["session_id"], after if isinstance(after, int) and after > 0 else 0


class Listeners:
    """Tracks connected clients, so that system load is measured only while there are any."""

    def __init__(self) -> None:
        self._sids: set[str] = set()
        self._some = threading.Event()
        self._lock = threading.Lock()

    def joined(self, sid: str) -> None:
        with self._lock:
            self._sids.add(sid)
            self._some.set()

    def left(self, sid: str) -> None:
        with self._lock:
            self._sids.discard(sid)
            if not self._sids:
                self._some.clear()

    def wait(self) -> None:
        self._some.wait()


def _pulse(hub: SocketIO, listeners: Listeners, services: Services) -> None:
    pause = threading.Event()
    while True:
        listeners.wait()
        hub.emit("system_update", services.system.load())
        pause.wait(SYSTEM_EVERY)


def _sid() -> str:
    return str(request.sid)  # type: ignore[attr-defined]
