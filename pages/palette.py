"""The command palette: every page, action and item, fetched when it is first opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from pages.exports.index import export_lines
from pages.glossary import GLOSSARY
from pages.help import guides
from pages.home import demo
from pages.shell import NAV
from services.container import Services
from services.runs.view import RunView

MOST = 200
"""Number of newest entries per group; the rest are on the group's own page."""
ACTIONS = (
    ("Change the theme", "theme", "dark light mode"),
    ("Show or hide the log", "console", "output terminal"),
    ("Keyboard shortcuts", "keys", "keys hotkeys"),
)
PAGES = (
    ("Reward tester", "/rewards/bench", "bench loopholes"),
    ("New evaluation", "/evaluations/new", "compare models"),
    ("OpenAI-compatible API", "/playground/serve", "serve"),
    ("Storage", "/settings/storage", "disk space clean up checkpoints downloads cache"),
    ("Trash", "/settings/trash", "deleted restore undo"),
)


@dataclass(frozen=True)
class Entry:
    """One line of the palette. It has one of ``url``, ``action`` and ``post``.

    Attributes:
        title: Displayed and searched.
        group: Its heading.
        url: The page that it opens.
        action: The script's own action: ``theme``, ``console`` or ``keys``.
        post: The URL that a form is sent to.
        confirm: The confirmation before that.
        words: Additional search words.
    """

    title: str
    group: str
    url: str = ""
    action: str = ""
    post: str = ""
    confirm: str = ""
    words: str = ""


def palette(services: Services) -> list[dict[str, str]]:
    """Every entry, group by group, without empty values."""
    runs = services.runs.list()
    entries = [*_actions(services, runs), *_pages(), *_things(services, runs), *_help()]
    return [{key: value for key, value in asdict(entry).items() if value} for entry in entries]


def _actions(services: Services, runs: list[RunView]) -> Iterator[Entry]:
    yield Entry("New run", "Actions", "/new", words="train fine-tune start")
    ready = demo(services)
    if ready and ready.ready:
        yield Entry("Start the demo", "Actions", post="/demo", words="run example")
    for run in runs:
        if run.job.active:
            said = "Saves a checkpoint. You can resume the run later."
            yield Entry(f"Stop {run.title}", "Actions", post=f"/runs/{run.session_id}/stop", confirm=said)
    for title, action, words in ACTIONS:
        yield Entry(title, "Actions", action=action, words=words)


def _pages() -> Iterator[Entry]:
    for title, url, _ in NAV:
        yield Entry(title, "Pages", url)
    for title, url, words in PAGES:
        yield Entry(title, "Pages", url, words=words)


def _things(services: Services, runs: list[RunView]) -> Iterator[Entry]:
    for run in runs[:MOST]:
        yield Entry(run.title, "Runs", f"/runs/{run.session_id}", words=run.job.status)
    for upload in services.datasets.list()[:MOST]:
        yield Entry(upload.name, "Datasets", f"/datasets/{upload.id}", words=upload.short_hash)
    for line in export_lines(services)[:MOST]:
        yield Entry(line.title, "Exports", f"/exports/{line.export_id}")
    for evaluation in services.evaluations.list()[:MOST]:
        yield Entry(evaluation.job.name, "Evaluations", f"/evaluations/{evaluation.evaluation_id}")
    for saved in services.saved_rewards.list()[:MOST]:
        yield Entry(str(saved["name"]), "Rewards", f"/rewards/{saved['name']}")
    for config in services.configs.list()[:MOST]:
        yield Entry(config.name, "Presets", "/configs", words="built-in configuration" if config.preset else "")


def _help() -> Iterator[Entry]:
    for topic in guides():
        yield Entry(topic.title, "Help", topic.url, words="help documentation")
    for term in GLOSSARY.values():
        yield Entry(term.term, "Glossary", f"/help/glossary#word-{term.key}", words="glossary what is")
