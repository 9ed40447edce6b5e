"""Mapping, held-out rows, detection, and the generated task."""

from __future__ import annotations

import doctest
import importlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.config import DatasetSection, EvaluationSection
from core.data import made_pairs, sources
from core.data.arithmetic import arithmetic
from core.data.detect import guess_fields
from core.data.rows import map_rows, split_holdout
from core.dataset import Row
from core.errors import InvalidInput, NotFound
from core.settings import Home

FIXTURE = Path(__file__).parents[3] / "fixtures" / "gsm8k_small.jsonl"


def section(**values: Any) -> DatasetSection:
    return DatasetSection.model_validate({"source": "generated:arithmetic", **values})


@pytest.mark.parametrize("module", ["rows", "arithmetic", "made_pairs", "prompts", "detect", "uploads"])
def test_the_examples_in_the_docstrings_hold(module: str) -> None:
    """The doctests pass."""
    result = doctest.testmod(importlib.import_module(f"core.data.{module}"))
    assert result.attempted
    assert not result.failed


def test_mapping_gives_instruction_response_and_keeps_the_rest() -> None:
    """Mapped columns are renamed; all others are kept."""
    rows, left_out = map_rows([{"question": " a? ", "answer": 7, "level": "easy"}], section())
    assert rows == [{"instruction": "a?", "response": "7", "level": "easy"}]
    assert left_out == {}


def test_rows_that_cannot_be_asked_or_scored_are_counted() -> None:
    """Nothing is dropped silently, and max_samples counts the kept rows."""
    raw: list[dict[str, Any]] = [
        {"question": "", "answer": "1"},
        {"question": "a", "answer": None},
        *({"question": f"q{i}", "answer": i} for i in range(5)),
    ]
    rows, left_out = map_rows(raw, section(max_samples=3))
    assert [row["instruction"] for row in rows] == ["q0", "q1", "q2"]
    assert left_out == {"the question is empty": 1, "the answer is empty": 1}


def test_a_mapping_to_a_missing_column_names_the_columns_there_are() -> None:
    """The error contains the field's path and the choices."""
    with pytest.raises(InvalidInput, match=r"'answr'.*question, answer") as refused:
        map_rows([{"question": "a", "answer": "b"}], section(response_field="answr"))
    assert refused.value.field == "dataset.response_field"


def test_no_usable_row_is_an_error_and_not_an_empty_run() -> None:
    """A dataset of blank rows is refused with the reason."""
    with pytest.raises(InvalidInput, match="2 rows: the question is empty"):
        map_rows([{"question": "", "answer": "b"}] * 2, section())


def test_conversations_give_their_last_question_and_answer() -> None:
    """Messages and ShareGPT both work as one column for question and answer."""
    talk = [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]
    rows, _ = map_rows(
        [{"conversations": talk}], section(instruction_field="conversations", response_field="conversations")
    )
    assert rows == [{"instruction": "2+2?", "response": "4"}]


@pytest.fixture
def many() -> list[Row]:
    return map_rows(arithmetic(500, 1000), section())[0]


def test_held_out_rows_are_never_trained_on(many: list[Row]) -> None:
    """The two sides are disjoint, complete, and have the right proportion."""
    train, held = split_holdout(many, EvaluationSection(), seed=42)
    assert 35 <= len(held) <= 65  # a tenth of 500, within chance
    assert len(train) + len(held) == 500
    assert not {json.dumps(row) for row in train} & {json.dumps(row) for row in held}


def test_holding_out_depends_on_content_and_seed_alone(many: list[Row]) -> None:
    """Another order holds out the same rows; another seed, others."""
    _, held = split_holdout(many, EvaluationSection(), seed=42)
    _, again = split_holdout(many[::-1], EvaluationSection(), seed=42)
    _, other = split_holdout(many, EvaluationSection(), seed=43)
    assert again == held[::-1]
    assert other != held


def test_holding_out_keeps_its_limits(many: list[Row]) -> None:
    """At most max_rows; none at 0; never all; equal rows stay on one side."""
    assert len(split_holdout(many, EvaluationSection(max_rows=7), seed=1)[1]) == 7
    assert split_holdout(many, EvaluationSection(holdout_fraction=0), seed=1)[1] == []
    assert split_holdout(many[:1], EvaluationSection(), seed=1) == (many[:1], [])
    train, held = split_holdout(many[:2], EvaluationSection(), seed=1)
    assert (len(train), len(held)) == (1, 1)
    train, held = split_holdout(many[:1] * 50 + many[1:51], EvaluationSection(), seed=1)
    assert not {row["instruction"] for row in train} & {row["instruction"] for row in held}


