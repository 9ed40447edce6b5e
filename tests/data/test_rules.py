"""Extraction, mixing, generated tasks, preparation, lengths and splits."""

from __future__ import annotations

import doctest
import importlib
import json
import random
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from core.config import DatasetSection, EvaluationSection, GeneratedTask, parse
from core.data import lengths, tasks
from core.data.extract import Extraction, propose
from core.data.known_datasets import CATALOGUE
from core.data.near import NearDuplicates
from core.data.pipeline import prepare_rows
from core.data.rows import map_rows, split_rows
from core.errors import InvalidInput
from core.rewards import PRESETS
from core.rewards.numbers import single_number
from core.settings import Home

GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k" / "train.jsonl"


@pytest.mark.parametrize(
    "name", ["extract", "lengths", "mix", "near", "cleaning", "reading", "rows", "tasks", "uploads"]
)
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    """The doctests pass."""
    assert doctest.testmod(importlib.import_module(f"core.data.{name}")).failed == 0


def test_every_reference_of_gsm8k_is_extracted_as_its_number() -> None:
    """All 7,473 rows with the suggested rule: none skipped, none wrong."""
    if not GSM8K.is_file():
        pytest.skip("GSM8K is missing (../shared/data/gsm8k/train.jsonl)")
    raw = [json.loads(line) for line in GSM8K.read_text("utf-8").splitlines()]
    rule = propose(row["answer"] for row in raw[:50])
    assert rule == Extraction("after_marker", "####")
    section = DatasetSection(source="openai/gsm8k", extraction=rule.rule, extraction_pattern=rule.pattern)
    rows, left_out = map_rows(raw, section)
    assert (len(rows), left_out) == (7473, {})
    for before, row in zip(raw, rows, strict=True):
        wanted = before["answer"].split("####")[1].strip()
        assert row["response"] == wanted
        assert single_number(row["response"]) == Fraction(wanted.replace(",", ""))
        assert row["full_response"] == before["answer"].strip()


@pytest.mark.parametrize(
    ("rule", "pattern", "cell", "found"),
    [
        ("after_marker", "####", "a #### 1\nb #### 2 \nrest", "2"),
        ("after_marker", "The answer is:", "so. The answer is: $x$", "$x$"),
        ("after_marker", "####", "nothing here", None),
        ("last_number", "", "From 1,200 take 3.5 and 2/3", "2/3"),
        ("last_number", "", "It costs $1,200.", "$1,200"),
        ("last_number", "", "H2O v1.2.3", None),
        ("boxed", "", r"\boxed{1} then \boxed{\text{a {b}}}", r"\text{a {b}}"),
        ("boxed", "", r"\boxed{never closed", None),
        ("regex", r"\(([A-E])\)", "not (A) but (C)", "C"),
        ("regex", r"\d+", "no digits", None),
        ("json_path", "answers.text[0]", {"answers": {"text": ["x", "y"]}}, "x"),
        ("json_path", "text[-1]", '{"text": ["x", "y"]}', "y"),
        ("json_path", "['a.b'][0].c", {"a.b": [{"c": {"d": 1}}]}, '{"d": 1}'),
        ("json_path", "text[0]", {"text": []}, None),
        ("json_path", "text", "not json", None),
    ],
)
def test_each_rule_takes_out_what_it_says(rule: Any, pattern: str, cell: Any, found: str | None) -> None:
    """The last match counts; no match is None, not an empty answer."""
    assert Extraction(rule, pattern)(cell) == found


@pytest.mark.parametrize(
    ("rule", "pattern"), [("regex", "("), ("regex", ""), ("json_path", "a..[x"), ("after_marker", "")]
)
def test_a_pattern_that_cannot_be_read_is_refused(rule: Any, pattern: str) -> None:
    """With its field, before any row is read."""
    with pytest.raises(InvalidInput) as refused:
        Extraction(rule, pattern).check()
    assert refused.value.field == "dataset.extraction_pattern"


def test_a_regular_expression_that_never_ends_is_stopped() -> None:
    """Catastrophic backtracking is cut off after a tenth of a second."""
    began = time.thread_time()
    with pytest.raises(InvalidInput, match="takes too long"):
        Extraction("regex", r"^(\w+\s?)*\s?(\w+\s?)*$")("a" * 5000 + "!")
    assert time.thread_time() - began < 2


def config(dataset: dict[str, Any], **sections: Any) -> Any:
    base = {"name": "x", "model": {"name": "x"}, "reward": {"type": "preset", "preset_name": "math"}}
    return parse(base | {"dataset": dataset} | sections)


def test_a_mixture_keeps_its_weights_and_its_seed(tmp_path: Path) -> None:
    """2.0 and 1.0 are two thirds and one third, exactly; the same seed gives the same rows in the same order."""
    home = Home(tmp_path)
    parts = [
        {"source": "generated:arithmetic", "size": 600, "weight": 2.0, "instruction_template": "First: {question}"},
        {"source": "generated:arithmetic", "size": 600, "max_operand": 900, "weight": 1.0},
    ]
    rows = prepare_rows(config({"source": "mix", "mix": parts}), home).train
    held = prepare_rows(config({"source": "mix", "mix": parts}), home).holdout
    first = sum(row["instruction"].startswith("First") for row in [*rows, *held])
    assert (len(rows) + len(held), first) == (900, 600)
    assert prepare_rows(config({"source": "mix", "mix": parts}), home).train == rows
    assert prepare_rows(config({"source": "mix", "mix": parts, "seed": 1}), home).train != rows
    assert rows[:20] != sorted(rows[:20], key=lambda row: row["instruction"].startswith("First"))


