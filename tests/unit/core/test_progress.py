"""Progress of a separate process: its last report counts, and only a dead process fails by silence."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from core import progress
from core.data import jobs
from core.delivery import state
from core.progress import Progress, last_word, stop_process, write_progress
from tests.support.live import gone, until

KINDS = pytest.mark.parametrize("module", [jobs, state], ids=["dataset", "delivery"])
OWN = {"pid": psutil.Process().pid, "pid_started": psutil.Process().create_time()}


@KINDS
def test_one_that_ends_between_two_looks_is_not_called_failed(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was running when its file was read, and had finished and exited when it was checked."""

    def ends(_: Progress) -> None:
        write_progress(tmp_path, module.Progress(state="done"))

    write_progress(tmp_path, module.Progress(state="working", **OWN))
    assert module.read_progress(tmp_path).state == "working"
    monkeypatch.setattr(progress, "process_of", ends)
    assert module.read_progress(tmp_path).state == "done"


@KINDS
def test_a_process_that_is_gone_without_a_final_status_has_failed(module: Any, tmp_path: Path) -> None:
    """Another process may have its number now."""
    write_progress(tmp_path, module.Progress(state="working", **{**OWN, "pid_started": 1.0}))
    found = module.read_progress(tmp_path)
    assert (found.state, "stopped unexpectedly" in found.error) == ("failed", True)
    word = last_word(tmp_path, module.Progress)
    assert word is not None
    assert word.state == "working"


def test_a_disk_that_is_full_for_a_moment_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next beat writes what could not be written, and so does the final report once there is space."""
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.01)
    reporter = progress.Reporter(tmp_path, Progress(state="working"))
    tried: list[Progress] = []

    def full_at_first(folder: Path, now: Progress) -> None:
        tried.append(now)
        if len(tried) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_progress(folder, now)

    monkeypatch.setattr(progress, "write_progress", full_at_first)
    reporter.say(message="On")
    until(lambda: last_word(tmp_path, Progress), lambda word: word is not None and word.message == "On")
    reporter.end("done")
    word = last_word(tmp_path, Progress)
    assert word is not None
    assert (word.state, word.message) == ("done", "On")


def test_a_stop_ends_the_process_and_leaves_a_final_status(tmp_path: Path) -> None:
    """Another process with its number is left alone, and one that ended by itself keeps its report."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    started = psutil.Process(process.pid).create_time()
    stranger = Progress(state="working", pid=process.pid, pid_started=started - 100)
    write_progress(tmp_path, Progress(state="done"))
    stop_process(tmp_path, stranger)
    assert process.poll() is None
    assert last_word(tmp_path, Progress) == Progress(state="done")
    mine = Progress(state="working", message="At it", pid=process.pid, pid_started=started)
    write_progress(tmp_path, mine)
    stop_process(tmp_path, mine, "Cancelled")
    until(lambda: gone(process.pid), bool)
    process.wait()
    assert last_word(tmp_path, Progress) == mine.model_copy(update={"state": "stopped", "message": "Cancelled"})
