"""The log on a run's page."""

from __future__ import annotations

from dataclasses import dataclass

from core.log_tail import native
from pages.runs.address import Wanted
from services.container import Services

LINES = 400
"""Maximum number of lines shown."""
SEARCHED = 5000
"""Number of lines that a search looks at."""


@dataclass(frozen=True)
class LogView:
    """The end of a log.

    Attributes:
        text: Its lines.
        q: The search text that each line contains.
        everything: Whether messages of native libraries are included.
        key: Changes with the filter, so that a live page replaces the log as a whole only then.
    """

    text: str
    q: str
    everything: bool

    @property
    def key(self) -> str:
        return f"{int(self.everything)} {self.q}"


def log_view(services: Services, session_id: str, wanted: Wanted) -> LogView:
    """The last lines that match the filter."""
    most = SEARCHED if wanted.q else LINES
    lines = services.runs.log(session_id, most, useful=not wanted.everything).split("\n")
    words = wanted.q.lower()
    fitting = [line for line in lines if words in line.lower() and (wanted.everything or not native(line))]
    return LogView("\n".join(fitting[-LINES:]), wanted.q, wanted.everything)
