"""Streamed replies: handles ``chat`` and ``chat_cancel``, sends ``chat_token``, ``chat_done``, ``chat_error``."""

from __future__ import annotations

import secrets
import threading
from typing import Any

from core.errors import InvalidInput, TunesmithError
from services.models.models import SAMPLING, SAMPLING_TITLES, Chat, Models
from websockets.light import SocketIO

MOST_AT_ONCE = 8
"""Maximum active and queued replies per connection: four side by side, and the next four."""
WHOLE = frozenset({"max_tokens", "top_k", "seed"})
"""Generation settings that must be whole numbers."""


class Chats:
    """Runs chats in separate threads and sends their events to the requesting client.

    Args:
        hub: The Socket.IO server that sends the events.
        models: Generates the replies.
    """

    def __init__(self, hub: SocketIO, models: Models) -> None:
        self._hub = hub
        self._models = models
        self._under_way: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def begin(self, sid: str, data: Any) -> dict[str, Any]:
        """Start a reply. Returns its ``id``, or an ``error``, as the acknowledgment."""
        try:
            name, chat = _chat(sid, data)
            self._enter(sid, name)
        except TunesmithError as error:
            return {"error": {"code": error.code, "message": error.message}}
        threading.Thread(target=self._answer, args=(sid, name, chat), name="chat", daemon=True).start()
        return {"id": name}

    def cancel(self, sid: str, data: Any) -> None:
        """Cancel a reply. Its ``chat_done`` has the text generated so far."""
        name = str(data.get("id", "")) if isinstance(data, dict) else ""
        if name in self._under_way.get(sid, ()):
            self._models.cancel(_own(sid, name))

    def left(self, sid: str) -> None:
        """Cancel all replies of a client that has disconnected."""
        for name in self._under_way.pop(sid, set()).copy():
            self._models.cancel(_own(sid, name))

    def _enter(self, sid: str, name: str) -> None:
        with self._lock:
            mine = self._under_way.setdefault(sid, set())
            if name in mine:
                raise InvalidInput("A reply with this id is already in progress.", field="id")
            if len(mine) >= MOST_AT_ONCE:
                raise InvalidInput("Too many replies at once. Wait until one ends, or cancel it.", field="id")
            mine.add(name)

    def _answer(self, sid: str, name: str, chat: Chat) -> None:
        def heard(event: dict[str, Any]) -> None:
            payload = {key: value for key, value in event.items() if key != "event"}
            self._hub.emit(f"chat_{event['event']}", {**payload, "id": name}, to=sid)

        try:
            self._models.chat(chat, heard)
        except TunesmithError as error:
            self._hub.emit("chat_error", {"id": name, "code": error.code, "message": error.message}, to=sid)
        except OSError as error:
            words = f"The model's process could not be started: {error.strerror or error}. Try again."
            self._hub.emit("chat_error", {"id": name, "code": "unavailable", "message": words}, to=sid)
        finally:
            self._under_way.get(sid, set()).discard(name)


def _chat(sid: str, data: Any) -> tuple[str, Chat]:
    if not isinstance(data, dict) or not isinstance(data.get("model_path"), str):
        raise InvalidInput("Send {model_path, messages}.", field="model_path")
    messages = data.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise InvalidInput("messages must be a list of {role, content}.", field="messages")
    name = str(data.get("id") or secrets.token_hex(6))[:64]
    numbers = {key: _sampling_number(data, key) for key in SAMPLING if data.get(key) is not None}
    stop = data.get("stop") or []
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise InvalidInput("stop must be a list of strings.", field="stop")
    return name, Chat(data["model_path"], tuple(messages), id=_own(sid, name), stop=tuple(stop), **numbers)  # type: ignore[arg-type]


def _sampling_number(data: dict[str, Any], key: str) -> float:
    value = data[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(f"{SAMPLING_TITLES[key]}: enter a number.", field=key)
    if key in WHOLE and value != int(value):
        raise InvalidInput(f"{SAMPLING_TITLES[key]}: enter a whole number.", field=key)
    return int(value) if key in WHOLE else value


def _own(sid: str, name: str) -> str:
    return f"{sid}:{name}"