def test_generated_tasks_keep_what_their_checkers_want() -> None:
    """Weights are exact, the seed fixes the rows, and the kept entry survives being written to a file."""
    from reasoning_gym.factory import get_score_answer_fn

    chosen = [GeneratedTask(name="chain_sum", weight=3, difficulty=1), GeneratedTask(name="spell_backward")]
    rows = list(tasks.rows(chosen, 40, seed=5))
    assert Counter(row["task"] for row in rows) == {"chain_sum": 30, "spell_backward": 10}
    assert list(tasks.rows(chosen, 40, seed=5)) == rows
    assert list(tasks.rows(chosen, 40, seed=6)) != rows
    for row in json.loads(json.dumps(rows)):
        assert get_score_answer_fn(row["task"])(row["answer"], row["reasoning_gym"]["entry"]) == 1.0
    easy, hard = (
        max(len(row["question"]) for row in tasks.rows([GeneratedTask(name="chain_sum", difficulty=d)], 20, 0))
        for d in (0, 5)
    )
    assert easy < hard


@pytest.mark.parametrize("name", ["arc_agi", "composite", "no_such_task"])
def test_a_task_that_is_not_offered_is_refused(name: str) -> None:
    """Unknown ones, and those whose rows cannot be kept or checked."""
    with pytest.raises(InvalidInput, match="no exercise named"):
        list(tasks.rows([GeneratedTask(name=name)], 8, 0))


def test_held_out_rows_stay_where_they_are_when_the_dataset_grows() -> None:
    """Adding a thousand rows moves none between the three splits."""
    rows = [{"instruction": f"question {number}", "response": "x"} for number in range(3000)]
    evaluation = EvaluationSection(holdout_fraction=0.1, test_fraction=0.05, max_rows=50)
    small, large = split_rows(rows[:2000], evaluation, 7), split_rows(rows, evaluation, 7)

    def names(some: list[dict[str, Any]]) -> set[str]:
        return {row["instruction"] for row in some}

    assert names(small.train) <= names(large.train)
    assert names(small.test) <= names(large.test)
    assert names([*small.holdout, *small.spare]) <= names([*large.holdout, *large.spare])
    assert (len(large.holdout), sum(map(len, (large.train, large.holdout, large.test, large.spare)))) == (50, 3000)
    assert 250 < len(large.holdout) + len(large.spare) < 350


def test_near_duplicates_are_found_and_other_numbers_are_not() -> None:
    """Case, punctuation and an extra word do not count; another number in a sum does."""
    seen = NearDuplicates()
    long = "Natalia sold clips to forty eight of her friends in April and then she sold half as many clips in May"
    assert seen.add(long) is None
    assert seen.add(long.upper() + "!") == 0
    assert seen.add(long + " too") == 0
    assert seen.add("What is 3 + 4?") is None
    assert seen.add("What is 3 + 5?") is None
    draw = random.Random(1)
    words = [f"word{draw.randrange(5000)}" for _ in range(2000)]
    fresh = [" ".join(draw.sample(words, 30)) for _ in range(300)]
    assert [seen.add(text) for text in fresh] == [None] * 300


def test_proposed_limits_fit_the_lengths() -> None:
    """The proposed limits truncate at most 1 of 100 rows, and the truncated share is reported for any limits."""
    draw = random.Random(3)
    prompts, references = [draw.randint(40, 220) for _ in range(1000)], [draw.randint(5, 90) for _ in range(1000)]
    found = lengths.measure(prompts, references)
    assert found.cut_prompts <= 0.01
    assert found.cut_references <= 0.01
    assert sum(found.prompt.counts) == sum(found.reference.counts) == 1000
    assert found.prompt.median <= found.prompt.high <= found.prompt.most
    tight = lengths.measure(prompts, references, limits=(100, 50))
    assert tight.cut_prompts == sum(count > 50 for count in prompts) / 1000
    assert tight.cut_references == sum(count > 50 for count in references) / 1000


@pytest.mark.parametrize("known", CATALOGUE, ids=lambda known: str(known.path))
def test_every_entry_of_the_catalogue_is_ready_to_use(known: Any) -> None:
    """Its mapping is valid and uses its columns, and its reward exists or it says that no answer can be checked."""
    section = config(known.section).dataset
    preferences = {section.chosen_field, section.rejected_field, section.label_field} - {""}
    assert {section.instruction_field, section.response_field, *section.columns.values()} | preferences <= set(
        known.fields
    )
    assert known.reward in PRESETS or "no single correct answer" in known.reward_why
    assert known.good_for.endswith(".")
    assert known.reward_why.endswith(".")


def test_the_warm_up_keeps_the_working_out_when_the_answer_is_taken_out() -> None:
    """The reference is the number; the warm-up target includes the steps before it."""
    from core.data.prompts import warm_up_target

    section = DatasetSection(source="x", extraction="after_marker", extraction_pattern="####")
    [row], _ = map_rows([{"question": "q?", "answer": "48/2 = <<48/2=24>>24\n#### 24"}], section)
    assert warm_up_target(row, section) == "<start_working_out>48/2 = 24<end_working_out><SOLUTION>24</SOLUTION>"
