"""How far a process of its own is: what it said last counts, and silence only where it is gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from core.data import jobs
from core.delivery import state
from core.run_dir import write_json

KINDS = pytest.mark.parametrize(("module", "alive"), [(jobs, "_alive"), (state, "alive")], ids=["dataset", "delivery"])


def working(module: Any, folder: Path, **more: Any) -> None:
    progress = module.Progress(**{"state": "working", "pid": os.getpid(), **more})
    write_json(folder / module.PROGRESS, progress.model_dump(mode="json"))


@KINDS
def test_one_that_ends_between_two_looks_is_not_called_failed(
    module: Any, alive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was at work when its file was read, and had said its last word and gone when it was looked for."""

    def ends(_: Any) -> bool:
        working(module, tmp_path, state="done")
        return False

    working(module, tmp_path)
    monkeypatch.setattr(module, alive, ends)
    assert module.read_progress(tmp_path).state == "done"


@KINDS
def test_one_that_is_gone_without_a_word_has_failed(module: Any, alive: str, tmp_path: Path) -> None:
    """Another process may have its number by now."""
    working(module, tmp_path, pid_started=1.0)
    found = module.read_progress(tmp_path)
    assert (found.state, "without a word" in found.error) == ("failed", True)
    assert module.last_word(tmp_path).state == "working"
