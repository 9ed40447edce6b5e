"""The help: guides, reference, glossary, shortcuts, what is new, and the problem report.

A guide is a file of ``docs/help/``, listed in :data:`GUIDES`; every other document in ``docs/``, except decisions, is
reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

from core.errors import NotFound
from core.settings import PROJECT
from core.version import VERSION
from pages.documents import DOCS, Document, document, slug_of
from pages.glossary import GLOSSARY
from services.container import Services
from services.machine.report import problem_report

GUIDES = ("first-10-minutes", "how-it-works", "data", "rewards", "read-a-run", "export", "troubleshooting")
DEVELOPERS = ("architecture", "adding")
"""Documents for people who change this program."""
LOOK_UP = (
    ("Glossary", "/help/glossary", "Every term, in plain words."),
    ("Keyboard shortcuts", "/help/shortcuts", "Move around without the mouse."),
    ("What's new", "/help/whats-new", "Changes in each version."),
    ("Report a problem", "/help/report", "Collect the details for a bug report."),
)
SUMMARIES = {
    "first-10-minutes": "From a fresh installation to a model that you trained and chatted with.",
    "how-it-works": "Learning from scores, learning from examples, and how results are measured.",
    "data": "What your file should look like, and how many rows you need.",
    "rewards": "Presets, combinations, and testing a reward for loopholes.",
    "read-a-run": "Which numbers to watch, and what to do when something looks wrong.",
    "export": "Formats, Ollama, LM Studio, and the API.",
    "troubleshooting": "Common problems and how to fix them.",
}
SHORTCUTS = (
    ("Ctrl + K", "Search pages and actions (on a Mac: ⌘ + K)"),
    ("Esc", "Close what is open: a dialog, an explanation, the log"),
    ("L", "Show or hide the log"),
    ("T", "Change the theme"),
    ("?", "Show this list"),
    ("Ctrl + Enter", "In a new run: continue to the next step"),
    ("Enter", "In the playground: send; Shift + Enter starts a new line"),
    ("← → Home End", "On a chart: move along the steps"),
    ("+ − 0", "On a chart: zoom in, zoom out, show everything"),
)
MOST_HITS = 20
BEFORE, LENGTH = 60, 200
"""Characters of a search result before the match, and in total."""


@dataclass(frozen=True)
class Topic:
    """A page in the help's table of contents."""

    title: str
    url: str
    summary: str = ""


@dataclass(frozen=True)
class Chapter:
    """Topics that belong together."""

    title: str
    topics: tuple[Topic, ...]


@dataclass(frozen=True)
class Hit:
    """A search result; ``text`` has the matches marked."""

    title: str
    topic: str
    url: str
    text: Markup


@dataclass(frozen=True)
class HelpIndex:
    """The start page of the help: its contents, or search results."""

    chapters: tuple[Chapter, ...]
    q: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class HelpTopic:
    """One document."""

    chapters: tuple[Chapter, ...]
    document: Document
    url: str


@dataclass(frozen=True)
class HelpGlossary:
    """The glossary itself is available in every template."""

    chapters: tuple[Chapter, ...]
    url: str


@dataclass(frozen=True)
class HelpShortcuts:
    """Keys and what they do."""

    chapters: tuple[Chapter, ...]
    url: str
    shortcuts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class WhatsNew:
    """CHANGELOG.md, and the running version."""

    chapters: tuple[Chapter, ...]
    url: str
    document: Document
    version: str


@dataclass(frozen=True)
class ProblemReport:
    """The report as it would be copied or downloaded."""

    chapters: tuple[Chapter, ...]
    url: str
    report: str


def help_index(q: str) -> HelpIndex:
    """Contents, and what ``q`` finds."""
    return HelpIndex(chapters(), q, tuple(search(q)))


def help_topic(slug: str, *, reference: bool = False) -> HelpTopic:
    """A guide, or a document of the reference.

    Raises:
        NotFound: There is none with this name.
    """
    for topic, path in _reference() if reference else _guides():
        if topic.url.rpartition("/")[2] == slug:
            return HelpTopic(chapters(), document(path), topic.url)
    raise NotFound("There is no help topic with this name. The contents list all topics.")


