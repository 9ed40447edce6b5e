"""The frame around every page: navigation, gauges, the job at work, the log."""

from __future__ import annotations

from dataclasses import dataclass

from services.container import Services
from services.runs.view import RunView
from services.wizard.steps import steps_of

THEMES = {"": "light", "light": "dark", "dark": "system"}
"""Theme to the one that the button leads to; '' follows the system."""
NAV = (
    ("Home", "/", "house"),
    ("New run", "/new", "circle-plus"),
    ("Runs", "/runs", "activity"),
    ("Datasets", "/datasets", "database"),
    ("Rewards", "/rewards", "check"),
    ("Configurations", "/configs", "sliders-horizontal"),
    ("Exports", "/exports", "package"),
    ("Playground", "/playground", "message-square"),
    ("Evaluations", "/evaluations", "table"),
    ("Settings", "/settings", "settings"),
    ("Help", "/help", "book-open"),
)
STEP_LINKS = {
    "model": "Choose a model",
    "dataset": "Choose a dataset",
    "configuration": "Set the configuration",
    "reward": "Set the reward",
    "train": "Train",
    "export": "Export the draft's run",
    "test": "Test the draft's run",
}
ACTIONS = (("Change the theme", "theme"), ("Show or hide the log", "console"), ("Show the keys", "keys"))


@dataclass(frozen=True)
class NavItem:
    """An entry of the rail."""

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
    """The job that a worker is at, of whatever kind, for the top bar; ``kind`` is a word such as 'Run'."""

    kind: str
    name: str
    status: str
    step: int
    max_steps: int
    url: str


@dataclass(frozen=True)
class Shell:
    """The frame around every page. Without ``nav`` only the name is shown, as before a login."""

    theme: str = ""
    next_theme: str = "light"
    path: str = "/"
    nav: tuple[NavItem, ...] = ()
    gauges: tuple[Gauge, ...] = ()
    active: ActiveJob | None = None
    job: RunView | None = None
    log: str = ""
    palette: tuple[dict[str, str], ...] = ()
    polling: bool = False
    """A live page that fetches itself: words for the next page stay for the next page."""


def page_shell(services: Services, path: str, theme: str, viewed: str | None, *, polling: bool = False) -> Shell:
    """The frame: where one is, what runs, how the machine is.

    Args:
        path: The page's own.
        theme: ``light``, ``dark`` or '' for the system's.
        viewed: The run whose page this is; its log goes into the drawer.
        polling: Whether a live page fetches itself.
    """
    runs = services.runs.list()
    at_work = next((run for run in runs if run.job.active), None)
    job = next((run for run in runs if run.session_id == viewed), at_work)
    nav = tuple(NavItem(title, url, icon, _at(path, url), title == "Settings") for title, url, icon in NAV)
    steps = tuple(
        {"title": STEP_LINKS[step.key], "kind": "Step", "url": f"/new/{step.key}"}
        for step in steps_of(services.wizard.method())
    )
    recent = tuple({"title": run.title, "kind": "Run", "url": f"/runs/{run.session_id}"} for run in runs[:20])
    palette = (
        *({"title": item.title, "kind": "Page", "url": item.url} for item in nav),
        *steps,
        {"title": "Serve a model to other programs", "kind": "Page", "url": "/playground/serve"},
        *({"title": title, "kind": "Action", "action": action} for title, action in ACTIONS),
        *recent,
    )
    return Shell(
        theme,
        THEMES[theme],
        path,
        nav,
        gauges(services),
        active_job(services),
        job,
        services.runs.log(job.session_id, tail=60, useful=True) if job else "",
        palette,
        polling,
    )


def active_job(services: Services) -> ActiveJob | None:
    """The job that a worker is at, if any: there is one at a time."""
    job = next((job for job in services.database.unfinished() if job.active), None)
    if job is None:
        return None
    kind = job.of_kind
    url = f"{kind.address}/{job.id}"
    return ActiveJob(kind.word.capitalize(), job.name, job.facts().status, job.step, job.max_steps, url)


def _at(path: str, url: str) -> bool:
    return path == url or (url != "/" and path.startswith(f"{url}/"))


def gauges(services: Services) -> tuple[Gauge, ...]:
    """What the top bar shows of the machine."""
    load = services.system.load()
    readings = [
        Gauge("cpu", "CPU", f"{load['cpu']:.0f} %", "Processor load"),
        Gauge("memory", "Memory", f"{load['memory']:.0f} %", "Memory in use"),
    ]
    if load["gpu_utilization"] is not None:
        readings.append(Gauge("gpu", "GPU", f"{load['gpu_utilization']:.0f} %", "Load of the graphics processor"))
    return tuple(readings)
