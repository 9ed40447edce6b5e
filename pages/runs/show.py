"""A run's page, rendered on the server one tab at a time; a live page refetches the tab it shows."""

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
    """One tab with its address."""

    key: str
    title: str
    url: str


@dataclass(frozen=True)
class Progress:
    """The progress of an active run.

    Attributes:
        phase: Its current phase.
        speed: Time per step; '' while unknown.
        left: Time until the run ends, including all phases; '' while unknown.
        ends: The planned end, ISO 8601; '' while unknown.
        silent: Time since the last step if that is unusually long, else ''.
    """

    phase: str
    speed: str
    left: str
    ends: str
    silent: str


@dataclass(frozen=True)
class RunBoard:
    """A run's page. Of ``overview`` to ``settings``, only the selected tab is set.

    Attributes:
        title: Title of the document: the progress or the result.
        doing: Its current activity in one line.
        progress: None for a run that is not active.
        took: Its duration so far; '' before its start.
        stop: The stop button, for tabs that do not show all actions.
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
    """Build a run's page with the wanted tab.

    Raises:
        NotFound: There is no such run.
    """
    view = services.runs.get(session_id)
    method = method_of(view.config)
    tabs = [key for key in TABS if key != "answers" or Need.ROLLOUTS in method.needs]
    tab = wanted.tab if wanted.tab in tabs else "overview"
    judged = services.runs.verdict(view)
    possible = actions(view, judged, has_weights=services.models.has_weights(view.job), scores=method.head == "score")
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
    """'Training 12/40 · my run', so that a background tab shows the progress."""
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
        return f"Position {view.job.queue_position} in the queue"
    device = {"": "", "cpu": "on the CPU"}.get(view.job.device, f"on {view.job.device}")
    attempt = f"attempt {view.job.attempt}" if view.job.attempt > 1 else ""
    said = view.job.state is JobState.COMPLETED or view.job.message.startswith(state_word(view.job.status))
    message = "" if said else view.job.message
    return " · ".join(part for part in (message, device, attempt) if part)
