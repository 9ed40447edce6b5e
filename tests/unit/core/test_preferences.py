"""What speaks against learning from pairs or ratings: counts, bounds, and the sentences."""

from __future__ import annotations

import doctest
from dataclasses import replace
from typing import Any

import pytest

from core import statistics, text
from core.config import DatasetSection, parse
from core.data.preference_facts import preferences_of
from core.data.rows import map_rows
from core.methods import kto
from core.methods.kto import row_concerns
from core.model import Device
from core.preferences import Concern, Preferences, concerns_of
from core.readiness import Facts, Readiness, RowFacts, Severity, check

PAIRS = DatasetSection(source="x", chosen_field="better", rejected_field="worse")
ARENA = DatasetSection(source="x", chosen_field="answer_a", rejected_field="answer_b", winner_field="winner")
RATINGS = DatasetSection(source="x", label_field="good")
CPU = Device("cpu", "a processor", 16_000_000_000, 8_000_000_000, bf16=False)
FULL = RowFacts(seen=400, rows=400, held_out=40)


def pair(question: str, better: str, worse: str) -> dict[str, Any]:
    return {"question": question, "better": better, "worse": worse}


def counted(raw: list[dict[str, Any]], dataset: DatasetSection, **more: Any) -> Preferences:
    found = preferences_of(*_mapped(raw, dataset), **more)
    assert found is not None
    return found


def _mapped(raw: list[dict[str, Any]], dataset: DatasetSection) -> tuple[Any, DatasetSection, dict[str, int]]:
    rows, left_out = map_rows(raw, dataset)
    return rows, dataset, left_out


def only(facts: Preferences) -> Concern:
    (found,) = concerns_of(facts)
    return found


def config(**changes: Any) -> Any:
    return parse({
        "name": "x", "model": {"name": "m"}, "method": "kto", "dataset": {"source": "x/y", "label_field": "good"},
        "training": {"batch_size": 4}, **changes,
    })  # fmt: skip


@pytest.mark.parametrize("module", [statistics, text, kto])
def test_the_examples_in_the_docstrings_hold(module: Any) -> None:
    """They are the specification of the small functions."""
    assert doctest.testmod(module).failed == 0


def test_pairs_are_counted() -> None:
    """Lengths, contradictions and what is left out."""
    raw = [
        pair("a", "long answer", "short"), pair("b", "no", "maybe"), pair("c", "x", "y"), pair("c", "y", "x"),
        pair("d", "same", "same"), pair("e", "only", ""),
    ]  # fmt: skip
    found = counted(raw, PAIRS)
    assert (found.pairs, found.longer, found.shorter) == (4, 1, 1)
    assert (found.contradictory, found.contradiction) == (2, "c")
    assert found.left_out == {"both answers are the same": 1, "the worse answer is empty": 1}
    assert (found.first, found.second, found.good, found.bad) == (0, 0, 0, 0)


def test_ratings_are_counted() -> None:
    """The same answer with both ratings is a contradiction; to another question it is not."""
    rows = [("a", "yes", 1), ("a", "yes", 0), ("b", "yes", 0), ("b", "no", 1), ("c", "so", 1), ("c", "so", "?")]
    found = counted([{"question": q, "answer": a, "good": good} for q, a, good in rows], RATINGS)
    assert (found.good, found.bad, found.contradictory, found.contradiction) == (3, 2, 2, "a")
    assert found.left_out == {"the rating is neither good nor bad": 1}


def test_examples_have_no_preferences() -> None:
    assert preferences_of(*_mapped([{"question": "q", "answer": "a"}], DatasetSection(source="x"))) is None


def test_a_winner_decides_which_answer_is_better() -> None:
    """Ties are left out, as is a cell that does not say; a cell may name the column."""
    cells = ["model_a", "model_b", "tie", "B", "answer_b", "tie (bothbad)", "1", None]
    raw = [
        {"question": f"{n}", "answer_a": "first", "answer_b": "other", "winner": cell} for n, cell in enumerate(cells)
    ]
    rows, left_out = map_rows(raw, ARENA)
    assert [(row["chosen"], row["rejected"], row["response"]) for row in rows] == [
        ("first", "other", "first"), *[("other", "first", "other")] * 3,
    ]  # fmt: skip
    assert left_out == {"neither answer is better": 2, "the winner column does not say which answer is better": 2}
    found = counted(raw, ARENA)
    assert (found.first, found.second) == (1, 3)


def test_a_longer_better_answer_is_a_warning_with_its_interval() -> None:
    """Above three quarters, and below one; not if chance explains it."""
    longer = only(Preferences(pairs=100, longer=91, shorter=9))
    assert (longer.level, longer.field) == ("warns", "dataset.chosen_field")
    assert longer.message.startswith(
        "The better answer is the longer one in 91% of the pairs (95% interval 84% to 96%), so the model may just "
        "learn to write more."
    )
    shorter = only(Preferences(pairs=100, longer=9, shorter=91)).message
    assert shorter.startswith("The better answer is the shorter one in 91% of the pairs (95% interval 84% to 96%)")
    assert "write less" in shorter
    for facts in (
        Preferences(pairs=100, longer=75, shorter=25),
        Preferences(pairs=100, longer=25, shorter=75),
        Preferences(pairs=4, longer=4),
        Preferences(pairs=9),
    ):
        assert concerns_of(facts) == ()


