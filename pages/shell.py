"""The frame around every page: navigation, gauges, the running job, the log."""

from __future__ import annotations

from dataclasses import dataclass

from core.job import JobKind
from core.version import VERSION
from services.container import Services
from services.runs.view import RunView

THEMES = {"": "light", "light": "dark", "dark": "system"}
"""Each theme and the one that the button switches to; '' follows the system."""
NAV = (
    ("Home", "/", "house"),
    ("New run", "/new", "circle-plus"),
    ("Runs", "/runs", "activity"),
    ("Datasets", "/datasets", "database"),
    ("Rewards", "/rewards", "check"),
    ("Presets", "/configs", "sliders-horizontal"),
    ("Exports", "/exports", "package"),
    ("Playground", "/playground", "message-square"),
    ("Evaluations", "/evaluations", "table"),
    ("Settings", "/settings", "settings"),
    ("Help", "/help", "circle-question-mark"),
)


@dataclass(frozen=True)
class NavItem:
    """An entry of the navigation."""

    title: str
    url: str
    icon: str
    current: bool = False
    apart: bool = False


@dataclass(frozen=True)
class Gauge:
    """A reading in the top bar; ``key`` is its name in ``system_update``."""

    key: str
    label: str
    value: str
    title: str


@dataclass(frozen=True)
class ActiveJob:
    """The job that is running, for the top bar; ``kind`` is a word such as 'Run'."""

    kind: str
    name: str
    status: str
    step: int
    max_steps: int
    url: str


@dataclass(frozen=True)
class Shell:
    """The frame around every page. Without ``nav``, as before a login, only the name is shown."""

    theme: str = ""
    notify: bool = True
    shortcuts: bool = True
    next_theme: str = "light"
    path: str = "/"
    nav: tuple[NavItem, ...] = ()
    gauges: tuple[Gauge, ...] = ()
    active: ActiveJob | None = None
    job: RunView | None = None
    log: str = ""
    version: str = VERSION
    polling: bool = False
    """Whether a live page fetches itself: messages for the next page are kept for it."""


def page_shell(services: Services, path: str, viewed: str | None, *, polling: bool = False) -> Shell:
    """Build the frame: navigation, the running job, the state of the machine.

    Args:
        path: Path of the page.
        viewed: The run whose page this is; its log goes into the drawer.
        polling: Whether a live page fetches itself.
    """
    runs, chosen = services.runs.list(), services.preferences.get()
    theme = chosen.theme.replace("system", "")
    at_work = next((run for run in runs if run.job.active), None)
    job = next((run for run in runs if run.session_id == viewed), at_work)
    nav = tuple(NavItem(title, url, icon, _at(path, url), title == "Settings") for title, url, icon in NAV)
    return Shell(
        theme,
        chosen.notifications,
        chosen.shortcuts,
        THEMES[theme],
        path,
        nav,
        gauges(services),
        active_job(services),
        job,
        services.runs.log(job.session_id, tail=60, useful=True) if job else "",
        polling=polling,
    )


def active_job(services: Services) -> ActiveJob | None:
    """The job that is running, if any; one runs at a time."""
    job = next((job for job in services.database.unfinished() if job.active), None)
    if job is None:
        return None
    kind = job.of_kind
    url = f"{kind.address}/{job.id}"
    # 'Probe' is a word of the API; on pages it is the check before training.
    word = "Check" if job.kind == JobKind.PROBE else kind.word.capitalize()
    return ActiveJob(word, job.name, job.facts().status, job.step, job.max_steps, url)


def _at(path: str, url: str) -> bool:
    return path == url or (url != "/" and path.startswith(f"{url}/"))


def gauges(services: Services) -> tuple[Gauge, ...]:
    """Readings of the machine for the top bar."""
    load = services.system.load()
    readings = [
        Gauge("cpu", "CPU", f"{load['cpu']:.0f}%", "CPU load"),
        Gauge("memory", "Memory", f"{load['memory']:.0f}%", "Memory in use"),
    ]
    if load["gpu_utilization"] is not None:
        readings.append(Gauge("gpu", "GPU", f"{load['gpu_utilization']:.0f}%", "GPU load"))
    return tuple(readings)
