"""Login sessions. A session ends by logout, expiry or a new token."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from pathlib import Path

from core.job_dir import read_json, write_json

LIFETIME = 30 * 24 * 3600.0
"""Seconds until a login expires."""
MOST = 1000
"""Logins kept at once; beyond that the oldest end."""

log = logging.getLogger(__name__)


class Sessions:
    """The valid logins, in memory and in a file of mode 0600, so that they survive a restart.

    The file has only their hashes, which cannot be used to log in. A damaged file logs everybody out.

    Args:
        path: ``{hash: end in seconds since 1970}``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        kept = read_json(path)
        ends = kept.items() if isinstance(kept, dict) else ()
        self._ends = {name: float(end) for name, end in ends if isinstance(end, int | float)}

    def begin(self) -> str:
        """A new login's id, for its cookie."""
        login = secrets.token_urlsafe(32)
        with self._lock:
            self._ends[_hash(login)] = time.time() + LIFETIME
            now = time.time()
            held = sorted((end, name) for name, end in self._ends.items() if end > now)[-MOST:]
            self._ends = {name: end for end, name in held}
            self._keep()
        return login

    def holds(self, login: str) -> bool:
        """Whether ``login`` was started here, and has neither ended nor expired."""
        return self._ends.get(_hash(login), 0.0) > time.time()

    def end(self, login: str) -> None:
        """Log out: the cookie and any copy of it become invalid."""
        with self._lock:
            if self._ends.pop(_hash(login), None) is not None:
                self._keep()

    def _keep(self) -> None:
        try:
            write_json(self._path, self._ends, private=True)
        except OSError as error:  # A full disk locks nobody out: logins stay in memory until a restart.
            log.warning("logins could not be written to %s: %s", self._path, error.strerror or error)


def _hash(login: str) -> str:
    return hashlib.sha256(login.encode("utf-8", "surrogatepass")).hexdigest()
