"""The watcher, with workers that are numbers and a clock that stands still; tests/fault has real processes."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from core.job import Control, JobKind, JobState
from core.job_dir import JobDir
from services.jobs.launcher import Handle
from services.jobs.verbs import Jobs
from services.jobs.watcher import GRACE, PUT_OFF
from tests.support.jobs import FakeLauncher, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "home")


def running(stage: Stage, job_id: str = "one", **said: Any) -> JobDir:
    """A job with a live worker."""
    run_dir = stage.add(job_id)
    stage.tick()
    stage.say(job_id, JobState.RUNNING, **{"phase": "train", **said})
    stage.tick()
    return run_dir


def verbs(stage: Stage) -> Jobs:
    return Jobs(JobKind.TRAIN, stage.home, stage.database, stage.events, stage.watcher.wake)


# --- the queue ---


def test_one_job_at_a_time_in_the_order_of_the_queue(stage: Stage) -> None:
    """The next starts once the previous process has exited, not at its final status: it still holds the memory."""
    for name in ("one", "two"):
        stage.add(name)
    stage.tick()
    assert stage.state("one", "two") == ["starting", "queued"]
    stage.say("one", JobState.COMPLETED)
    stage.tick(3)
    assert stage.state("one", "two") == ["completed", "queued"]
    stage.leave("one")
    stage.tick()
    assert stage.state("one", "two") == ["completed", "starting"]


def test_a_worker_that_lingers_after_its_final_status_is_killed(stage: Stage) -> None:
    """It gets twenty seconds; the next job waits for its exit in any case."""
    for name in ("one", "two"):
        stage.add(name)
    stage.tick()
    stage.say("one", JobState.COMPLETED)
    stage.tick(int(GRACE))
    assert stage.launcher.signals == []
    stage.tick(2)
    assert stage.launcher.signals[0] == ("one", True)
    assert stage.state("two") == ["queued"]


def test_a_launcher_runs_as_many_jobs_as_it_has_slots(tmp_path: Path) -> None:
    """Each launcher has its own; a job waits only for its launcher."""
    stage = Stage(tmp_path / "home", local=FakeLauncher(), cluster=FakeLauncher(slots=2))
    for name, launcher in (("a", "local"), ("b", "local"), ("c", "cluster"), ("d", "cluster"), ("e", "cluster")):
        stage.add(name, launcher=launcher)
    stage.tick(6)
    assert stage.state("a", "b", "c", "d", "e") == ["starting", "queued", "starting", "starting", "queued"]
    stage.say("c", JobState.COMPLETED)
    stage.leave("c")
    stage.tick(2)
    assert stage.state("b", "e") == ["queued", "starting"]


def test_a_full_disk_keeps_a_job_at_its_place(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is retried after some seconds, not earlier."""

    def full(job: JobDir) -> Handle:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("one", "two"):
        stage.add(name)
    with monkeypatch.context() as patch:
        patch.setattr(stage.launcher, "start", full)
        stage.tick()
    stage.tick(seconds=PUT_OFF - 1)
    assert stage.state("one", "two") == ["queued", "queued"]
    assert "full" in stage.job("one").message
    stage.tick(seconds=1)
    assert stage.state("one", "two") == ["starting", "queued"]


