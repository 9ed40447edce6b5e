"""A process is identified by more than its number, and nothing is killed that is not ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.job_dir import JobDir
from core.process import Identity, boot, find, identify, this_process
from core.progress import Progress, process_of, stop_process, write_progress
from core.settings import Home, Settings
from services.jobs.launcher import JOB, LocalLauncher, handle_of
from tests.support.live import PATIENCE

LEAVES_ONE_BEHIND = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
"""
"""Leads its own group, leaves a process in it and exits, like a daemon that forks twice."""


@pytest.fixture
def launcher(settings: Settings) -> LocalLauncher:
    return LocalLauncher(settings)


@pytest.fixture
def job(home: Home) -> JobDir:
    path = home.outputs / "run"
    path.mkdir()
    return JobDir(path)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def left_behind(**env: str) -> tuple[int, int]:
    """A process group whose leader has ended, and the process left in it."""
    leader = subprocess.Popen(
        [sys.executable, "-c", LEAVES_ONE_BEHIND], stdout=subprocess.PIPE, start_new_session=True, text=True,
        env={**os.environ, **env},
    )  # fmt: skip
    assert leader.stdout
    child = int(leader.stdout.readline())
    leader.stdout.close()
    leader.wait()
    return leader.pid, child


def gone(pid: int) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_process_is_found_by_number_start_and_boot() -> None:
    """All three must match; an unrecorded boot is not checked."""
    me = this_process()
    assert me.boot == boot() != ""
    assert find(me)
    assert find(me._replace(boot=""))
    assert find(me._replace(boot="another boot")) is None
    assert find(me._replace(started=me.started - 10)) is None
    assert find(Identity(0, me.started)) is find(Identity(1, 0.0)) is None


def test_another_programs_group_is_not_killed(launcher: LocalLauncher, job: JobDir) -> None:
    """An old group number that another program uses now, in this boot and after a restart."""
    group, stranger = left_behind()
    try:
        for boot_id in ("", boot(), "another boot"):
            launcher.sweep(handle_of(Identity(group, 1000.0, boot_id)), job)
        assert psutil.Process(stranger).status() != psutil.STATUS_ZOMBIE
    finally:
        os.kill(stranger, signal.SIGKILL)


def test_leftovers_of_a_vanished_worker_are_killed(launcher: LocalLauncher, job: JobDir) -> None:
    """The control of the test above: a process that was started for this job."""
    group, child = left_behind(**{JOB: str(job.path)})
    launcher.sweep(handle_of(Identity(group, 1000.0, boot())), job)
    assert gone(child), (group, psutil.Process(child).as_dict(["status", "ppid", "cmdline", "environ"]))


def test_a_process_that_has_just_been_started_is_asked_again(
    launcher: LocalLauncher, job: JobDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system shows its environment only once its program is loaded."""
    group, child = left_behind(**{JOB: str(job.path)})
    environ = psutil.Process.environ
    first = {child}

    def slow(process: psutil.Process) -> dict[str, str]:
        if process.pid in first:
            first.remove(process.pid)
            return {}
        return environ(process)

    monkeypatch.setattr(psutil.Process, "environ", slow)
    launcher.sweep(handle_of(Identity(group, 1000.0, boot())), job)
    assert gone(child)
    assert not first


def test_a_strangers_process_is_neither_alive_nor_ended(
    launcher: LocalLauncher, job: JobDir, sleeper: subprocess.Popen[bytes]
) -> None:
    """It has the number of a worker of an earlier boot, another start time, or an unrecorded boot."""
    known = identify(sleeper.pid)
    for other in (known._replace(boot="another boot"), known._replace(started=1000.0), known._replace(boot="")):
        worker = handle_of(other)
        assert not launcher.alive(worker, job)
        launcher.end(worker, job, force=True)
    assert sleeper.poll() is None
    assert launcher.alive(handle_of(known), job)
    launcher.end(handle_of(known), job, force=True)
    assert gone(sleeper.pid)


def test_a_delivery_of_an_earlier_boot_stops_no_process(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """Its number belongs to another process now; records from before boots were stored still work."""
    said = Progress(state="working").by(identify(sleeper.pid))
    old = said.model_copy(update={"boot": "another boot"})
    write_progress(tmp_path, old)
    stop_process(tmp_path, old)
    assert sleeper.poll() is None
    assert process_of(said.model_copy(update={"boot": ""}))
    stop_process(tmp_path, said)
    assert gone(sleeper.pid)
