"""Checks in the background whether Hugging Face can be reached, so that no page waits for it."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request

HUB = "https://huggingface.co"
TIMEOUT = 3.0
"""Seconds after which it counts as unreachable."""
KEEP = 60.0
"""Seconds that a result is cached."""
PATIENCE = 0.3
"""Seconds that the first caller waits: a refused connection is known immediately."""


def offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` is set."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


class HubReach:
    """Checks Hugging Face, or the mirror in ``HF_ENDPOINT``, at most once a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: bool | None = None
        self._asked = float("-inf")
        self._answered = threading.Event()

    def look(self) -> bool | None:
        """True or False as of the last minute; None before the first result."""
        if offline():
            return False
        with self._lock:
            due = time.monotonic() - self._asked > KEEP
            if due:
                self._asked = time.monotonic()
                threading.Thread(target=self._ask, daemon=True).start()
        self._answered.wait(PATIENCE)
        return self._known

    def _ask(self) -> None:
        request = urllib.request.Request(os.environ.get("HF_ENDPOINT") or HUB, method="HEAD")  # noqa: S310 (as configured)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310 (as above)
                self._known = True
        except urllib.error.HTTPError:
            self._known = True  # it responds, no matter how
        except (OSError, ValueError):
            self._known = False
        self._answered.set()
