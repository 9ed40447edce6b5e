# ruff: noqa: E501 - programs and answers, one a line
"""Right and wrong programs are told apart, with every format of tests."""

from __future__ import annotations

from typing import Any

import pytest

from core.reward import Item, Markers, Score
from core.rewards import CATALOGUE
from core.rewards.sandbox import protection
from tests.support.programs import ANYWHERE_WRONG, HUMANEVAL, LOOPS, MBPP, STREAMS, Task

MARKERS = Markers("<w>", "</w>", "<s>", "</s>")


pytestmark = [
    pytest.mark.usefixtures("patient_sandbox"),
    pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine"),
]


def judged(programs: list[tuple[Task, str]], **params: Any) -> list[Score]:
    """All in one batch, as in training."""
    batch = CATALOGUE["code"].batch
    assert batch is not None
    return batch([Item(text, "", task.row) for task, text in programs], markers=MARKERS, **params)


def test_there_are_enough_tasks() -> None:
    """At least a dozen in HumanEval's format, each with several wrong programs."""
    assert len(HUMANEVAL) >= 12
    assert all(len(task.right) >= 1 and len(task.wrong) >= 4 for task in (*HUMANEVAL, *MBPP, *STREAMS))


def test_right_and_wrong_programs_are_told_apart_without_exception() -> None:
    """Every right program earns 1, every wrong one less, and 0 if all tests must pass."""
    right = [(task, text) for task in (*HUMANEVAL, *MBPP, *STREAMS) for text in task.right]
    wrong = [(task, text) for task in (*HUMANEVAL, *MBPP, *STREAMS) for text in task.wrong]
    wrong += [(task, text.format(name=task.name)) for task in (*HUMANEVAL, *MBPP) for text in ANYWHERE_WRONG]
    wrong += [(task, LOOPS.format(name=task.name)) for task in (HUMANEVAL[0], MBPP[0])]
    missed = [(task.name, text, s.why) for (task, text), s in zip(right, judged(right), strict=True) if s.value != 1]
    assert not missed
    scores = judged(wrong, seconds=1)
    fooled = [(task.name, text) for (task, text), s in zip(wrong, scores, strict=True) if s.value >= 1]
    assert not fooled
    strict = judged([(task, text) for task, text in wrong if "while True" not in text][:40], seconds=1, whole_only=True)
    assert not any(score.value for score in strict)


def test_the_wrapping_does_not_matter() -> None:
    """As the body alone, the whole function, between tags, in a code fence with text around it."""
    task = HUMANEVAL[2]
    body, head = task.right[0], task.row["prompt"]
    for text in (
        body,
        head + body,
        f"<w>easy</w><s>{head}{body}</s>",
        f"Sure:\n```python\n{head}{body}```\nDone.",
        f"<s>```py\n{head}{body}\n```</s>",
    ):
        (score,) = judged([(task, text)])
        assert score.value == 1, (text, score.why)


@pytest.mark.parametrize(
    ("row", "right", "wrong"),
    [
        (
            {"test_list": ["assert double(2) == 4", "assert double(0) == 0"]},
            "def double(x):\n    return x + x",
            "def double(x):\n    return x * x + 1",
        ),
        (
            {"inputs": ["3 4\n", "1 1\n"], "outputs": ["7\n", "2\n"]},
            "a, b = map(int, input().split())\nprint(a + b)",
            "print(7)",
        ),
        (
            {"input_output": '{"inputs": [[3, 4]], "outputs": [7], "fn_name": "add"}'},
            "def add(a, b):\n    return a + b",
            "def add(a, b):\n    return a - b",
        ),
        (
            {"input_output": '{"inputs": [[3, 4]], "outputs": [7], "fn_name": "add"}'},
            "class Solution:\n    def add(self, a, b):\n        return a + b",
            "class Solution:\n    def add(self, a, b):\n        return 8",
        ),
        (
            {"tests": "p = Pair(1, 2)\nassert p.total() == 3\nassert add(p, p) == 6"},
            "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n    def total(self): return self.a + self.b\ndef add(p, q): return p.total() + q.total()",
            "class Pair:\n    def __init__(self, a, b): pass\n    def total(self): return 3\ndef add(p, q): return 7",
        ),
    ],
)
def test_every_shape_of_tests(row: dict[str, Any], right: str, wrong: str) -> None:
    """MBPP asserts, standard input and output, function calls, class methods, custom objects."""
    code = CATALOGUE["code"].batch
    assert code is not None
    good, bad = code([Item(right, "", row), Item(wrong, "", row)], markers=MARKERS)
    assert good.value == 1, good.why
    assert bad.value < 1, bad.why


SLOW = "def slow(n):\n    for _ in range(n * n // 20): pass\n"
BURN = "import time\ndef burn(seconds):\n    began = time.process_time()\n    while time.process_time() - began < seconds: pass\n"
NUMBER, LIST = "def make_input(n): return (n,)", "def make_input(n): return ([0] * n,)"


@pytest.mark.timed
@pytest.mark.parametrize(
    ("generator", "program"),
    [
        (NUMBER, f"import functools\n{SLOW}@functools.lru_cache\ndef f(n): return slow(n)"),
        (LIST, f"{SLOW}kept = {{}}\ndef f(a):\n    key = len(a), a[0], a[-1]\n    if key not in kept: kept[key] = slow(len(a))\n    return kept[key]"),
        (NUMBER, f"{SLOW}{BURN}def f(n):\n    burn(0.15)\n    slow(n)"),
        (NUMBER, f"{BURN}def f(n): burn(0.15)"),
        (NUMBER, f"{BURN}burn(0.8)\ndef f(n): return n"),
    ],
    ids=["cached", "by length and ends", "burning", "only burning", "worked out beforehand"],
)  # fmt: skip
def test_a_program_cannot_hide_how_its_time_grows(generator: str, program: str) -> None:
    """Nothing is cached between two calls, and constant overhead hides nothing."""
    batch = CATALOGUE["algorithm"].batch
    assert batch is not None
    row = {"entry_point": "f", "make_input": generator, "sizes": [4000, 16000], "max_power": 1}
    (score,) = batch([Item(f"```python\n{program}\n```", "", row)], markers=MARKERS, seconds=40)
    assert score.value < 0.5, score.why


@pytest.mark.timed
@pytest.mark.parametrize(
    "changed", [{"sizes": "4000, 16000"}, {"sizes": [16000, 16000]}, {"sizes": None}, {"max_power": "line"}]
)
def test_a_row_that_cannot_be_measured_affects_only_itself(changed: dict[str, Any]) -> None:
    """The message says what the row needs; its neighbor, with sizes from a CSV, is measured."""
    batch = CATALOGUE["algorithm"].batch
    assert batch is not None
    row = {"entry_point": "f", "make_input": "def make_input(n): return (n,)", "sizes": "[4000, 16000]"}
    text = "def f(n):\n    t = 0\n    for i in range(40 * n): t += i"
    bad, good = batch([Item(text, "", row | changed), Item(text, "", row)], markers=MARKERS)
    assert "two sizes" in bad.why
    assert good.value == 1, good.why
