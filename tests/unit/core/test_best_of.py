"""Best-of-n: rows of a file, and what their scores count for."""

from __future__ import annotations

from typing import Any

import pytest

from core.best_of import MOST_ANSWERS, questions, result
from core.errors import InvalidInput


def row(subset: str = "", **other: Any) -> dict[str, Any]:
    return {"prompt": "2 + 2?", "chosen": ["4"], "rejected": ["5", "6", "7"], "subset": subset, **other}


def test_accuracy_by_subset_with_intervals_and_chance() -> None:
    """Right, wrong, and a tie of two, which counts as half."""
    asked = questions([row("maths"), row("maths"), row("chat"), row("chat")])
    found = result(asked, [[2, 1, 0, 0], [0, 1, 0, 0], [3, 3, 0, 0], [9, 8, 7, 6]])
    assert found
    assert (found.overall.right.share, found.overall.right.of, found.overall.chance) == (0.625, 4, 0.25)
    assert found.overall.right.low < 0.5 < found.overall.right.high
    assert [(one.name, one.right.share) for one in found.subsets] == [("chat", 0.75), ("maths", 0.5)]


def test_an_answer_without_a_score_leaves_its_row_out() -> None:
    asked = questions([row(), row()])
    found = result(asked, [[2, 1, 0, None], [2, 1, 0, float("nan")]])
    assert found is None
    found = result(asked, [[2, 1, 0, None], [2, 1, 0, 0]])
    assert found
    assert (found.overall.right.of, found.unscored, found.subsets) == (1, 1, ())


def test_lists_may_be_texts() -> None:
    """As CSV files and other programs write them."""
    (one,) = questions([{"prompt": "q", "chosen": "yes", "rejected": '["no", "maybe"]'}])
    assert (one.chosen, one.rejected) == (("yes",), ("no", "maybe"))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"rejected": []}, "Row 2 has no rejected"),
        ({"prompt": ""}, "Row 2 has no prompt"),
        ({"chosen": "x" * 200_001}, "row 2 is longer than"),
        ({"rejected": ["no"] * MOST_ANSWERS}, "more than 20,000 answers"),
    ],
)
def test_a_row_of_another_form_is_named(bad: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        questions([row(), row(**bad)])


def test_a_file_without_rows_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        questions([])
