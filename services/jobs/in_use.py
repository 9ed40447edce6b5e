"""Finds the unfinished job that needs the files of a run, export or upload, which therefore cannot be deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.delivery import state
from core.job import JobKind
from core.rewards.classifier import RUN
from services.jobs.database import Database, Job


def needing(database: Database, reference: str, folder: Path) -> str:
    """A description of the first unfinished job that needs a run or an export; empty if there is none.

    Args:
        database: The list of jobs.
        reference: ``session:<id>`` or ``export:<id>``.
        folder: Location of its files; a job may name them by their path.
    """
    for job in unfinished(database):
        if any(_means(name, value, reference, folder) for name, value in _texts(job.config)):
            return f"the {job.of_kind.word} '{job.name}'"
    return ""


def unfinished(database: Database) -> Iterator[Job]:
    """Queued and active jobs of every kind, with their configurations."""
    for job in database.unfinished():
        yield database.job(job.id, JobKind(job.kind))


def being_sent(export: Path) -> Sequence[str]:
    """Names under which an export is currently being sent."""
    folders = (path for path in (export / state.FOLDER).glob("*") if path.is_dir())
    found = ((state.read_job(path), state.read_progress(path)) for path in folders)
    return [job.name for job, progress in found if job and progress and progress.state == "working"]


def _means(name: str, value: str, reference: str, folder: Path) -> bool:
    if name == "session_id":
        return reference == f"session:{value}"
    if name == "continue_from" and not Path(value).is_absolute():
        return reference == f"session:{value.partition('/')[0]}"
    if value.startswith(RUN):  # a reward model that was trained here
        return reference == f"session:{value.removeprefix(RUN)}"
    return value in {reference, str(folder)} or value.startswith((f"{reference}@", f"{reference}/", f"{folder}/"))


def _texts(data: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text in decoded JSON, with its key."""
    if isinstance(data, str):
        yield name, data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _texts(value, key)
    elif isinstance(data, list):
        for value in data:
            yield from _texts(value, name)
