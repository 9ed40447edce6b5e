"""What each page is given: one frozen dataclass a page, its fields the template's variables.

Here the frame around all of them, the first page, configurations and settings; the others have modules of their
own beside this one. A test holds every template to the fields of its class.
"""

from __future__ import annotations

from dataclasses import dataclass

from pages.runs.views import PhaseView
from services.runs.verdict import Verdict
from services.runs.view import RunView


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


@dataclass(frozen=True)
class Line:
    """A title and its value, for lists of facts."""

    title: str
    value: str


@dataclass(frozen=True)
class Card:
    """A suggestion of what to do next."""

    title: str
    text: str
    url: str
    action: str


@dataclass(frozen=True)
class Demo:
    """The shipped demo. ``ready`` is whether its model is on this machine."""

    ready: bool
    words: str
    phases: tuple[PhaseView, ...]


@dataclass(frozen=True)
class HomePage:
    """Home: the demo for a first visit, the latest runs afterwards."""

    first_time: bool
    demo: Demo | None
    device: str
    runs: tuple[RunView, ...]
    verdicts: dict[str, Verdict]
    sparks: dict[str, str]
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class HelpPage:
    """The glossary is in every template's reach."""


@dataclass(frozen=True)
class ConfigLine:
    """A configuration in a list."""

    name: str
    detail: str


@dataclass(frozen=True)
class ConfigsPage:
    """Kept configurations and presets."""

    configs: tuple[ConfigLine, ...]
    presets: tuple[ConfigLine, ...]
    draft_name: str


@dataclass(frozen=True)
class SettingsSection:
    """Facts that belong together."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class SettingsPage:
    """The machine, the folders, the versions."""

    sections: tuple[SettingsSection, ...]
