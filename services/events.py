"""What services say to whoever listens, without knowing that sockets exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Listener = Callable[[str, dict[str, Any], str | None], None]


class Events:
    """Passes an event on to every listener, in the order in which events are published.

    An event has a name, a JSON payload, and either goes to everyone (``room`` None) or to those who
    joined a room.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def publish(self, name: str, payload: dict[str, Any], *, room: str | None = None) -> None:
        for listener in self._listeners:
            listener(name, payload, room)
