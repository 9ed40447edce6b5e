"""What the preparation report lists first, and how it draws the lengths."""

from __future__ import annotations

from typing import Any

from pages.datasets.report import report_view


def report(**changes: Any) -> dict[str, Any]:
    bars = {"step": 4, "counts": [0, 3, 9], "median": 9, "high": 11, "most": 40}
    lengths = {
        "prompt": bars, "reference": bars, "limits": [512, 128], "max_sequence_length": 192, "max_new_tokens": 64,
        "cut_prompts": 0.0, "cut_references": 0.0, "cut_if_proposed": [0.0, 0.004],
    }  # fmt: skip
    usual = {"read": 40, "train": 30, "holdout": 10, "test": 0, "left_out": {}, "unparseable": 0, "lengths": lengths}
    return usual | changes


def test_the_worst_comes_first_with_what_a_button_can_change() -> None:
    """Sorted by the share of affected rows; a few odd rows are counted below and are not a warning."""
    lengths = report()["lengths"] | {"cut_references": 0.5}
    shown = report_view(report(unparseable=40, left_out={"the question is empty": 1}, lengths=lengths))
    assert shown
    assert [(one.key, one.fix) for one in shown.concerns] == [("unreadable", "reward"), ("cut", "limits")]
    assert shown.concerns[0].words.startswith("The reward cannot read 40 of 40 answers.")
    assert shown.concerns[1].words == "50% of the answers are longer than 128 tokens and would be cut off."
    assert "Every row fits" not in shown.fit
    empty = report_view(report(train=0, holdout=0, left_out={"the answer is empty": 40}, lengths=None))
    assert empty
    assert [one.key for one in empty.concerns] == ["empty", "left-out"]
    assert empty.charts == ()


def test_without_a_concern_it_says_that_every_row_fits() -> None:
    """And what the suggested lengths would cut off."""
    shown = report_view(report())
    assert shown
    assert shown.concerns == ()
    assert "Every row fits. Suggested: 192 and 64, which cuts off <1% of the rows." in shown.fit


def test_rows_that_are_learned_are_measured_whole() -> None:
    """One limit applies there: question and answer together."""
    lengths = report()["lengths"] | {"cut_examples": 0.12}
    shown = report_view(report(lengths=lengths))
    assert shown
    assert shown.concerns[0].words == "12% of the rows are cut off at 512 tokens."
    assert "answer" not in shown.fit


def test_both_axes_have_their_units() -> None:
    """The last bar includes everything longer, as its label says."""
    shown = report_view(report())
    assert shown
    chart = shown.charts[0]
    assert (chart.top, chart.middle, chart.end) == ("9 rows", "6", "12+ tokens")
    assert [round(bar.height) for bar in chart.bars] == [0, 33, 100]
    assert chart.bars[1].words == "4–7 tokens: 3 rows"
    assert chart.summary == "median 9, 99th percentile 11, longest 40 tokens"


def test_without_a_preparation_there_is_no_report() -> None:
    """The page then shows only the form."""
    assert report_view(None) is None
