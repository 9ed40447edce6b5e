"""The contexts of the pages that are not the wizard's, a run's or an export's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.config import parse
from core.errors import InvalidConfig, NotFound
from core.model import DEMO_MODEL, local_folder
from core.rewards.sandbox import protection
from core.run import JobKind, JobState
from pages import parts as views
from pages.parts import Card, Gauge, Line, NavItem, Shell
from pages.runs import views as run_views
from pages.runs.show import sparks
from pages.runs.views import PhaseView
from services.container import Services
from services.forms.fields import whole_number
from services.forms.labels import config_title, in_words
from services.runs.verdict import Action, Outcome, Verdict
from services.runs.view import RunView
from services.wizard.configs import ConfigEntry
from services.wizard.wizard import suggest_name
from services.words import LIGHTS, size

DEMO = "demo-arithmetic"
"""Name of the shipped configuration that the home page starts."""
RECENT = 6
PER_PAGE = 25
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
ADDRESSES = {
    JobKind.TRAIN: "/runs",
    JobKind.EXPORT: "/exports",
    JobKind.PROBE: "/probe",
    JobKind.EVALUATION: "/evaluations",
}
"""Below which address the page of each kind of job is."""
ACTIONS = (("Change the theme", "theme"), ("Show or hide the log", "console"), ("Show the keys", "keys"))


def shell(found: Services, path: str, theme: str, viewed: str | None, *, polling: bool = False) -> Shell:
    """The frame: where one is, what runs, how the machine is.

    Args:
        path: The page's own.
        theme: ``light``, ``dark`` or '' for the system's.
        viewed: The run whose page this is; its log goes into the drawer.
        polling: Whether a live page fetches itself.
    """
    runs = found.runs.list()
    at_work = next((run for run in runs if run.active), None)
    job = next((run for run in runs if run.session_id == viewed), at_work)
    nav = tuple(NavItem(title, url, icon, _at(path, url), title == "Settings") for title, url, icon in NAV)
    steps = tuple(
        {"title": title, "kind": "Step", "url": f"/new/{key}"}
        for key, title in (
            ("model", "Choose a model"),
            ("dataset", "Choose a dataset"),
            ("configuration", "Set the configuration"),
            ("reward", "Set the reward"),
            ("train", "Train"),
            ("export", "Export the draft's run"),
            ("test", "Test the draft's run"),
        )
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
        gauges(found),
        active_job(found),
        job,
        found.runs.log(job.session_id, tail=60, useful=True) if job else "",
        palette,
        polling,
    )


def active_job(found: Services) -> views.ActiveJob | None:
    """The job that a worker is at, if any: there is one at a time."""
    job = next((job for job in found.catalogue.unfinished() if job.active), None)
    if job is None:
        return None
    kind = JobKind(job.kind)
    url = f"{ADDRESSES[kind]}/{job.id}"
    return views.ActiveJob(kind.word.capitalize(), job.name, job.state, job.step, job.max_steps, url)


def _at(path: str, url: str) -> bool:
    return path == url or (url != "/" and path.startswith(f"{url}/"))


def gauges(found: Services) -> tuple[Gauge, ...]:
    """What the top bar shows of the machine."""
    load = found.system.load()
    readings = [
        Gauge("cpu", "CPU", f"{load['cpu']:.0f} %", "Processor load"),
        Gauge("memory", "Memory", f"{load['memory']:.0f} %", "Memory in use"),
    ]
    if load["gpu_utilization"] is not None:
        readings.append(Gauge("gpu", "GPU", f"{load['gpu_utilization']:.0f} %", "Load of the graphics processor"))
    return tuple(readings)


def home(found: Services) -> views.HomePage:
    """The home page."""
    runs = found.runs.list()
    device = found.system.device()
    recent = tuple(runs[:RECENT])
    return views.HomePage(
        first_time=not runs,
        demo=demo(found),
        runs=recent,
        verdicts=verdicts(found, recent),
        sparks=sparks(found, recent),
        cards=_first_cards() if not runs else _next_cards(found, runs),
        device=f"{device.name}, {size(device.memory)} of memory{'' if device.kind == 'cuda' else ', no GPU'}",
    )


def demo(found: Services) -> views.Demo | None:
    """The shipped demo in words, or None where its file is not there."""
    try:
        config = parse(found.configs.load(DEMO))
        local_folder(DEMO_MODEL, found.settings.home)
        ready = True
    except InvalidConfig:
        return None
    except NotFound as error:
        if error.field != "model.name":
            return None
        config, ready = parse(found.configs.load(DEMO)), False
    if not ready:
        return views.Demo(
            False,
            "The built-in model is not on this machine yet. Run the set-up again (make setup): it fetches it.",
            (),
        )
    phases = (
        PhaseView(
            "1. Warm-up",
            f"It copies {config.pre_training.max_samples} worked examples, to learn the form of an answer.",
        ),
        PhaseView(
            f"2. {config.training.max_steps} training steps",
            f"{config.training.num_generations} tries at every sum; right ones earn more.",
        ),
        PhaseView("3. A fair test", "Sums it never saw, before and after."),
    )
    return views.Demo(
        True,
        "It takes 5 to 15 minutes on two processor cores, needs no network and no GPU, and can be stopped at any "
        "time. You can watch the score rise from the first minutes on.",
        phases,
    )


def _first_cards() -> tuple[Card, ...]:
    return (
        Card(
            "Your questions",
            "A file of questions and right answers, a public dataset, or sums made on the spot.",
            "/new/dataset",
            "Choose a dataset",
        ),
        Card(
            "Your idea of good",
            "Rewards say what an answer is worth. Try them by hand before anything is trained.",
            "/new/reward",
            "Look at rewards",
        ),
        Card(
            "Yours to keep",
            "Take the result away as one file for Ollama or llama.cpp. Everything stays on this machine.",
            "/help",
            "How it works",
        ),
    )


def verdicts(found: Services, runs: Sequence[RunView]) -> dict[str, Verdict]:
    """How each run of a list stands, by its id."""
    return {run.session_id: found.runs.verdict(run) for run in runs}


def _next_cards(found: Services, runs: Sequence[RunView]) -> tuple[Card, ...]:
    cards = []
    running = next((run for run in runs if run.active), None)
    if running:
        cards.append(
            Card("Watch it learn", f"{running.title} is at work.", f"/runs/{running.session_id}", "Open the run")
        )
    over = next((run for run in runs if run.status == JobState.COMPLETED), None)
    if over:
        cards += _cards_of(over, found.runs.verdict(over))
    broken = next((run for run in runs if run.resumable), None)
    if broken:
        cards.append(_unfinished(broken, found.runs.verdict(broken)))
    cards.append(
        Card(
            "Train on your own questions",
            "Seven steps; nothing is lost if you leave in between.",
            "/new",
            "Go on with the steps",
        )
    )
    return tuple(cards[:4])


def _cards_of(over: RunView, judged: Verdict) -> list[Card]:
    """For the latest run that finished: taken away only where it learned."""
    talk = Card(
        "Ask it something",
        f"Compare {over.title} with the model it came from.",
        f"/playground?session_id={over.session_id}",
        "Open the playground",
    )
    if judged.outcome is not Outcome.LEARNED:
        words = f"{over.title}: {judged.headline}"
        return [Card("See what to change", words, f"/runs/{over.session_id}", "Open the run"), talk]
    return [
        talk,
        Card(
            "Take it away",
            "Make one file for Ollama, llama.cpp or LM Studio.",
            f"/exports?session_id={over.session_id}",
            "Make an export",
        ),
    ]


def _unfinished(run: RunView, judged: Verdict) -> Card:
    """For the latest run that did not get to its end: resumed only where there is something to resume from."""
    url, words = f"/runs/{run.session_id}", f"{run.title}: {judged.headline}"
    if run.checkpoint_step is None:
        return Card("Fix and start again", words, url, "Open the run")
    if judged.action is Action.RESUME:
        return Card("Go on where it stopped", f"{run.title} can be resumed.", url, "Open the run")
    return Card("See what to change", words, url, "Open the run")


def runs(found: Services, args: Mapping[str, str]) -> run_views.RunsPage:
    """The runs that fit what is looked for, a page at a time."""
    every = found.runs.list()
    words, state = args.get("q", "").strip(), args.get("state", "")
    fitting = [
        run
        for run in every
        if words.lower() in f"{run.name} {run.model} {run.dataset}".lower() and (not state or run.status == state)
    ]
    pages = max(1, -(-len(fitting) // PER_PAGE))
    page = min(pages, max(1, whole_number(args.get("page")) or 1))
    shown = tuple(fitting[(page - 1) * PER_PAGE : page * PER_PAGE])
    states = tuple((str(key), word) for key, (_, word) in LIGHTS.items() if key is not JobState.RUNNING)
    return run_views.RunsPage(
        shown, verdicts(found, shown), sparks(found, shown), len(every), words, state, states, page, pages
    )


def configs(found: Services) -> views.ConfigsPage:
    """Kept configurations and presets."""
    lines = [(entry.preset, views.ConfigLine(entry.name, _holds(found, entry))) for entry in found.configs.list()]
    own, presets = (tuple(line for is_preset, line in lines if is_preset is wanted) for wanted in (False, True))
    draft = found.wizard.draft()
    return views.ConfigsPage(own, presets, draft["name"] or suggest_name(draft, found.settings.home))


def _holds(found: Services, entry: ConfigEntry) -> str:
    return config_title(entry.config, found.settings.home) if entry.config else in_words(entry.problem or "")


def settings(found: Services) -> views.SettingsPage:
    """What this installation runs on."""
    status, force = found.system.status(), protection()
    device, disk, kept = status["device"], status["disk"], found.settings
    waiting = sum(run.status == JobState.QUEUED for run in found.runs.list())
    versions = tuple(Line(name, version or "not installed") for name, version in status["versions"].items())
    return views.SettingsPage(
        (
            views.SettingsSection(
                "This machine",
                (
                    Line(
                        "Trains on",
                        f"{device['name']} ({'GPU' if device['kind'] == 'cuda' else 'processor; no NVIDIA GPU found'})",
                    ),
                    Line("Memory", f"{size(device['free_bytes'])} free of {size(device['memory_bytes'])}"),
                    Line("Processor cores", str(status["cores"])),
                    Line("llama.cpp", status["llama"]["words"]),
                    Line("Disk", f"{size(disk['free_bytes'])} free of {size(disk['total_bytes'])}"),
                    Line("Jobs", f"{status['active_jobs']} running, {waiting} waiting"),
                    Line("Rewards and programs", f"{force.state}. {force.words}" if force.level else force.words),
                ),
            ),
            views.SettingsSection(
                "Where your data lies",
                tuple(
                    Line(title, str(path))
                    for title, path in (
                        ("Runs", kept.home.outputs),
                        ("Exports", kept.home.exports),
                        ("Uploads", kept.home.uploads),
                        ("Configurations", kept.home.configs),
                        ("Downloads (can be made again)", kept.home.cache),
                        ("Logs", kept.home.logs),
                    )
                ),
            ),
            views.SettingsSection(
                "How it is reached",
                (
                    Line("Address", f"http://{kept.host}:{kept.port}"),
                    Line(
                        "Who can reach it",
                        "programs on this machine only"
                        if kept.loopback
                        else "anyone on the network who has the access token",
                    ),
                    Line("Largest upload", f"{kept.max_upload_gb:g} GB (MAX_UPLOAD_GB)"),
                    Line(
                        "Hub token",
                        "given (HF_TOKEN)"
                        if kept.hf_token
                        else "none; needed for models with a licence to accept, and to send exports there (HF_TOKEN)",
                    ),
                ),
            ),
            views.SettingsSection("Versions", versions),
        )
    )