def help_glossary() -> HelpGlossary:
    """The glossary."""
    return HelpGlossary(chapters(), "/help/glossary")


def help_shortcuts() -> HelpShortcuts:
    """The keyboard shortcuts."""
    return HelpShortcuts(chapters(), "/help/shortcuts", SHORTCUTS)


def whats_new() -> WhatsNew:
    """The changes in each version."""
    return WhatsNew(chapters(), "/help/whats-new", document(PROJECT / "CHANGELOG.md"), VERSION)


def help_report(services: Services) -> ProblemReport:
    """The report, to be read before it is shared."""
    return ProblemReport(chapters(), "/help/report", problem_report(services))


def guides() -> tuple[Topic, ...]:
    """The guides and the reference, in order."""
    return (*(topic for topic, _ in _guides()), *_look_up())


def chapters() -> tuple[Chapter, ...]:
    """The table of contents."""
    reference = _reference()
    return (
        Chapter("Guides", tuple(topic for topic, _ in _guides())),
        Chapter("Look up", _look_up()),
        Chapter("Reference", tuple(topic for topic, path in reference if path.stem not in DEVELOPERS)),
        Chapter("For developers", tuple(topic for topic, path in reference if path.stem in DEVELOPERS)),
    )


def search(q: str) -> list[Hit]:
    """Sections and terms that contain every word of ``q``; those with the words in their title come first."""
    words = q.lower().split()[:8]
    if not words:
        return []
    found = []
    for place, (title, topic, url, text) in enumerate(_searchable()):
        everything = f"{title} {topic} {text}".lower()
        if all(word in everything for word in words):
            in_title = sum(word in title.lower() for word in words)
            found.append((-in_title, place, Hit(title, topic, url, _excerpt(text, words))))
    return [hit for *_, hit in sorted(found, key=lambda one: one[:2])][:MOST_HITS]


def _guides() -> Iterator[tuple[Topic, Path]]:
    for slug in GUIDES:
        path = DOCS / "help" / f"{slug}.md"
        yield Topic(document(path).title, f"/help/{slug}", SUMMARIES[slug]), path


def _look_up() -> tuple[Topic, ...]:
    return tuple(Topic(*one) for one in LOOK_UP)


def _reference() -> list[tuple[Topic, Path]]:
    paths = [*DOCS.glob("*.md"), *(DOCS / "methods").glob("*.md")]
    found = [(Topic(document(path).title, slug_of(path)), path) for path in paths]
    return sorted(found, key=lambda one: one[0].title.lower())


def _searchable() -> Iterator[tuple[str, str, str, str]]:
    """Title, topic, address and text of everything that the search looks at, guides first."""
    yield from _sections(_guides())
    for term in GLOSSARY.values():
        yield term.term, "Glossary", f"/help/glossary#word-{term.key}", f"{term.text} {term.reading}".strip()
    for title, url, summary in LOOK_UP:
        yield title, "Help", url, summary
    yield from _sections(_reference())


def _sections(documents: Iterable[tuple[Topic, Path]]) -> Iterator[tuple[str, str, str, str]]:
    for topic, path in documents:
        for section in document(path).sections:
            yield section.title, topic.title, f"{topic.url}{f'#{section.slug}' if section.slug else ''}", section.text


def _excerpt(text: str, words: list[str]) -> Markup:
    """The text around the first match, with every match marked."""
    first = min((at for word in words if (at := text.lower().find(word)) >= 0), default=0)
    begin = text.rfind(" ", 0, max(0, first - BEFORE)) + 1 if first > BEFORE else 0
    end = min(len(text), begin + LENGTH)
    end = (text.rfind(" ", begin, end) if end < len(text) else end) or end
    cut = f"{'… ' if begin else ''}{text[begin:end]}{' …' if end < len(text) else ''}"
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)), re.IGNORECASE)
    marked, at = Markup(), 0
    for match in pattern.finditer(cut):
        marked += escape(cut[at : match.start()]) + Markup("<mark>{}</mark>").format(match[0])
        at = match.end()
    return marked + escape(cut[at:])
