"""A run's page, drawn on the server a tab at a time; a live page fetches the tab that it shows again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core.job import JobPhase, JobState
from core.job_rows import MetricRow
from core.methods import Need, method_of
from pages.runs.actions import RunAction, actions
from pages.runs.address import TABS, Wanted
from pages.runs.answers import AnswersView, answers
from pages.runs.charts import ChartsView, charts_view
from pages.runs.index import times
from pages.runs.log import LogView, log_view
from pages.runs.overview import OverviewView, overview
from pages.runs.settings import RunSettings, run_settings
from services.container import Services
from services.runs.verdict import RunVerdict, merge
from services.runs.view import RunView
from services.words import duration, num, state_word


@dataclass(frozen=True)
class Tab:
    """One tab; ``url`` is a page of its own."""

    key: str
    title: str
    url: str


@dataclass(frozen=True)
class Progress:
    """How far a run at work is.

    Attributes:
        phase: What it does now.
        speed: Time per step; '' while unknown.
        left: Time to the end of the run, over all its phases; '' while unknown.
        ends: When that is, ISO 8601; '' while unknown.
        silent: For how long there has been no step, where that is unusual; else ''.
    """

    phase: str
    speed: str
    left: str
    ends: str
    silent: str


@dataclass(frozen=True)
class RunBoard:
    """Everything of a run's page. Of ``overview`` to ``settings`` only what the shown tab needs is there.

    Attributes:
        title: Of the document: how far it is, or how it ended.
        doing: What it does now, in a line.
        progress: None for a run that is not at work.
        took: How long it took, or has taken so far; '' before its start.
        stop: The button that stops it, for tabs without the others.
    """

    view: RunView
    path: str
    title: str
    verdict: RunVerdict
    doing: str
    progress: Progress | None
    stop: RunAction | None
    tab: str
    tabs: tuple[Tab, ...]
    took: str
    overview: OverviewView | None = None
    answers: AnswersView | None = None
    charts: ChartsView | None = None
    log: LogView | None = None
    settings: RunSettings | None = None


@dataclass(frozen=True)
class RunPage:
    """A run's own page."""

    run: RunBoard


def board(services: Services, session_id: str, wanted: Wanted, path: str) -> RunBoard:
    """Everything of a run's page that the wanted tab shows.

    Raises:
        NotFound: There is no such run.
    """
    view = services.runs.get(session_id)
    method = method_of(view.config)
    tabs = [key for key in TABS if key != "answers" or Need.ROLLOUTS in method.needs]
    tab = wanted.tab if wanted.tab in tabs else "overview"
    judged = services.runs.verdict(view)
    possible = actions(view, judged, has_adapter=services.models.has_adapter(view.job))
    rows = merge(services.runs.metrics(session_id)[0])
    return RunBoard(
        view=view,
        path=path,
        title=_title(view, judged),
        verdict=judged,
        doing=_doing(view),
        progress=_progress(services, view, rows),
        stop=next((action for action in possible if action.key == "stop" and tab != "overview"), None),
        tab=tab,
        tabs=tuple(Tab(key, TABS[key], Wanted(tab=key).url(path)) for key in tabs),
        took=times([view])[session_id],
        overview=overview(services, view, rows, judged, possible, path) if tab == "overview" else None,
        answers=answers(services, session_id, wanted, path) if tab == "answers" else None,
        charts=charts_view(view, rows, judged.best) if tab == "charts" else None,
        log=log_view(services, session_id, wanted) if tab == "log" else None,
        settings=run_settings(services, session_id, view.config) if tab == "settings" else None,
    )


def _phase_word(view: RunView) -> str:
    words: dict[str, str] = {JobPhase.WARM_UP: "Warm-up", JobPhase.EVALUATE: "Evaluating"}
    return words.get(view.job.phase if view.job.state is JobState.RUNNING else "", "Training")


def _title(view: RunView, judged: RunVerdict) -> str:
    """'Training 12/40 · my run', so that a tab in the background says how far it is."""
    if view.job.active and view.job.max_steps:
        return f"{_phase_word(view)} {view.job.step}/{view.job.max_steps} · {view.title}"
    how = f": {judged.brief}" if view.job.state is JobState.COMPLETED and judged.brief else ""
    return f"{state_word(view.job.status)}{how} · {view.title}"


def _progress(services: Services, view: RunView, rows: Sequence[MetricRow]) -> Progress | None:
    if not view.job.active:
        return None
    found = services.runs.forecast(view, [*rows])
    speed = f"{num(view.job.seconds_per_step)} s per step" if view.job.seconds_per_step else ""
    left, ends = "", ""
    if found.left is not None:
        left = duration(found.left)
        ends = (datetime.now(UTC) + timedelta(seconds=found.left)).isoformat(timespec="minutes")
    return Progress(_phase_word(view), speed, left, ends, duration(found.silent) if found.silent else "")


def _doing(view: RunView) -> str:
    if view.job.queue_position:
        return f"Number {view.job.queue_position} in the queue"
    device = {"": "", "cpu": "on the CPU"}.get(view.job.device, f"on {view.job.device}")
    attempt = f"attempt {view.job.attempt}" if view.job.attempt > 1 else ""
    return " · ".join(part for part in (view.job.message, device, attempt) if part)
