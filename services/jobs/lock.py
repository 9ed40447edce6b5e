"""Allows one server per home folder; two would start the same jobs twice."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from typing import IO, Any

from core.errors import Conflict
from core.settings import Home


class HomeInUse(Conflict):
    """Another process holds the home folder; ``url`` is its address, if it serves."""

    def __init__(self, home: Home, url: str | None) -> None:
        where = f" at {url}" if url else ""
        super().__init__(
            f"Tunesmith is already running in {home.root}{where}. Use that server, stop it first, "
            "or set TUNESMITH_HOME to another folder."
        )
        self.url = url


class HomeLock:
    """Held from :meth:`take` until :meth:`release` or the end of the process."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.root / ".server.lock"
        self._file: IO[str] | None = None

    def take(self, url: str | None) -> None:
        """Take the lock and record this process's address; again, to record another address.

        Raises:
            HomeInUse: Another process holds it.
        """
        self._file = file = self._file or self._lock()
        try:
            file.seek(0)
            file.truncate()
            json.dump({"pid": os.getpid(), "url": url}, file)
            file.flush()
        except OSError:  # disk full: do not serve
            with suppress(OSError):  # unwritten data is still in its buffer
                self.release()
            raise

    def _lock(self) -> IO[str]:
        self._home.root.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            held = _decode(file.read())
            file.close()
            raise HomeInUse(self._home, held.get("url")) from None
        return file

    def release(self) -> None:
        if self._file:
            self._file.close()
            self._file = None


def _decode(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
