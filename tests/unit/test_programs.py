# ruff: noqa: E501 - programs and answers, one a line
"""Right and wrong programs are told apart, in every shape that tests come in."""

from __future__ import annotations

from typing import Any

import pytest

from core.reward import Item, Markers
from core.rewards import CATALOGUE
from core.rewards.sandbox import protection

MARKERS = Markers("<w>", "</w>", "<s>", "</s>")


HUMANEVAL = {
    "prompt": 'def shift(xs: list, k: int) -> list:\n    """Move every element k places to the right, round the end."""\n',
    "entry_point": "shift",
    "test": "def check(candidate):\n    assert candidate([1, 2, 3], 1) == [3, 1, 2]\n    assert candidate([], 4) == []\n    assert candidate([1, 2], 3) == [2, 1]\n    assert True\n",
}
RIGHT = (
    "    if not xs:\n        return xs\n    k %= len(xs)\n    return xs[-k:] + xs[:-k]\n",
    "def shift(xs, k):\n    n = len(xs)\n    return [xs[(i - k) % n] for i in range(n)]",
    "```python\nfrom collections import deque\ndef shift(xs, k):\n    d = deque(xs)\n    d.rotate(k)\n    return list(d)\n```",
)
WRONG = (
    "    return xs\n",
    "    return xs[k:] + xs[:k]\n",
    "    return xs[-k:] + xs[:-k]\n",
    "    raise NotImplementedError\n",
    "    pass\n",
    "def shift(xs, k):\n    while True: pass",
    "def other(): pass",
    "def shift(xs): return xs",
    "    return sorted(xs)\n",
    "    import os; os._exit(0)\n",
)


@pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine")
def test_right_and_wrong_programs_of_humaneval_s_shape_are_told_apart() -> None:
    """Every right program earns 1 and every wrong one less, all of it or nothing with 'whole_only'."""
    code = CATALOGUE["code"].batch
    assert code is not None
    scores = code([Item(text, "", HUMANEVAL) for text in RIGHT + WRONG], markers=MARKERS, seconds=2)
    assert [score.value for score in scores[: len(RIGHT)]] == [1.0] * len(RIGHT)
    assert all(score.value < 1 for score in scores[len(RIGHT) :])
    strict = code([Item(text, "", HUMANEVAL) for text in WRONG], markers=MARKERS, seconds=2, whole_only=True)
    assert all(score.value == 0 for score in strict)


@pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine")
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
    """MBPP's asserts, standard input and output, function calls, methods of a class, objects of the program's own."""
    code = CATALOGUE["code"].batch
    assert code is not None
    good, bad = code([Item(right, "", row), Item(wrong, "", row)], markers=MARKERS)
    assert good.value == 1, good.why
    assert bad.value < 1, bad.why
