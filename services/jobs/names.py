"""Names of runs in lists and headings, made unique if two runs share one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class Named(Protocol):
    """The parts of a title."""

    id: str
    name: str
    created_at: str


def titles(jobs: Sequence[Named]) -> dict[str, str]:
    """By id: the name if it is unique, else with the minute of creation, else also with the id's last part."""
    names = Counter(job.name for job in jobs)
    made = {job.id: job.name if names[job.name] == 1 else f"{job.name}, {_minute(job.created_at)}" for job in jobs}
    again = Counter(made.values())
    return {job.id: made[job.id] if again[made[job.id]] == 1 else f"{made[job.id]} ({job.id[-6:]})" for job in jobs}


def _minute(moment: str) -> str:
    try:
        local = datetime.fromisoformat(moment).astimezone()
    except ValueError:
        return moment
    return f"{local:%b} {local.day}, {local:%H:%M}"
