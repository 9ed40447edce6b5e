# ruff: noqa: E501 - programs and answers, one a line
"""Every family's docstring examples, and how parts are put together."""

from __future__ import annotations

import doctest
import importlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from core.config import RewardSection
from core.reward import Item, Markers
from core.rewards import CATALOGUE, compose, embedding, maximum, resolve
from core.rewards import judge as judging
from core.rewards.sandbox import protection

MARKERS = Markers("<w>", "</w>", "<s>", "</s>")
BOXED = ("code", "own", "structure", "maths", "reasoning")
PLAIN = ("answers_qa", "citations", "judge", "lengths", "signals", "summaries", "words", "writing")


@pytest.mark.parametrize("name", [*PLAIN, *BOXED])
def test_the_examples_in_the_docstrings_are_true(name: str) -> None:
    """What each reward's docstring says of a right, a wrong and a garbage answer is what it gives."""
    if name in BOXED and protection().level is None:
        pytest.skip("no sandbox on this machine")
    if name == "answers_qa" and not embedding.available():
        pytest.skip("the embedding model is not installed")
    result = doctest.testmod(importlib.import_module(f"core.rewards.{name}"))
    assert result.attempted
    assert not result.failed


def test_every_reward_s_docstring_has_examples() -> None:
    """A reward without a right, a wrong and a garbage answer in its docstring is not finished."""
    for name, info in CATALOGUE.items():
        examples = doctest.DocTestParser().get_examples(info.function.__doc__ or "")
        assert examples, name


def composite(*parts: dict[str, Any], **fields: Any) -> RewardSection:
    return RewardSection.model_validate({"type": "composite", "components": parts, **fields})


GATED = composite(
    {"name": "numeric", "requires": "form"},
    {"name": "format", "label": "form", "weight": 0.2, "params": {"require": "solution"}},
)


def test_a_gate_must_be_passed_before_correctness_counts() -> None:
    """The right number without its markers earns nothing where the form is a gate; with them all of it."""
    score, row = compose(GATED, MARKERS), {"response": "7"}
    assert score("<s>7</s>", "", row).total == pytest.approx(1.2)
    bare = score("\\boxed{7}", "", row)
    assert bare.total == 0
    assert bare.components["numeric"].why.startswith("Does not count: form is below 1.")


def test_normalised_and_clipped_totals() -> None:
    """Divided by the sum of weights the best answer earns 1; a clipped total stays inside its limits."""
    parts = ({"name": "numeric", "weight": 3}, {"name": "length", "weight": -1, "params": {"minimum": 0, "maximum": 5}})
    row = {"response": "7"}
    assert compose(composite(*parts), MARKERS)("<s>7</s>", "", row).total == 2
    normal = composite(*parts, normalise=True)
    assert compose(normal, MARKERS)("<s>7</s>", "", row).total == pytest.approx(2 / 3)
    assert maximum(normal) == 1
    clipped = composite(*parts, clip_low=0, clip_high=1.5)
    assert [compose(clipped, MARKERS)(text, "", row).total for text in ("<s>7</s>", "<s>8</s>")] == [1.5, 0]
    assert maximum(clipped) == 1.5


def test_the_same_reward_twice_under_two_labels() -> None:
    """Two lengths with two labels are two parts."""
    section = composite(
        {"name": "length", "label": "short"}, {"name": "length", "label": "long", "params": {"minimum": 50}}
    )
    assert [part.key for part in resolve(section)] == ["short", "long"]
    assert list(compose(section, MARKERS)("word " * 20, "", {}).components) == ["short", "long"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([{"name": "numeric", "requires": "format"}], "is not the label of another part"),
        ([{"name": "numeric", "requires": "numeric"}], "is not the label of another part"),
        ([{"name": "format", "requires": "numeric"}, {"name": "numeric", "requires": "format"}], "has a gate itself"),
        ([{"name": "numeric", "clip_low": 0.5, "clip_high": 0.5}], "must be below its clip_high"),
        ([{"name": "numeric"}, {"name": "numeric"}], "give one a label"),
    ],
)
def test_gates_that_lead_nowhere_are_refused(parts: list[dict[str, Any]], words: str) -> None:
    """A gate must be another part without a gate; limits must leave room; names are there once."""
    with pytest.raises(ValueError, match=words):
        composite(*parts)


def test_many_at_once_is_the_same_as_one_by_one() -> None:
    """Scoring in a batch changes nothing but the time it takes."""
    section = composite({"name": "numeric"}, {"name": "math", "weight": 0.5}, {"name": "length", "weight": 0.1})
    score = compose(section, MARKERS)
    items = [Item(f"<s>{n % 5}</s>", "q", {"instruction": "q", "response": str(n % 3)}) for n in range(40)]
    assert score.many(items) == [score(*item) for item in items]


class _Judge(BaseHTTPRequestHandler):
    seen: list[dict[str, Any]]
    broken: int

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).seen.append(body)
        if type(self).broken > 0:
            type(self).broken -= 1
            self.send_error(503)
            return
        good = "Paris" in body["messages"][0]["content"].rpartition("<answer>")[2]
        reply = {
            "choices": [{"message": {"content": json.dumps({"score": 10 if good else 1, "why": "seen"})}}],
            "usage": {"total_tokens": 500},
        }
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002


@pytest.fixture
def endpoint() -> Iterator[tuple[str, type[_Judge]]]:
    """A judge that runs on this machine."""
    handler = type("Handler", (_Judge,), {"seen": [], "broken": 0})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_judge_scores_remembers_and_counts(
    endpoint: tuple[str, type[_Judge]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores come from the endpoint, the same question is asked once, tokens and cost are counted, failures retried."""
    url, handler = endpoint
    monkeypatch.setattr(judging, "SPENT", judging.Spent())
    monkeypatch.setattr(judging, "_CACHE", {})
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    handler.broken = 1
    items = [Item(text, "Capital of France?", {"response": "Paris"}) for text in ("Paris", "Lyon", "Paris")]
    scores = judging.judge(items, markers=MARKERS, url=url, price=2.0, at_once=1)
    assert [score.value for score in scores] == [1.0, 0.1, 1.0]
    assert len(handler.seen) == 3
    spent = judging.SPENT
    assert (spent.requests, spent.cached, spent.failed, spent.tokens) == (2, 1, 0, 1000)
    assert spent.cost == pytest.approx(0.002)


def test_a_judge_that_is_away_fails_its_rows_with_a_reason(
    endpoint: tuple[str, type[_Judge]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its retries each row has 0 and the reason; nothing is remembered."""
    url, handler = endpoint
    monkeypatch.setattr(judging, "_CACHE", {})
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    handler.broken = 99
    (score,) = judging.judge([Item("x", "", {})], markers=MARKERS, url=url, retries=2)
    assert score.value == 0
    assert "503" in score.why
    assert len(handler.seen) == 3
    assert not judging._CACHE


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
