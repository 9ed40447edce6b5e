"""A database from an older version."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from core.process import Identity
from services.jobs.launcher import process_of
from services.jobs.upgrade import ADDED
from tests.support.jobs import Stage


def older(tmp_path: Path, *without: str, **columns: Any) -> Stage:
    """A home folder whose database has one job in an older version's format, opened by this version."""
    stage = Stage(tmp_path / "home")
    stage.add("one")
    stage.database.close()
    with sqlite3.connect(stage.home.root / "catalogue.db") as database:
        for name, value in columns.items():
            database.execute(f"UPDATE jobs SET {name} = ?", (value,))
        for name in without:
            database.execute(f"ALTER TABLE jobs DROP COLUMN {name}")
    database.close()
    return Stage(tmp_path / "home")


@pytest.mark.parametrize("without", [ADDED, [name for name in ADDED if name != "pid_boot"]])
def test_a_worker_known_by_its_process_is_known_by_its_handle(tmp_path: Path, without: list[str]) -> None:
    """Even from before boots were stored."""
    stage = older(tmp_path, *without, state="starting", pid=4711, pid_started=1234.25)
    job = stage.job("one")
    assert process_of(job.handle) == Identity(4711, 1234.25, "")
    assert (job.launcher, job.pid) == ("local", 0)


def test_a_job_that_an_older_version_starts_in_between_is_taken_over_too(tmp_path: Path) -> None:
    """It writes its own columns into a file that already has the new ones."""
    stage = older(tmp_path, state="starting", pid=4711, pid_started=2.0, pid_boot="a/1", worker="old")
    assert process_of(stage.job("one").handle) == Identity(4711, 2.0, "a/1")


def test_jobs_can_be_added_to_an_older_database(tmp_path: Path) -> None:
    """Its schema requires a process for each."""
    stage = older(tmp_path, *ADDED)
    stage.add("two")
    assert stage.state("one", "two") == ["queued", "queued"]


@pytest.mark.parametrize(
    ("word", "phase"), [("warming_up", "warm_up"), ("training", "train"), ("evaluating", "evaluate")]
)
def test_a_state_that_was_a_phase_becomes_both(tmp_path: Path, word: str, phase: str) -> None:
    """API clients still see the single word."""
    job = older(tmp_path, *ADDED, state=word, pid=4711).job("one")
    assert (job.state, job.phase, job.active, job.facts().status) == ("running", phase, True, word)
