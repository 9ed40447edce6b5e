"""What the evaluation pages are given: one frozen dataclass a page."""

from __future__ import annotations

from dataclasses import dataclass

from services.evaluations.evaluations import EvaluationView
from services.evaluations.results import PromptRow, Wanted


@dataclass(frozen=True)
class Choice:
    """One line of a choice."""

    value: str
    title: str


@dataclass(frozen=True)
class Piece:
    """Some words of two texts: ``same``, ``gone`` (only in the first) or ``new`` (only in the second)."""

    kind: str
    text: str


@dataclass(frozen=True)
class ExampleView:
    """One prompt, what was written before and after, as one text with its changes."""

    instruction: str
    reference: str
    before: str
    after: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class ComparedLine:
    """One measure, in words."""

    title: str
    first: str
    second: str
    difference: str
    interval: str


@dataclass(frozen=True)
class ReportView:
    """A paired report as pages show it. ``level`` is the colour's name, ``key`` tells reports of a page apart."""

    key: str
    first: str
    second: str
    title: str
    level: str
    sentence: str
    lines: tuple[ComparedLine, ...]
    interval: str
    right: str
    smallest: str
    improved: tuple[ExampleView, ...]
    worsened: tuple[ExampleView, ...]


@dataclass(frozen=True)
class EvaluationsPage:
    """Every evaluation."""

    evaluations: tuple[EvaluationView, ...]


@dataclass(frozen=True)
class NewEvaluationPage:
    """The form. ``chosen`` are the models of its slots, ``values`` what was typed."""

    models: tuple[Choice, ...]
    runs: tuple[Choice, ...]
    datasets: tuple[Choice, ...]
    rewards: tuple[Choice, ...]
    chosen: tuple[str, ...]
    values: dict[str, str]
    problem: str


@dataclass(frozen=True)
class EvaluationPage:
    """One evaluation; ``link`` makes the address of another page of the table."""

    evaluation: EvaluationView
    reports: tuple[ReportView, ...]
    rows: tuple[PromptRow, ...]
    columns: tuple[int, ...]
    total: int
    number: int
    pages: int
    wanted: Wanted
    shows: tuple[Choice, ...]
    can_stop: bool
    newer: str
    older: str