def test_no_job_starts_while_a_folder_is_moved(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it was queued; it keeps its place and says why it waits."""
    for name in ("one", "two"):
        stage.add(name)
    monkeypatch.setattr(stage.watcher, "_held", lambda: True)
    stage.tick(times=9, seconds=PUT_OFF)
    assert stage.state("one", "two") == ["queued", "queued"]
    assert stage.job("one").message == "Waiting until the folder is moved"
    monkeypatch.setattr(stage.watcher, "_held", lambda: False)
    stage.tick(seconds=PUT_OFF)
    assert stage.state("one", "two") == ["starting", "queued"]


def test_a_worker_that_cannot_be_started_fails_and_the_next_one_starts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason."""

    def refuse(job: JobDir) -> Handle:
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("one", "two"):
        stage.add(name)
    with monkeypatch.context() as patch:
        patch.setattr(stage.launcher, "start", refuse)
        stage.tick()
    stage.tick()
    assert stage.state("one", "two") == ["failed", "starting"]
    assert "Permission denied" in (stage.job("one").error or "")


# --- one job ---


def test_a_worker_that_exits_right_after_its_final_status_did_not_vanish(stage: Stage) -> None:
    """However close together the two are."""
    running(stage)
    stage.say("one", JobState.COMPLETED, message="Done")
    stage.leave("one")
    stage.tick()
    job = stage.job("one")
    assert (job.state, job.message, job.error) == ("completed", "Done", None)


@pytest.mark.parametrize(("checkpoint", "advice"), [(None, "no checkpoint yet"), (4, "checkpoint at step 4 was saved")])
def test_a_worker_that_vanished_crashed(stage: Stage, checkpoint: int | None, advice: str) -> None:
    """The page says what is left, even if the worker had not reported it."""
    run_dir = running(stage)
    if checkpoint is not None:
        (run_dir.checkpoints / f"checkpoint-{checkpoint}").mkdir(parents=True)
    stage.leave("one")
    stage.tick()
    job = stage.job("one")
    assert (job.state, job.checkpoint_step) == ("crashed", checkpoint)
    assert advice in (job.error or "")
    assert stage.told[-1][1]["status"] == "crashed"


def test_whether_it_lives_is_asked_twice_a_second(stage: Stage) -> None:
    """However often the watcher checks the files."""
    running(stage)
    before = stage.launcher.looks
    stage.tick(100, seconds=0.05)
    assert stage.launcher.looks - before == pytest.approx(10, abs=1)


def test_stop_now_is_pressed_after_a_while(stage: Stage) -> None:
    """First by request, then SIGTERM, then SIGKILL; one that vanishes meanwhile counts as stopped."""
    running(stage)
    verbs(stage).stop("one")
    stage.database.update("one", stop_now_at=stage.clock.time())
    stage.watcher.wake()
    stage.tick(int(GRACE))
    assert (stage.state("one"), stage.launcher.signals) == (["stopping"], [])
    stage.tick()
    assert stage.launcher.signals == [("one", False)]
    stage.tick(int(GRACE))
    assert stage.launcher.signals == [("one", False), ("one", True)]
    stage.leave("one")
    stage.tick()
    assert stage.state("one") == ["stopped"]


def test_an_earlier_starts_final_status_ends_nothing(stage: Stage) -> None:
    """It stays in the file until the new worker writes."""
    running(stage)
    stage.say("one", JobState.STOPPED)
    stage.leave("one")
    stage.tick()
    verbs(stage).resume("one")
    stage.tick(3)
    assert stage.state("one") == ["starting"]
    stage.say("one", JobState.RUNNING, phase="train")
    stage.tick()
    assert stage.state("one") == ["running"]


def test_a_phase_is_sent_as_the_status_that_api_clients_know(stage: Stage) -> None:
    """Internally, a job runs and has a phase; a stop is shown in any phase, and an ended job has none."""
    running(stage)
    stage.say("one", JobState.RUNNING, phase="evaluate")
    stage.tick()
    assert (stage.job("one").state, stage.job("one").phase) == ("running", "evaluate")
    verbs(stage).stop("one")
    stage.say("one", JobState.STOPPED)
    stage.leave("one")
    stage.tick()
    told = [payload["status"] for name, payload in stage.told if name == "training_status"]
    assert told == ["starting", "training", "evaluating", "stopping", "stopped"]
    assert stage.job("one").phase == ""


# --- what happens in between ---


def test_a_stop_while_the_worker_is_being_started_is_not_lost(stage: Stage) -> None:
    """The old request is cleared before the job leaves the queue, so the worker can read this one."""
    run_dir = stage.add("one")
    run_dir.write_control(Control(stop=True, now=True))  # from an earlier start
    start = stage.launcher.start

    def start_and_stop(job: JobDir) -> Handle:
        assert not job.read_control().stop
        verbs(stage).stop("one", at_once=False)
        return start(job)

    stage.launcher.start = start_and_stop  # type: ignore[method-assign]
    stage.tick(2)
    assert stage.state("one") == ["stopping"]
    assert run_dir.read_control() == Control(stop=True, now=False)


def test_a_stop_while_it_waits_takes_it_out_of_the_queue(stage: Stage) -> None:
    """Nothing is started."""
    stage.add("one")
    verbs(stage).stop("one")
    stage.tick(2)
    assert (stage.state("one"), stage.launcher.newest) == (["stopped"], {})


@pytest.mark.parametrize("found", [True, False])
def test_a_server_that_died_while_it_started_a_worker(stage: Stage, found: bool) -> None:
    """The worker is found; if there is none yet, the job is queued again."""
    run_dir = stage.add("one", state="starting")
    if found:
        stage.launcher.start(run_dir)
    stage.server().catch_up()
    job = stage.job("one")
    assert (job.state, job.worker) == (("starting", "1") if found else ("queued", ""))
    stage.tick()
    assert stage.state("one") == ["starting"]


def test_a_server_that_starts_again_follows_what_runs(stage: Stage) -> None:
    """The slot is taken, rows are sent once, and a worker that vanished meanwhile crashed."""
    running(stage)
    stage.add("two")
    stage.rows("one", 1, 2)
    stage.tick()
    stage.rows("one", 3)
    stage.server().catch_up()
    stage.tick(2)
    assert stage.state("one", "two") == ["running", "queued"]
    assert [payload["row"] for name, payload in stage.told if name == "training_update"] == [1, 2, 3]
    stage.leave("one")
    stage.server().catch_up()
    assert stage.state("one") == ["crashed"]
