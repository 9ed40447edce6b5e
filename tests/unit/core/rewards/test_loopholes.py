"""'Test for loopholes' finds known exploits, and the built-in rewards have none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from core.config import DatasetSection, RewardSection
from core.data.prompts import warm_up_target
from core.reward import Item, Score
from core.rewards import CATALOGUE, RewardInfo, adversarial, markers_of
from core.rewards.answers import between_markers
from core.rewards.numbers import find_numbers
from core.rewards.sandbox import protection
from core.rewards.suggest import suggest

pytestmark = pytest.mark.usefixtures("patient_sandbox")
boxed = pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine")
DATASET = DatasetSection(source="none")
MARKERS = markers_of(DATASET)
NUMBERS = [{"instruction": f"{n} + 0?", "response": str(n)} for n in (5, 7, 12, 30)]
CHOICES = [
    {"instruction": "Which is largest?", "response": text, "choices": ["4", "3", "2", "1"]} for text in ("4", "1", "3")
]
LETTERS = [
    {"instruction": "Which is French?", "response": letter, "choices": ["Rome", "Paris", "Bonn"]} for letter in "BBAC"
]


def tried(name: str, rows: list[dict[str, Any]], **params: Any) -> adversarial.Report:
    section = RewardSection.model_validate({"type": "composite", "components": [{"name": name, "params": params}]})
    return adversarial.check(section, DATASET, rows, lambda row: warm_up_target(dict(row), DATASET))


def fooled(report: adversarial.Report) -> set[str]:
    return {one.key for one in report.attempts if one.warning}


def answer(text: str, row: Mapping[str, Any], *, numbers: bool) -> bool:
    """A flawed reward: any number or word between the tags counts."""
    inside = between_markers(text, MARKERS)
    said = str(find_numbers(inside[-1].replace("–", " "))[-1:]) if numbers and inside else (inside or [""])[-1]
    wanted = str(find_numbers(str(row["response"]))) if numbers else str(row["response"])
    return said == wanted if numbers else wanted in said


@pytest.mark.parametrize(
    ("numbers", "rows", "found"), [(True, NUMBERS, "made_of"), (False, LETTERS, "denied"), (False, CHOICES, "denied")]
)
def test_a_reward_that_takes_any_number_or_word_is_found_out(
    monkeypatch: pytest.MonkeyPatch, numbers: bool, rows: list[dict[str, Any]], found: str
) -> None:
    """The attempts work: they beat a flawed reward."""

    def loose(completion: str, prompt: str, row: Mapping[str, Any], **_: Any) -> Score:
        return Score(float(answer(completion, row, numbers=numbers)), "")

    monkeypatch.setitem(CATALOGUE, "loose", RewardInfo("loose", "", "", True, ("response",), (), loose))
    assert found in fooled(tried("loose", rows))


@boxed
@pytest.mark.parametrize(
    ("name", "rows"),
    [("numeric", NUMBERS), ("math", NUMBERS), ("exact", NUMBERS), ("choice", CHOICES), ("choice", LETTERS)],
)
def test_the_rewards_that_check_truth_are_not_fooled(name: str, rows: list[dict[str, Any]]) -> None:
    """Negations, minus signs, formulas and every other choice earn less than the reference."""
    report = tried(name, rows)
    assert report.reference == 1
    assert not report.warnings


def test_comments_cannot_silence_the_style_checker() -> None:
    """A messy program earns the same with any linter comment as without, and 'hushed' is tried."""
    style = CATALOGUE["style"].batch
    assert style is not None
    messy = "import os, sys\nl = 1\n"
    orders = (
        "",
        "# ruff: noqa\n",
        "# flake8: noqa\n",
        "# ruff: noqa: E401, F401, E741\n",
        "# isort: skip_file\n",
        "# fmt: off\n",
        "# RUFF:NOQA\n",
        "# ruff: disable[E401, F401, E741]\n",
    )
    texts = [f"```python\n{order}{messy}```" for order in orders]
    texts.append("```python\nimport os, sys  # noqa\nl = 1  # noqa: E741\n```")
    assert {score.value for score in style([Item(text, "", {}) for text in texts], markers=MARKERS)} == {0}
    (clean,) = style([Item("```python\n# it counts, noqa or not\nx = 1\nprint(x)\n```", "", {})], markers=MARKERS)
    assert clean.value == 1
    report = tried("style", [{"instruction": "?", "response": "```python\nx = 1\nprint(x)\n```"}])
    assert "hushed" in {one.key for one in report.attempts}
    assert "hushed" not in fooled(report)


def test_the_suggestion_uses_the_whole_answer_not_the_extracted_part() -> None:
    """GSM8K with its usual mapping, which keeps only the number after ####, needs 'math', not 'arithmetic'."""
    rows = [{"instruction": "?", "response": "72", "full_response": "48 + 24 = 72\n#### 72"}] * 5
    assert suggest(rows, MARKERS)[0]["preset_name"] == "math"
    assert suggest([{"instruction": "?", "response": "72"}] * 5, MARKERS)[0]["preset_name"] == "arithmetic"
