"""Searches Hugging Face for models and shows their size before a download."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from core.errors import InvalidInput, TunesmithError, Unavailable
from core.model_hub import remote
from core.model_hub.remote import RemoteModel
from core.settings import Settings
from services.machine.hub_reach import HubReach, offline
from services.machine.preferences import hub_token
from services.models.support import trainable

LIMIT = 20
"""Maximum results of a search."""
SHORTEST, LONGEST = 2, 100
"""Length limits of a search text."""
KEEP, KEEP_ERROR = 600.0, 30.0
"""Seconds that a result is cached, and an error: the network may be back, or a license accepted."""
KEPT = 200
UNREACHABLE = (
    "Hugging Face cannot be reached right now. Check the network, or choose a model that is already on this machine."
)
OFFLINE = "Hugging Face is switched off on this machine (HF_HUB_OFFLINE). Choose a model that is already here."
T = TypeVar("T")


class ModelHub:
    """Queries Hugging Face about models. Results are cached: a search is typed letter by letter.

    Args:
        settings: Has the token.
        reach: Whether Hugging Face can be reached.
    """

    def __init__(self, settings: Settings, reach: HubReach) -> None:
        self._settings, self._reach = settings, reach
        self._kept: dict[tuple[str, ...], tuple[float, object]] = {}
        self._asking: set[tuple[str, ...]] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="model-hub")

    @property
    def unreachable(self) -> str:
        """Why Hugging Face cannot be reached, as of the last minute; empty if it can, or is not known yet."""
        if offline():
            return OFFLINE
        return UNREACHABLE if self._reach.look() is False else ""

    def search(self, text: str) -> list[RemoteModel]:
        """Trainable models whose name contains a text, most downloaded first.

        Raises:
            InvalidInput: The text is too short or too long.
            Unavailable: Hugging Face cannot be reached.
        """
        text = " ".join(text.split())
        if not SHORTEST <= len(text) <= LONGEST:
            raise InvalidInput(f"Enter {SHORTEST} to {LONGEST} characters to search for.", field="q")
        self._check_reach()
        try:
            found = self._once(("search", text.casefold()), lambda: self._search(text))
        except TunesmithError:
            raise Unavailable(UNREACHABLE) from None
        return [model for model in found if trainable(model.model_type) is not False]

    def about(self, name: str, revision: str | None = None) -> RemoteModel:
        """One model with the size of its download.

        Raises:
            InvalidInput, NotFound, Unavailable: As :func:`core.model_hub.remote.about`.
        """
        self._check_reach()
        return self._once(_key(name, revision), lambda: remote.about(name, revision, hub_token(self._settings)))

    def known(self, name: str, revision: str | None = None) -> RemoteModel | TunesmithError | None:
        """The same without waiting: None while the request is pending, the error if it failed."""
        if words := self.unreachable:
            return Unavailable(words)
        key = _key(name, revision)
        kept = self._get(key)
        if isinstance(kept, RemoteModel | TunesmithError):
            return kept
        with self._lock:
            if key not in self._asking:
                self._asking.add(key)
                self._pool.submit(self._ask, key, name, revision)
        return None

    def close(self) -> None:
        """Stop waiting for requests."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _search(self, text: str) -> list[RemoteModel]:
        return remote.search(text, hub_token(self._settings), LIMIT)

    def _ask(self, key: tuple[str, ...], name: str, revision: str | None) -> None:
        try:
            self._put(key, remote.about(name, revision, hub_token(self._settings)))
        except TunesmithError as error:
            self._put(key, error)
        finally:
            with self._lock:
                self._asking.discard(key)

    def _check_reach(self) -> None:
        if words := self.unreachable:
            raise Unavailable(words)

    def _once(self, key: tuple[str, ...], ask: Callable[[], T]) -> T:
        kept = self._get(key)
        if isinstance(kept, TunesmithError):
            raise kept
        if kept is None:
            kept = ask()
            self._put(key, kept)
        return kept  # type: ignore[return-value] # by the key it is what `ask` gives

    def _get(self, key: tuple[str, ...]) -> object:
        at, found = self._kept.get(key, (0.0, None))
        keep = KEEP_ERROR if isinstance(found, TunesmithError) else KEEP
        return found if time.monotonic() - at < keep else None

    def _put(self, key: tuple[str, ...], found: object) -> None:
        with self._lock:
            while len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = (time.monotonic(), found)


def _key(name: str, revision: str | None) -> tuple[str, ...]:
    return ("about", name, revision or "")
