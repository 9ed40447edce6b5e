"""The suite's summary: folders over budget, retries, skipped combinations."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.settings import PROJECT
from tests.support.suite import BUDGETS, over_budget

TRIED = """
import pytest

tries = []

@pytest.mark.full
def test_everything(): pass

def test_shaky():
    tries.append(1)
    assert len(tries) > 1
"""


def run(folder: Path, *arguments: str, budget: float) -> tuple[int, str]:
    """Run a suite of two tests configured like this one: its exit status and output."""
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "test_tried.py").write_text(TRIED)
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = own\nmarkers = full\n")
    (folder / "conftest.py").write_text(f"from tests.support import suite\nsuite.NEW = {budget}\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.suite", "-p", "no:cacheprovider", "--reruns=1"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTEST_ADDOPTS": "", "PYTEST_XDIST_WORKER": ""}
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_a_folder_over_its_budget_is_named() -> None:
    """With its time and budget; an unlisted folder has a small budget."""
    assert over_budget(BUDGETS) == []
    (said,) = over_budget({"tests/data": 251.4, "tests/unit": 3.0})
    assert said.startswith("tests/data took 251 s and may take 250: make it quicker, or say in ")
    assert len(over_budget({"tests/new": 61.0})) == 1


def test_a_whole_run_says_what_was_wrong_with_it(tmp_path: Path) -> None:
    """It fails over budget; retried tests are in the last line, full combinations are left out."""
    status, said = run(tmp_path, budget=-1)
    assert status == 1, said
    assert "own/test_tried.py took 0 s and may take -1" in said
    closing = said.splitlines()[-1]
    assert "1 passed, 1 deselected, 1 rerun, second try: own/test_tried.py::test_shaky in" in closing


@pytest.mark.parametrize(("arguments", "closing"), [(("own",), "1 passed, 1 deselected"), (("-m", "full"), "1 passed")])
def test_a_choice_of_tests_has_no_budget(tmp_path: Path, arguments: tuple[str, ...], closing: str) -> None:
    """Full combinations run if their marker is given."""
    status, said = run(tmp_path, *arguments, budget=-1)
    assert status == 0, said
    assert closing in said.splitlines()[-1]
