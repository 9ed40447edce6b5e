"""A paired report claims what the pairs show, and no more."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, cast

import pytest

from core.evaluation import Answered, EvaluationSpec, PairedReport, PairedVerdict, paired_report, run_pairs
from core.job_rows import GroupRow
from core.statistics import smallest_effect
from pages.evaluations.report import report_view
from services.evaluations.results import Cell, PromptRow, as_csv


def answered(total: float | None, name: str = "q") -> Answered:
    """An answer with this score out of 1.2: 0.2 for the format, 1 for the number."""
    parts = {} if total is None else {"numeric": float(total >= 1), "format": float(total > 0)}
    return Answered(name, "42", f"says {total}", total, parts, None if total is None else total >= 1.2)


def report(before: Sequence[float | None], after: Sequence[float | None], **more: Any) -> PairedReport:
    pairs = [(answered(a, f"q{i}"), answered(b, f"q{i}")) for i, (a, b) in enumerate(zip(before, after, strict=True))]
    found = paired_report(pairs, first="base", second="trained", **more)
    assert found is not None
    return found


def test_a_clear_gain_is_better_in_every_figure() -> None:
    """Twelve of twenty improve and none gets worse."""
    found = report([0.2] * 20, [1.2] * 12 + [0.2] * 8)
    assert found.verdict is PairedVerdict.BETTER
    assert (found.only_first, found.only_second, found.both, found.neither) == (0, 12, 0, 8)
    assert found.mcnemar == pytest.approx(2 / 2**12)
    assert found.solved.difference == found.components["numeric"].difference == pytest.approx(0.6)
    assert found.components["format"].difference == 0
    assert 0 < found.score.low < found.score.difference < found.score.high < 1
    assert "trained is better than base" in found.sentence
    assert len(found.improved) == 5
    assert found.worsened == ()


def test_a_clear_loss_is_worse() -> None:
    """The reverse, with the largest declines first."""
    found = report([1.2] * 12 + [0.2] * 8, [0.2] * 10 + [0.0] * 10)
    assert found.verdict is PairedVerdict.WORSE
    assert [one.after_score for one in found.worsened[:2]] == [0.0, 0.0]
    assert found.worsened[0].before_score == 1.2


def test_the_win_rate_leaves_ties_out() -> None:
    """Twelve of thirteen with a difference, seven ties; nothing if all are ties."""
    found = report([0.2] * 20, [1.2] * 12 + [0.2] * 7 + [0.0])
    assert found.wins is not None
    assert (found.wins.second, found.wins.first) == (12, 1)
    assert [round(value, 3) for value in (found.wins.rate, found.wins.low, found.wins.high)] == [0.923, 0.64, 0.998]
    assert report([0.2] * 20, [0.2] * 20).wins is None
    assert report_view(found).wins == (
        "Win rate of trained: 12 of 13 questions with a difference (92%, 95% interval 64% to 100%), 7 ties."
    )


def test_a_gain_that_chance_could_make_is_not_claimed() -> None:
    """Five of twenty improve: the interval alone would claim it, the sign test does not."""
    found = report([0.2] * 20, [1.2] * 5 + [0.2] * 15)
    assert found.score.low > 0
    assert found.verdict is PairedVerdict.NOT_ENOUGH
    assert "at least 6" in found.sentence


def test_no_change_is_reported() -> None:
    """Without a difference there is no effect to name."""
    found = report([1.2, 0.2] * 10, [1.2, 0.2] * 10)
    assert (found.verdict, found.smallest_effect, found.p_value) == (PairedVerdict.NOT_ENOUGH, None, 1.0)
    assert "scored the same with both models" in found.sentence
    assert report_view(found).advice == ""


def test_not_enough_evidence_names_what_would_have_been_seen() -> None:
    """Noise in both directions on forty prompts."""
    found = report([0.2, 1.2] * 20, [1.2, 0.2] * 10 + [0.2, 1.2] * 10)
    assert found.verdict is PairedVerdict.NOT_ENOUGH
    assert found.smallest_effect is not None
    assert f"differences of {found.smallest_effect:.2f} or more are usually detected" in found.sentence


def test_advice_is_how_many_questions_would_show_the_difference() -> None:
    """With that many similar ones, the smallest detectable difference is the one found."""
    before, after = [0.2] * 34 + [1.2] * 6, [1.2] * 8 + [0.2] * 32
    view = report_view(report(before, after))
    assert view.right == "8 newly right, 6 newly wrong, 0 right in both, 26 wrong in both."
    said = re.fullmatch(r"To confirm \+0\.05, about ([\d,]+) questions would be needed\.", view.advice)
    assert said is not None
    times = round(int(said[1].replace(",", "")) / 40)
    smallest = smallest_effect([b - a for a, b in zip(before, after, strict=True)] * times)
    assert smallest == pytest.approx(0.05, rel=0.05)


def test_too_few_questions_are_reported_with_the_number_needed() -> None:
    """Five cannot show anything; the statistics are listed below by their names."""
    view = report_view(report([0.2] * 5, [0.2] * 4 + [1.2]))
    assert view.smallest == "5 questions are too few to show any difference."
    assert view.advice.startswith("Use at least 32: they usually show a difference if 24% of the answers change")
    assert ("Right and wrong, McNemar's exact test", "p = 1.000") in [(one.title, one.value) for one in view.details]
    assert report_view(report([0.2] * 40, [1.2] * 40)).advice == ""


def test_sentence_and_table_show_the_same_figures() -> None:
    """Exact halves too: 0.125 is 0.13 in both."""
    found = report([0.25] * 8, [0.25] * 7 + [1.25])
    line = report_view(found).lines[0]
    assert (line.second, line.difference) == ("0.38", "+0.13")
    assert "average reward 0.38 vs. 0.25, difference +0.13 " in found.sentence


def test_several_models_share_the_chance_of_a_false_claim() -> None:
    """What is claimed for one model may be too little when five are compared."""
    before, after = [0.2] * 30, [1.2] * 6 + [0.2] * 24
    assert report(before, after).verdict is PairedVerdict.BETTER
    several = report(before, after, comparisons=5)
    assert several.verdict is PairedVerdict.NOT_ENOUGH
    assert several.level == pytest.approx(0.99)


def test_prompts_without_a_score_are_left_out() -> None:
    """A prompt that one of the models could not answer is not a pair."""
    assert report([0.2, None, 1.2], [1.2, 1.2, 1.2]).pairs == 2
    assert paired_report([(answered(None), answered(None))], first="a", second="b") is None


def test_a_report_survives_its_file() -> None:
    """It reads back as written."""
    found = report([0.2] * 9, [1.2] * 9)
    assert PairedReport.model_validate_json(found.model_dump_json()) == found


def group(when: str, prompt: str, total: float, attempt: int = 1, **more: Any) -> GroupRow:
    answer = {"text": f"{when} {total}", "total": total, "components": {"numeric": {"score": float(total >= 1)}}}
    values = {"phase": "evaluation", "when": when, "attempt": attempt, "prompt": prompt, "instruction": prompt}
    return cast("GroupRow", {**values, "reference": "1", "completions": [answer], **more})


def test_a_runs_pairs_are_its_first_and_last_answers() -> None:
    """Rows in between are ignored; a resumed attempt replaces what it repeats; equal questions stay separate."""
    groups: list[GroupRow] = [
        group("before", "a", 0.0), group("before", "a", 0.2), group("before", "b", 0.0),
        {"phase": "training", "prompt": "a", "instruction": "a", "completions": []},
        group("interval", "a", 0.5), group("end", "a", 0.7), group("end", "a", 1.0, 2), group("end", "a", 1.2, 2),
    ]  # fmt: skip
    pairs = run_pairs(groups, 1.2)
    assert [(one.total, two.total) for one, two in pairs] == [(0.0, 1.0), (0.2, 1.2)]
    assert [two.solved for _, two in pairs] == [False, True]


def test_the_answers_of_an_earlier_step_can_be_compared() -> None:
    """Of a run that kept its best checkpoint; those of the last step if that is the best."""
    groups = [
        group("before", "a", 0.0), group("interval", "a", 1.0, step=5), group("interval", "a", 0.2, step=9),
        group("end", "a", 0.7, step=12),
    ]  # fmt: skip
    assert [run_pairs(groups, 1.2, step)[0][1].total for step in (5, 9, 12, None)] == [1.0, 0.2, 0.7, 0.7]
    again: list[GroupRow] = [*groups, group("interval", "a", 0.7, step=12)]
    assert [two.total for _, two in run_pairs(again, 1.2, 12)] == [0.7]


def test_a_table_of_answers_runs_nothing_in_a_spreadsheet() -> None:
    """Prompts, answers and labels are untrusted: a formula in them stays text."""
    spec = EvaluationSpec.model_validate({
        "name": "n", "source": "s", "dataset": {"source": "generated:arithmetic"},
        "models": [{"label": "@SUM(A1)", "model_path": "m", "resolved": {}}],
    })  # fmt: skip
    link = '=HYPERLINK("http://a.example")'
    cell = Cell(link, tokens=3, cut_off=False, total=-1.0, solved=None, change="", problem="", parts={})
    row = PromptRow(place=0, instruction="  =1+1", reference="\t=2", answers=(cell,))
    line = list(csv.reader(io.StringIO(as_csv(spec, [row]))))[1]
    assert line[1:5] == ["'@SUM(A1)", "'  =1+1", "'\t=2", f"'{link}"]
    assert line[7] == "-1.0"
