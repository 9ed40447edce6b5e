"""What is read from a job's files and sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.job import JobState
from services.jobs.reader import Reader
from tests.support.jobs import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "home")


@pytest.fixture
def reader(stage: Stage) -> Reader:
    """The reader of a started job."""
    run_dir = stage.add("one", state="starting")
    job = stage.job("one")
    job.worker = stage.launcher.start(run_dir)
    return Reader(job, run_dir, stage.database, stage.events, stage.launcher)


def told(stage: Stage, event: str, what: str) -> list[Any]:
    return [payload[what] for name, payload in stage.told if name == event]


def test_each_row_is_sent_once_and_in_order(stage: Stage, reader: Reader) -> None:
    """The database stores the position once the rows are sent."""
    for steps in ((1, 2), (3,)):
        stage.rows("one", *steps)
        reader.poll()
    reader.poll()
    assert told(stage, "training_update", "row") == [1, 2, 3]
    job = stage.job("one")
    assert (job.last_row, job.offset, job.reward) == (3, stage.files("one").metrics.stat().st_size, 0.3)
    assert [row["row"] for row in reader.replay(1)] == [2, 3]


def test_half_a_row_waits_for_its_end(stage: Stage, reader: Reader) -> None:
    """The worker may be in the middle of a line."""
    stage.rows("one", 1, 2)
    path = stage.files("one").metrics
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    reader.poll()
    assert told(stage, "training_update", "row") == [1]
    path.write_bytes(whole)
    reader.poll()
    assert told(stage, "training_update", "row") == [1, 2]


def test_only_news_is_sent(stage: Stage, reader: Reader) -> None:
    """A repeated status is not an event, nor is another worker's."""
    stage.say("one", JobState.RUNNING, phase="train", step=1)
    for _ in range(3):
        reader.look_again()
    stage.say("one", JobState.RUNNING, phase="train", step=5, pid=99)
    assert reader.look_again() is None
    assert told(stage, "training_status", "step") == [1]


def test_a_stop_that_was_asked_for_stays_shown(stage: Stage, reader: Reader) -> None:
    """Whatever the worker still reports, until its final status, which the reader does not record."""
    reader.job.state = "stopping"
    stage.database.update("one", state="stopping")
    stage.say("one", JobState.RUNNING, phase="train", step=2)
    reader.look_again()
    job = stage.job("one")
    assert (job.state, job.step) == ("stopping", 2)
    stage.say("one", JobState.STOPPED, step=2)
    status = reader.look_again()
    assert (status and status.state, stage.job("one").state) == (JobState.STOPPED, "stopping")


def test_a_rewritten_file_is_read_from_its_start(stage: Stage, reader: Reader) -> None:
    """It is shorter than what was already read."""
    stage.rows("one", 1, 2, 3)
    reader.poll()
    stage.files("one").metrics.unlink()
    stage.rows("one", 7)
    reader.poll()
    assert told(stage, "training_update", "step") == [1, 2, 3, 7]
