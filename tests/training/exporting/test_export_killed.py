"""kill -9 during a real export: no incomplete files are listed, and the disk space is freed."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.job import ENDED, JobKind
from core.job_dir import JobDir
from core.settings import Home, Settings
from core.training.gguf import file as gguf_file
from services import container
from services.container import Services
from services.jobs.launcher import process_of
from services.jobs.rebuild import rebuild

pytestmark = [
    pytest.mark.training,
    pytest.mark.slow,
    pytest.mark.skipif(not gguf_file.CONVERTER.is_file(), reason="the GGUF converter is not installed"),
]
MANY = ["f16", "q8_0", "q6_k", "q5_0", "q4_k_m", "q4_0"]
"""Enough that the export is still running when a stalled test kills it."""
KILLS = int(os.environ.get("EXPORT_KILLS", "1"))
"""Number of kills; more for a thorough test."""


@pytest.fixture(scope="module")
def services(models: Home, trained: JobDir) -> Iterator[Services]:
    """The real services with the real worker, and a run to export."""
    found = container.build(Settings.from_env({"TUNESMITH_HOME": str(models.root), "PATH": os.environ["PATH"]}))
    rebuild(models, found.database)
    yield found
    while found.watcher.tick():  # until the last worker has exited and its exit code has been read
        time.sleep(0.05)
    found.close()


def follow(services: Services, export_id: str, *states: str, stage: int = 0) -> None:
    """Let the watcher work until the export is in one of the states and at a stage."""
    end = time.monotonic() + 500
    while True:
        services.watcher.tick()
        view = services.exports.get(export_id)
        if view.job.status in states and view.job.step >= stage:
            return
        assert view.job.active or view.job.queue_position, (view.job.status, view.job.error)
        assert time.monotonic() < end, view
        time.sleep(0.02)


def weight(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def killed(services: Services, models: Home, stage: int, wait: float) -> tuple[str, list[psutil.Process]] | None:
    """An export killed after it reached a stage, and its children; None if it finished first."""
    made = services.exports.create("exported", "gguf", quantizations=MANY)
    follow(services, made.export_id, "running", "completed", stage=stage)
    time.sleep(wait)
    try:
        worker = psutil.Process(process_of(services.database.job(made.export_id, JobKind.EXPORT).handle).pid)
        worker.suspend()  # It must not end between the check and the kill.
        status = JobDir(models.exports / made.export_id).read_status()
        if status is None or status.state in ENDED:
            worker.resume()
            return None
        children = worker.children(recursive=True)
        worker.kill()
    except psutil.NoSuchProcess:
        return None
    follow(services, made.export_id, "crashed")
    return made.export_id, children


@pytest.mark.parametrize("attempt", range(KILLS))
def test_a_killed_export_leaves_nothing(services: Services, models: Home, attempt: int) -> None:
    """At any stage: it is crashed, has no files, uses no disk space, and no child process is left."""
    moment = random.Random(f"{models.root}{attempt}")
    stage = moment.randint(1, 9)
    # On a fast machine a late kill may miss: then an earlier one is used.
    found = killed(services, models, stage, moment.uniform(0, 1.5)) or killed(services, models, min(stage, 3), 0)
    assert found, "it was done before it could be killed"
    export_id, children = found
    view = services.exports.get(export_id)
    assert view.job.status == "crashed"
    assert (view.files, view.model_path) == ([], None)
    assert view.job.error is not None
    assert "No incomplete files were kept" in view.job.error
    folder = models.exports / export_id
    psutil.wait_procs(children, timeout=60)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    known = {"config.json", "control.json", "result.json", "status.json", "worker.log"}
    assert {path.name for path in folder.iterdir()} <= known
    assert weight(folder) < 200_000, f"at stage {stage}"


def test_a_canceled_export_gives_the_disk_back_while_it_converts(services: Services, models: Home) -> None:
    """Cancel ends the running converter, and the worker removes what it wrote."""
    made = services.exports.create("exported", "gguf", quantizations=MANY)
    follow(services, made.export_id, "running", stage=6)
    services.exports.cancel(made.export_id)
    follow(services, made.export_id, "stopped")
    assert weight(models.exports / made.export_id) < 200_000


def test_leftovers_of_a_dead_server_are_removed_at_the_next_start(services: Services, models: Home) -> None:
    """The leftovers of failed exports; finished ones stay unchanged."""
    ended = {view.job.status: view.export_id for view in services.exports.list()}
    left = models.exports / ended["stopped"] / "files.partial" / ".work"
    left.mkdir(parents=True)
    (left / "f16.gguf").write_bytes(bytes(1000))
    services.watcher.catch_up()
    assert not left.parent.exists()
