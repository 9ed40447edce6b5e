"""Events that services publish, independent of sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Listener = Callable[[str, dict[str, Any]], None]


class Events:
    """Passes events, names with JSON payloads, to every listener in the order of publication."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def publish(self, name: str, payload: dict[str, Any]) -> None:
        for listener in self._listeners:
            listener(name, payload)
