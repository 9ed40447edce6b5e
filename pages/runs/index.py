"""The list of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.job import JobState
from pages.runs.show import Spark, sparks
from services.container import Services
from services.forms.fields import whole_number
from services.runs.verdict import RunVerdict
from services.runs.view import RunView
from services.words import LIGHTS

PER_PAGE = 25


@dataclass(frozen=True)
class RunsPage:
    """The list of runs."""

    runs: tuple[RunView, ...]
    verdicts: dict[str, RunVerdict]
    sparks: dict[str, Spark]
    total: int
    q: str
    state: str
    states: tuple[tuple[str, str], ...]
    page: int
    pages: int


def verdicts(services: Services, runs: Sequence[RunView]) -> dict[str, RunVerdict]:
    """How each run of a list stands, by its id."""
    return {run.session_id: services.runs.verdict(run) for run in runs}


def runs_page(services: Services, args: Mapping[str, str]) -> RunsPage:
    """The runs that fit what is looked for, a page at a time."""
    every = services.runs.list()
    words, state = args.get("q", "").strip(), args.get("state", "")
    fitting = [
        run
        for run in every
        if words.lower() in f"{run.job.name} {run.job.model} {run.job.dataset}".lower()
        and (not state or run.job.status == state)
    ]
    pages = max(1, -(-len(fitting) // PER_PAGE))
    page = min(pages, max(1, whole_number(args.get("page")) or 1))
    shown = tuple(fitting[(page - 1) * PER_PAGE : page * PER_PAGE])
    states = tuple((key, word) for key, (_, word) in LIGHTS.items() if key != JobState.RUNNING)
    return RunsPage(
        shown, verdicts(services, shown), sparks(services, shown), len(every), words, state, states, page, pages
    )