@pytest.mark.parametrize(
    ("row", "question", "answer", "sure"),
    [
        ({"question": "a?", "answer": "b"}, "question", "answer", 0.9),
        ({"instruction": "a", "input": "c", "output": "b"}, "instruction", "output", 0.6),
        ({"prompt": "a", "completion": "b"}, "prompt", "completion", 0.85),
        ({"problem": "a", "solution": "b"}, "problem", "solution", 0.85),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "messages",
            "messages",
            0.8,
        ),
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
            "conversations",
            "conversations",
            0.8,
        ),
        ({"id": 7, "Frage": "Wie viel?", "Antwort": "zwei"}, "Frage", "Antwort", 0.5),
        ({"text": "lonely"}, "text", None, 0.2),
        ({"a": 1, "b": 2}, None, None, 0),
        ({"": "nameless"}, None, None, 0),
    ],
)
def test_common_shapes_are_recognized(
    row: dict[str, Any], question: str | None, answer: str | None, sure: float
) -> None:
    """By name, by conversation, by content; low confidence where it guesses, and always with a reason."""
    guess = guess_fields([row, row])
    assert (guess.instruction, guess.response) == (question, answer)
    assert guess.confidence >= sure
    assert guess.why.endswith(".")


def test_real_gsm8k_rows_are_recognized() -> None:
    """The fixture's columns are found with high confidence."""
    guess = guess_fields([json.loads(line) for line in FIXTURE.read_text("utf-8").splitlines()])
    assert (guess.instruction, guess.response) == ("question", "answer")
    assert guess.confidence > 0.9


def test_arithmetic_is_the_same_for_the_same_seed_and_right() -> None:
    """Deterministic, within its limits, and the answers are the sums."""
    rows = arithmetic(200, 50)
    assert rows == arithmetic(200, 50)
    assert rows != arithmetic(200, 50, seed=1)
    for row in rows:
        a, b = (int(word) for word in row["question"].removeprefix("What is ").removesuffix("?").split(" + "))
        assert 1 <= min(a, b) <= max(a, b) <= 50
        assert int(row["answer"]) == a + b


def test_made_pairs_are_the_same_for_the_same_seed_and_the_better_answer_is_right_and_short() -> None:
    """Deterministic; the sum of the better answer is right, and each worse one is wrong or long, not always both."""
    rows = made_pairs.pairs(200, 50)
    assert rows == made_pairs.pairs(200, 50)
    assert rows != made_pairs.pairs(200, 50, seed=1)
    kinds: Counter[tuple[bool, bool]] = Counter()
    for row in rows:
        a, b = (int(word) for word in row["question"].removeprefix("What is ").removesuffix("?").split(" + "))
        assert row["chosen"] == f"{a} + {b} = {a + b}."
        wrong = str(a + b) not in re.findall(r"\d+", row["rejected"].replace(f"{a} + {b}", ""))
        kinds[wrong, len(row["rejected"]) > 2 * len(row["chosen"])] += 1
    assert kinds[False, False] == 0
    assert 80 < kinds[True, True] < 120
    assert min(kinds[True, False], kinds[False, True]) > 30


def test_made_pairs_can_be_mapped_like_any_source(tmp_path: Path) -> None:
    """All rows are usable, and their reference is the better answer."""
    dataset = DatasetSection.model_validate({"source": made_pairs.SOURCE, "size": 300, **made_pairs.COLUMNS})
    kept, left_out = map_rows(sources.load_rows(dataset, Home(tmp_path)), dataset)
    assert (len(kept), left_out) == (300, {})
    assert all(row["response"] == row["chosen"] != row["rejected"] for row in kept)


@pytest.mark.parametrize(
    "source", ["../../etc", "/etc/passwd", "generated:poems", "upload:../..", "upload:", "a/b/c", "a\\b", ""]
)
def test_a_source_is_never_a_path(source: str, tmp_path: Path) -> None:
    """A malformed source is never looked up on disk, and the message lists the valid forms."""
    with pytest.raises(InvalidInput):
        sources.load_rows(DatasetSection.model_construct(source=source), Home(tmp_path))


def test_a_missing_upload_says_so(tmp_path: Path) -> None:
    """A deleted upload is NotFound, not a traceback."""
    with pytest.raises(NotFound, match="Upload the file again"):
        sources.load_rows(section(source="upload:20260101-000000-abcdef"), Home(tmp_path))