def test_a_preferred_place_is_a_warning() -> None:
    """Where the dataset says which answer was named first, and not otherwise."""
    first = only(Preferences(pairs=200, first=150, second=50))
    assert (first.level, first.field) == ("warns", "dataset.winner_field")
    assert first.message.startswith(
        "The answer named first is the better one in 75% of the rows (95% interval 68% to 81%)"
    )
    assert "named second" in only(Preferences(pairs=200, first=50, second=150)).message
    assert concerns_of(Preferences(pairs=200, first=115, second=85)) == ()


def test_contradictions_are_named() -> None:
    """A few are a note, many a warning."""
    few = only(Preferences(pairs=100, contradictory=2, contradiction="Who?"))
    assert few.level == "note"
    assert few.message.startswith("2 of the 100 pairs contradict each other")
    assert "as for 'Who?'" in few.message
    many = only(Preferences(good=50, bad=50, contradictory=40, contradiction="Who?", whole=False))
    assert (many.level, many.field) == ("warns", "dataset.label_field")
    assert many.message.startswith("40 of the first 100 ratings contradict each other")


def test_ratings_of_one_kind_block() -> None:
    """Unless there are rows that were not examined."""
    bad = only(Preferences(bad=30))
    assert (bad.level, bad.field) == ("blocks", "dataset.label_field")
    assert bad.message.startswith("All of the 30 ratings are bad.")
    assert only(Preferences(good=30, whole=False)).level == "warns"


def test_rows_that_are_left_out_are_counted() -> None:
    """Above a fifth, with a warning."""
    few = only(Preferences(pairs=90, left_out={"both answers are the same": 10}))
    assert (few.level, few.message) == (
        "note", "10 of the 100 rows cannot be used and are left out: both answers are the same.",
    )  # fmt: skip
    assert only(Preferences(pairs=70, left_out={"both answers are the same": 30})).level == "warns"


def test_weights_that_do_not_balance_the_ratings_are_a_warning_with_a_fix() -> None:
    """For KTO only, by the numbers of good and bad answers; pairs are balanced."""
    (found,) = row_concerns(config(), Preferences(good=300, bad=100))
    assert (found.level, found.field) == ("warns", "kto.undesirable_weight")
    assert "the good ones count 3 times as much as the bad ones" in found.message
    assert found.fix == ("Set the weights to 1 and 3", {"kto.desirable_weight": 1.0, "kto.undesirable_weight": 3.0})
    assert row_concerns(config(kto={"undesirable_weight": 3.0}), Preferences(good=300, bad=100)) == []
    assert row_concerns(config(), Preferences(pairs=50)) == []
    assert row_concerns(config(), Preferences(good=50)) == []
    (turned,) = row_concerns(config(training={"batch_size": 8}), Preferences(good=100, bad=300))
    assert turned.field == "kto.desirable_weight"


def test_batches_without_a_rare_kind_are_mentioned() -> None:
    """With a batch that has both, if it is not too large."""
    whole = config(kto={"undesirable_weight": 9.0}, training={"batch_size": 4, "gradient_accumulation_steps": 5})
    (found,) = row_concerns(whole, Preferences(good=900, bad=100))
    assert (found.level, found.field) == ("note", "training.batch_size")
    assert found.fix is not None
    assert found.fix[1] == {"training.batch_size": 10, "training.gradient_accumulation_steps": 2}
    rare = config(kto={"undesirable_weight": 99.0})
    assert [one.fix for one in row_concerns(rare, Preferences(good=990, bad=10))] == [None]


def listed(facts: Preferences, **changes: Any) -> Readiness:
    return check(config(**changes), CPU, Facts(rows=replace(FULL, preferences=facts)))


def test_the_readiness_list_has_them() -> None:
    """As problems with their severity and fix; for methods that learn from examples there are none."""
    blocked = listed(Preferences(good=40)).of(Severity.BLOCKS)
    assert [problem.field for problem in blocked] == ["dataset.label_field"]
    warned = listed(Preferences(good=300, bad=100)).of(Severity.WARNS)
    assert [problem.field for problem in warned] == ["kto.undesirable_weight"]
    assert warned[0].fix is not None
    assert "weights" in warned[0].fix.label
    assert not listed(Preferences(good=40), method="sft").of(Severity.BLOCKS)


def test_the_answer_column_is_not_asked_for_if_rows_are_pairs() -> None:
    """They bring their own columns."""
    paired = {"source": "x/y", "response_field": "", "chosen_field": "a", "rejected_field": "b"}
    assert not listed(Preferences(pairs=9), dataset=paired).of(Severity.BLOCKS)
    rated = {"source": "x/y", "response_field": "", "label_field": "b"}
    assert listed(Preferences(good=9, bad=9), dataset=rated).of(Severity.BLOCKS)
