"""What the pages of runs are given (see :mod:`pages.parts`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pages.evaluations.report import ReportView
from pages.parts import PhaseView
from services.runs.verdict import Verdict
from services.runs.view import RunView


@dataclass(frozen=True)
class Tile:
    """One figure of the latest step."""

    key: str
    title: str
    value: str
    unit: str
    hint: str


@dataclass(frozen=True)
class RunAction:
    """A button of a run's page.

    Attributes:
        key: Also its test id.
        url: Where it leads, or where its form is sent to.
        post: Whether it is a form.
        live: Whether the form is sent by script and the page stays.
        primary: Whether it is what to do first.
        style: Further classes.
        confirm: What is asked before it is done.
        hint: What it would change.
    """

    key: str
    title: str
    url: str
    icon: str = ""
    post: bool = False
    live: bool = False
    primary: bool = False
    style: str = ""
    confirm: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the table of metrics."""

    key: str
    title: str


@dataclass(frozen=True)
class Piece:
    """A stretch of an answer; ``found`` where it is the reference."""

    text: str
    found: bool


@dataclass(frozen=True)
class AnswerView:
    """One answer with its score."""

    pieces: tuple[Piece, ...]
    tokens: int
    cut_off: bool
    total: float
    advantage: float | None
    components: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class GroupView:
    """All answers to one question."""

    instruction: str
    reference: str
    prompt: str
    answers: tuple[AnswerView, ...]


@dataclass(frozen=True)
class AnswersView:
    """The answers of one step; ``place`` is the step's index in ``steps``."""

    phase: str
    steps: tuple[int, ...]
    step: int
    place: int
    special: bool
    groups: tuple[GroupView, ...]
    total: int


@dataclass(frozen=True)
class RunBoard:
    """Everything of a run's page that is drawn on the server."""

    view: RunView
    path: str
    title: str
    """Of the document: how far it is, or how it ended."""
    verdict: Verdict
    doing: str
    phase_word: str
    speed: str
    left: str
    phases: tuple[PhaseView, ...]
    actions: tuple[RunAction, ...]
    has_numbers: bool
    tiles: tuple[Tile, ...]
    columns: tuple[Column, ...]
    table: tuple[dict[str, Any], ...]
    answers: AnswersView
    reports: tuple[ReportView, ...]
    log: str
    config_line: str
    config_text: str
    data: dict[str, Any]


@dataclass(frozen=True)
class RunPage:
    """A run's own page."""

    run: RunBoard
