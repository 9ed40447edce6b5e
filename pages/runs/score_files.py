"""Files of answers that a run's reward model scores: the form, and the results."""

from __future__ import annotations

from dataclasses import dataclass

from core.best_of import SubsetResult
from core.methods import method_of
from core.reward_report_words import share_words
from services.container import Services
from services.runs.score_files import ScoredFile
from services.runs.view import RunView
from services.words import file_facts


@dataclass(frozen=True)
class SubsetLine:
    """One line of a result."""

    name: str
    right: str
    chance: str


@dataclass(frozen=True)
class FileView:
    """A file that was scored, or is being scored: its progress is ``done`` of ``of`` answers."""

    id: str
    name: str
    created_at: str
    state: str
    done: int
    of: int
    message: str
    lines: tuple[SubsetLine, ...]
    unscored: int


@dataclass(frozen=True)
class ScoreFilesView:
    """What the run's page shows; ``datasets`` are uploads to choose from, as (value, title)."""

    datasets: tuple[tuple[str, str], ...]
    files: tuple[FileView, ...]
    busy: bool


def files_view(services: Services, view: RunView) -> ScoreFilesView | None:
    """For a run that has a reward model; None for another one."""
    if method_of(view.config).head != "score" or not services.models.has_weights(view.job):
        return None
    files = tuple(map(_file, services.score_files.list(view.session_id)))
    return ScoreFilesView(
        tuple((f"upload:{info.id}", f"{info.name}, {file_facts(info)}") for info in services.datasets.list()),
        files,
        any(file.state == "scoring" for file in files),
    )


def _file(one: ScoredFile) -> FileView:
    found = one.result
    lines = tuple(map(_line, (found.overall, *found.subsets))) if found else ()
    return FileView(
        one.id,
        one.name,
        one.created_at,
        one.state,
        one.done,
        one.of,
        one.message,
        lines,
        found.unscored if found else 0,
    )


def _line(one: SubsetResult) -> SubsetLine:
    return SubsetLine(one.name, share_words(one.right), f"{one.chance:.0%}")
