"""A run stopped by an earlier version continues where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.job import Control, JobState
from core.job_dir import JobDir
from core.settings import Home
from tests.support.letters import make_base
from tests.support.stored import unpack
from tests.training.worker_runs import rows, work_until

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]


def test_it_goes_on_from_its_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its adapter, optimizer, schedule, random states and rows are read; step and row numbers continue."""
    home = Home(tmp_path.resolve() / "home")
    unpack(home.root)
    home.make()
    make_base(home.cache / "models")
    statuses = {path.parent: json.loads(path.read_bytes()) for path in home.outputs.glob("*/status.json")}
    ((folder, then),) = ((folder, status) for folder, status in statuses.items() if status["state"] == "stopped")
    run, last = JobDir(folder), then["step"]
    run.write_control(Control())  # As the watcher does before it starts the worker.
    before = rows(run)
    assert work_until(run, monkeypatch, home, lambda found: found[-1]["step"] == last + 2) == JobState.STOPPED
    after = rows(run)
    assert after[: len(before)] == before
    assert [row["row"] for row in after] == list(range(1, len(after) + 1))
    new = [row for row in after[len(before) :] if row["phase"] == "training"]
    assert [(row["step"], row["attempt"]) for row in new] == [(last + 1, 2), (last + 2, 2)]
    assert [path.name for path in run.numbered()] == [f"checkpoint-{last + 2}"]
