"""Pairs and ratings: mapping, what cannot be used, and the configuration's refusals."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest

from core.config import DatasetSection, dump, parse
from core.data import answers, cells, pipeline, preferences
from core.data.cleaning import Preparation
from core.data.rows import content_hash, map_rows
from core.errors import InvalidConfig, InvalidInput
from core.settings import Home

PAIRS = DatasetSection(source="x", instruction_field="prompt", chosen_field="better", rejected_field="worse")
HOME = Home(Path("/nowhere"))
CONFIG: dict[str, Any] = {"name": "x", "model": {"name": "m"}, "method": "dpo"}


@pytest.mark.parametrize("module", [answers, cells, preferences])
def test_the_examples_in_the_docstrings_hold(module: Any) -> None:
    """They are the specification of the small functions."""
    assert doctest.testmod(module).failed == 0


def test_a_pair_has_both_answers_and_the_better_one_as_reference() -> None:
    """From text and from conversations; the answer column is not needed."""
    talk: Any = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    raw: list[dict[str, Any]] = [{"prompt": "2+2?", "better": talk, "worse": " 5 "}]
    rows, left = map_rows(raw, PAIRS)
    assert [rows[0][name] for name in ("instruction", "response", "chosen", "rejected")] == ["2+2?", "4", "4", "5"]
    assert left == {}


def test_a_pair_of_whole_conversations_needs_no_question_column() -> None:
    """The prompt is the conversation before the last reply."""
    start = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 2+2?\n\nAssistant:"
    section = PAIRS.model_copy(update={"instruction_field": "better"})
    rows, _ = map_rows([{"better": f"{start} 4", "worse": f"{start} 5"}], section)
    assert (rows[0]["instruction"], rows[0]["chosen"], rows[0]["rejected"]) == ("2+2?", "4", "5")
    assert len(rows[0]["conversation"]["messages"]) == 3


def test_pairs_that_cannot_be_learned_from_are_counted_by_reason() -> None:
    """An empty side, and two equal ones."""
    good: dict[str, Any] = {"prompt": "a", "better": "b", "worse": "c"}
    raw = [good, good | {"better": ""}, good | {"worse": None}, good | {"worse": " b"}, good | {"prompt": ""}]
    rows, left = map_rows(raw, PAIRS)
    assert len(rows) == 1
    assert left == {
        preferences.NO_ANSWER: 1, preferences.NO_REJECTED: 1, preferences.SAME: 1, "the question is empty": 1,
    }  # fmt: skip


def test_ratings_are_read_and_unreadable_ones_left_out() -> None:
    """Booleans, numbers, words."""
    section = DatasetSection(source="x", label_field="vote")
    raw = [{"question": "q", "answer": "a", "vote": vote} for vote in (True, 0, "Thumbs up", "maybe", None)]
    rows, left = map_rows(raw, section)
    assert [row["label"] for row in rows] == [True, False, True]
    assert left == {preferences.NO_RATING: 2}


def test_a_column_that_is_missing_is_named() -> None:
    """With the field that names it."""
    with pytest.raises(InvalidInput, match="no column 'worse'") as refused:
        map_rows([{"prompt": "a", "better": "b"}, {"prompt": "c", "better": "d"}], PAIRS)
    assert refused.value.field == "dataset.rejected_field"


def test_pairs_with_another_worse_answer_are_not_duplicates_and_share_a_split() -> None:
    """The split follows from question and better answer, so that no question is on both sides."""
    raw = [{"prompt": "a", "better": "b", "worse": worse} for worse in "cdd"]
    rows, _ = map_rows(raw, PAIRS)
    kept = Preparation(PAIRS.model_copy(update={"deduplicate": "exact"})).keep(rows)
    assert [row["rejected"] for row in kept] == ["c", "d"]
    assert content_hash(rows[0]) == content_hash(rows[1])


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "dataset.chosen_field"),
        ({"chosen_field": "a"}, "dataset.rejected_field"),
        ({"chosen_field": "a", "rejected_field": "a"}, "dataset.rejected_field"),
        ({"chosen_field": "a", "rejected_field": "b", "label_field": "c"}, "dataset.label_field"),
    ],
)
def test_columns_that_make_no_pairs_are_refused(fields: dict[str, str], path: str) -> None:
    """Before anything is read."""
    with pytest.raises(InvalidConfig) as refused:
        parse({**CONFIG, "dataset": {"source": "x/y", **fields}})
    assert path in dict(refused.value.problems)


def test_a_mixture_of_pairs_needs_them_in_every_source() -> None:
    """And a file that names no such column is written without one."""
    mine = {"source": "x/y", "chosen_field": "a", "rejected_field": "b"}
    with pytest.raises(InvalidConfig) as refused:
        parse({**CONFIG, "dataset": {"source": "mix", "mix": [mine, {"source": "x/z"}]}})
    assert set(dict(refused.value.problems)) == {"dataset.mix.1.chosen_field"}
    whole = parse({**CONFIG, "method": "sft", "dataset": {"source": "mix", "mix": [mine, {"source": "x/z"}]}})
    first, second = dump(whole)["dataset"]["mix"]
    assert first["chosen_field"] == "a"
    assert "chosen_field" not in second
    assert "label_field" not in first


def test_a_method_for_examples_does_not_learn_bad_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """SFT leaves them out and counts them; KTO learns from both."""
    raw = [{"question": f"{n}?", "answer": str(n), "good": n % 4 != 0} for n in range(40)]
    monkeypatch.setattr(pipeline, "load_rows", lambda *_, **__: raw)
    section = {"source": "a/b", "label_field": "good"}
    found = {
        key: pipeline.prepare_rows(
            parse({**CONFIG, "training": {"batch_size": 2}, "method": key, "dataset": section}), HOME
        )
        for key in ("sft", "kto")
    }
    kept = {key: len(one.train) + len(one.holdout) for key, one in found.items()}
    assert kept == {"sft": 30, "kto": 40}
    assert found["sft"].left_out == {preferences.RATED_BAD: 10}
    assert all(row["label"] for row in found["sft"].train)
    monkeypatch.setattr(pipeline, "load_rows", lambda *_, **__: [row for row in raw if not row["good"]])
    with pytest.raises(InvalidInput, match="Every answer in this dataset is rated bad"):
        pipeline.prepare_rows(parse({**CONFIG, "method": "sft", "dataset": section}), HOME)
