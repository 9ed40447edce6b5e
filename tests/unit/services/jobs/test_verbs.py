"""Queue, stop, resume and delete, for every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import Conflict, NotFound
from core.job import JobKind, JobState
from services.jobs.kinds import KINDS
from services.jobs.verbs import Jobs
from tests.support.jobs import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "home")


def verbs(stage: Stage, kind: JobKind = JobKind.TRAIN) -> Jobs:
    return Jobs(kind, stage.home, stage.database, stage.events, stage.watcher.wake)


def statuses(stage: Stage) -> list[tuple[str, Any]]:
    return [(name, payload["status"]) for name, payload in stage.told]


@pytest.mark.parametrize("kind", JobKind)
def test_every_change_is_announced(stage: Stage, kind: JobKind) -> None:
    """With the event of its kind."""
    jobs, event = verbs(stage, kind), KINDS[kind].event
    stage.add("one", kind)
    jobs.announce("one")
    jobs.stop("one")
    jobs.delete("one")
    assert statuses(stage) == [(event, "queued"), (event, "stopped"), (event, "deleted")]
    with pytest.raises(NotFound):
        jobs.get("one")
    assert not stage.files("one", kind).path.exists()


def test_a_job_that_cannot_be_written_leaves_nothing(stage: Stage) -> None:
    """Neither a folder, a row nor an event."""

    def full(_run_dir: Any) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="space"):
        verbs(stage).queue("one", {"kind": "train"}, full)
    with pytest.raises(KeyError):
        verbs(stage).queue("one", {"kind": "train"})
    assert (list(stage.home.outputs.iterdir()), stage.told, stage.database.empty()) == ([], [], True)


def test_a_second_job_of_one_id_leaves_the_first_alone(stage: Stage) -> None:
    """Its folder is unchanged."""
    run_dir = stage.add("one")
    with pytest.raises(FileExistsError):
        verbs(stage).queue("one", {"kind": "train"})
    assert run_dir.config.is_file()


def test_a_queued_or_running_job_is_neither_resumed_nor_deleted(stage: Stage) -> None:
    """Resume changes nothing, Delete says what to do first."""
    stage.add("one")
    for state in ("queued", "running"):
        stage.database.update("one", state=state)
        verbs(stage).resume("one")
        assert stage.state("one") == [state]
        with pytest.raises(Conflict, match="Stop it first"):
            verbs(stage).delete("one")


@pytest.mark.parametrize("state", ["stopping", "completed"])
def test_a_job_that_cannot_continue_says_so(stage: Stage, state: str) -> None:
    """A job that is stopping would lose what it is saving."""
    stage.add("one", state=state)
    with pytest.raises(Conflict, match="Only a run that was stopped, failed or crashed"):
        verbs(stage).resume("one")


def test_a_job_without_its_folder_cannot_be_resumed(stage: Stage) -> None:
    """But it can be deleted."""
    run_dir = stage.add("one", state="crashed")
    run_dir.config.unlink()
    run_dir.path.rmdir()
    with pytest.raises(Conflict, match="Its folder was deleted"):
        verbs(stage).resume("one")
    verbs(stage).delete("one")
    assert stage.database.empty()


def test_a_run_that_an_export_waits_for_is_kept(stage: Stage) -> None:
    """Until the export has ended."""
    stage.add("one", state="completed")
    stage.add("two", "export", config={"session_id": "one"})
    with pytest.raises(Conflict, match="in use by the export 'two'"):
        verbs(stage).delete("one")
    verbs(stage, JobKind.EXPORT).stop("two")
    verbs(stage).delete("one")


def test_an_export_that_waited_to_be_compared_again_is_complete_once_more(stage: Stage) -> None:
    """A stop removes it from the queue, and its files are unchanged."""
    run_dir = stage.add("one", "export")
    run_dir.files.mkdir()
    run_dir.result.write_text('{"files": [{"name": "model.gguf"}]}')
    verbs(stage, JobKind.EXPORT).stop("one")
    assert stage.state("one") == [JobState.COMPLETED]
