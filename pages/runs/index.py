"""The list of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

import core.methods
from core.job import JobState
from core.methods.method import JobType
from pages.runs.spark import Spark, sparks
from services.container import Services
from services.forms.fields import whole_number
from services.runs.verdict import RunVerdict
from services.runs.view import RunView
from services.words import duration, seconds_between

PER_PAGE = 25
LONGEST_SEARCH = 200
STATES: Mapping[str, tuple[str, frozenset[JobState]]] = {
    "": ("All", frozenset(JobState)),
    "active": ("In progress", frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})),
    "queued": ("Queued", frozenset({JobState.QUEUED})),
    "completed": ("Completed", frozenset({JobState.COMPLETED})),
    "stopped": ("Stopped", frozenset({JobState.STOPPED})),
    "failed": ("Failed", frozenset({JobState.FAILED, JobState.CRASHED})),
}
"""The filters, by their name in the address."""


def _length(run: RunView) -> float:
    return seconds_between(run.job.started_at, run.job.ended_at) or 0.0


COLUMNS: Mapping[str, tuple[str, bool, Callable[[RunView], Any]]] = {
    "name": ("Run", False, lambda run: run.title.lower()),
    "status": ("Status", False, lambda run: run.job.status),
    "result": ("Result", True, lambda run: float("-inf") if run.reward is None else run.reward),
    "started": ("Started", True, lambda run: run.job.started_at or run.job.created_at),
    "duration": ("Duration", True, _length),
}
"""The columns: heading, whether the default order is descending, and the sort key."""


@dataclass(frozen=True)
class Wish:
    """The state of the list in its address: search, filter, order, page."""

    q: str = ""
    state: str = ""
    kind: str = ""
    sort: str = "started"
    desc: bool = True
    page: int = 1

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """Read a query string; invalid values are ignored."""
        state, sort = args.get("state", ""), args.get("sort", "")
        sort = sort if sort in COLUMNS else "started"
        order = args.get("order", "")
        return cls(
            q=args.get("q", "").strip()[:LONGEST_SEARCH],
            state=state if state in STATES else "",
            kind=args["type"] if args.get("type", "") in set(JobType) else "",
            sort=sort,
            desc=order == "desc" if order in {"asc", "desc"} else COLUMNS[sort][1],
            page=max(1, whole_number(args.get("page")) or 1),
        )

    def url(self, **changes: Any) -> str:
        """The address with some changes; default values are left out."""
        wish = replace(self, **changes)
        order = "" if wish.desc == COLUMNS[wish.sort][1] else "desc" if wish.desc else "asc"
        sort, page = wish.sort if wish.sort != "started" else "", wish.page if wish.page > 1 else ""
        given = {"q": wish.q, "state": wish.state, "type": wish.kind, "sort": sort, "order": order, "page": page}
        query = urlencode({name: value for name, value in given.items() if value})
        return f"/runs?{query}" if query else "/runs"


@dataclass(frozen=True)
class Head:
    """The heading of a column; ``order`` is ``ascending`` or ``descending`` if the list is sorted by it."""

    key: str
    title: str
    url: str
    order: str


@dataclass(frozen=True)
class Chip:
    """A filter with the number of matching runs."""

    title: str
    count: int
    url: str
    current: bool


@dataclass(frozen=True)
class RunsPage:
    """The list of runs."""

    runs: tuple[RunView, ...]
    verdicts: dict[str, RunVerdict]
    sparks: dict[str, Spark]
    times: dict[str, str]
    total: int
    wish: Wish
    heads: tuple[Head, ...]
    chips: tuple[Chip, ...]
    kinds: tuple[Chip, ...]
    """By what the methods learn from; empty if all runs are of one kind."""
    pages: int


def verdicts(services: Services, runs: Sequence[RunView]) -> dict[str, RunVerdict]:
    """The verdict of each run by its ID."""
    return {run.session_id: services.runs.verdict(run) for run in runs}


def times(runs: Sequence[RunView]) -> dict[str, str]:
    """The duration of each run so far, by its ID; '' before its start."""
    return {
        run.session_id: duration(seconds) if (seconds := seconds_between(run.job.started_at, run.job.ended_at)) else ""
        for run in runs
    }


def runs_page(services: Services, args: Mapping[str, str]) -> RunsPage:
    """One page of the runs that match the search and filter, sorted."""
    wish, every = Wish.read(args), services.runs.list()
    words = wish.q.lower()
    found = [run for run in every if words in _searched(run)]
    in_state = [run for run in found if run.job.state in STATES[wish.state][1]]
    of_kind = [run for run in found if wish.kind in ("", run.job_type)]
    fitting = sorted(
        (run for run in in_state if wish.kind in ("", run.job_type)), key=COLUMNS[wish.sort][2], reverse=wish.desc
    )
    pages = max(1, -(-len(fitting) // PER_PAGE))
    wish = replace(wish, page=min(pages, wish.page))
    shown = tuple(fitting[(wish.page - 1) * PER_PAGE : wish.page * PER_PAGE])
    return RunsPage(
        runs=shown,
        verdicts=verdicts(services, shown),
        sparks=sparks(services, shown),
        times=times(shown),
        total=len(every),
        wish=wish,
        heads=tuple(_head(key, wish) for key in COLUMNS),
        chips=tuple(_chips(of_kind, wish)),
        kinds=tuple(_kinds(in_state, wish)) if wish.kind or len({run.job_type for run in every}) > 1 else (),
        pages=pages,
    )


def _searched(run: RunView) -> str:
    return f"{run.title} {run.job.name} {run.job.model} {run.job.dataset} {run.term}".lower()


def _head(key: str, wish: Wish) -> Head:
    title, desc, _ = COLUMNS[key]
    here = key == wish.sort
    order = ("descending" if wish.desc else "ascending") if here else ""
    return Head(key, title, wish.url(sort=key, desc=not wish.desc if here else desc, page=1), order)


def _chips(found: Sequence[RunView], wish: Wish) -> list[Chip]:
    """The filters with matching runs, and the selected one."""
    counted = {key: sum(run.job.state in states for run in found) for key, (_, states) in STATES.items()}
    return [
        Chip(title, counted[key], wish.url(state=key, page=1), key == wish.state)
        for key, (title, _) in STATES.items()
        if counted[key] or key in {"", wish.state}
    ]


def _kinds(found: Sequence[RunView], wish: Wish) -> list[Chip]:
    """The kinds of training with matching runs, and the selected one."""
    counted = {kind: sum(run.job_type is kind for run in found) for kind in JobType}
    chips = [Chip("All", len(found), wish.url(kind="", page=1), not wish.kind)]
    for kind in JobType:
        if counted[kind] or kind == wish.kind:
            terms = ", ".join(one.term for one in core.methods.METHODS if one.job_type is kind)
            title = f"{kind}: {terms}" if terms and terms != kind else str(kind)
            chips.append(Chip(title, counted[kind], wish.url(kind=str(kind), page=1), kind == wish.kind))
    return chips
