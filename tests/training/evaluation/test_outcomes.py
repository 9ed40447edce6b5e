"""Held-out preferences: accuracy with an interval, the paired change, and a resumed run."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.job_dir import JobDir
from core.training.evaluation.outcomes import RIGHT, TIE, WRONG, Outcomes, outcome

pytestmark = pytest.mark.training


def test_a_change_is_measured_on_the_same_rows_also_after_a_resume(tmp_path: Path) -> None:
    """The evaluation before training is read back from the run's directory."""
    run = JobDir(tmp_path)
    first = Outcomes(run, 7).measured("before", 0, [TIE] * 8)
    assert (first["preference_accuracy"], first["samples"]) == (0.5, 8)
    assert (first["preference_accuracy_low"], first["preference_accuracy_high"]) == (0, 1)
    assert "accuracy_change" not in first
    with run.held_out.open("ab") as file:
        file.write(b'{"when": "before", "outcomes": "lost"}\n')
    again = Outcomes(run, 7).measured("end", 6, [RIGHT] * 7 + [WRONG])
    assert again["preference_accuracy"] == 0.875
    assert again["accuracy_change"] == 0.375
    assert 0 <= again["accuracy_change_low"] < 0.375 < again["accuracy_change_high"] <= 0.5
    assert again["preference_accuracy_low"] == pytest.approx(0.473, abs=1e-3)


def test_other_rows_are_not_compared(tmp_path: Path) -> None:
    """An evaluation of another number of rows has no change."""
    run = JobDir(tmp_path)
    Outcomes(run, 7).measured("before", 0, [TIE] * 8)
    assert "accuracy_change" not in Outcomes(run, 7).measured("end", 6, [RIGHT] * 7)


def test_a_margin_of_zero_is_a_tie() -> None:
    """At the start, model and reference are the same."""
    assert [outcome(margin) for margin in (0.1, 0.0, -0.1)] == [RIGHT, TIE, WRONG]
