# ruff: noqa: E501 - cases, one a line
"""docs/rewards-table.md: every reward on a right, a wrong, a garbage, an empty and an adversarial answer.

``UPDATE_DOCS=1 pytest tests/unit/core/rewards/test_table.py`` rewrites the page.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.config import DatasetSection
from core.reward import Item
from core.rewards import CATALOGUE, embedding, markers_of
from core.rewards.sandbox import protection
from core.settings import PROJECT

pytestmark = pytest.mark.usefixtures("patient_sandbox")
PAGE = PROJECT / "docs" / "rewards-table.md"
GSM8K = PROJECT.parent / "shared" / "data" / "gsm8k" / "test.jsonl"
MARKERS = markers_of(DatasetSection(source="none"))
KEYWORDS = "therefore because the final answer is the solution, step by step, thus hence correct " * 20


class Case(NamedTuple):
    """A row and the answers to it; ``adversarial`` tries to earn without being right."""

    row: dict[str, Any]
    right: str
    wrong: str
    adversarial: str = KEYWORDS
    params: dict[str, Any] = {}  # noqa: RUF012 - a tuple's default, never changed


def s(text: str) -> str:
    return f"{MARKERS.solution_start}{text}{MARKERS.solution_end}"


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


SUM = {"instruction": "What is 48 + 24?", "response": "48 + 24 = 72\n#### 72"}
DOUBLE = {"tests": "assert double(2) == 4\nassert double(0) == 0\nassert double(-3) == -6"}
GROWTH = {
    "entry_point": "f",
    "make_input": "def make_input(n): return (n,)",
    "sizes": [1000, 4000, 16000],
    "max_power": 1,
}
BEES = {
    "context": "Bees dance. The dance of bees tells where flowers are. Bees smell flowers. Flowers feed bees in summer gardens.",
    "response": "Bees dance to tell where flowers are.",
}
TOWER = {
    "context": "The tower was finished in 1889 for the fair of the world in Paris.",
    "response": "It was finished in 1889.",
}
ENTRY = {"question": "4 + 3 =", "answer": "7", "metadata": {"source_dataset": "chain_sum", "source_index": 0}}
CITED = "Radium glows (Curie, 1911).\n\nCurie, M. (1911). Radium and its discovery. Science Press."
PROSE = "The boat left the harbour at dawn. A light wind filled the sail, and the crew sang. By noon they had lost sight of land."
DENSE = "Institutional multidimensional considerations necessitate comprehensive organizational reconceptualization; interdepartmental communication methodologies facilitate collaborative implementation of strategic recommendations accordingly, notwithstanding countervailing administrative interpretations."
SHORT = "def reward(completion, prompt, row):\n    return float(completion.strip() == row['response']), 'compared'"

CASES: dict[str, Case] = {
    "numeric": Case(SUM, s("72"), s("70"), s("70 71 72 73")),
    "exact": Case({"response": "Paris"}, s("Paris"), s("Lyon"), s("Paris") + s("Lyon")),
    "format": Case(SUM, MARKERS.reasoning_start + "48 + 24 = 72" + MARKERS.reasoning_end + s("72"), "72", s("") * 20),
    "length": Case(SUM, "word " * 50, "word " * 250, "word " * 5000),
    "math": Case({"response": r"\frac{x+1}{2}"}, s("x/2 + 1/2"), s("x/2"), s(r"\frac{x+1}{2}") + s("x")),
    "choice": Case(
        {"response": "B", "choices": ["Lyon", "Paris", "Nice"]}, "The answer is (B).", "The answer is (C).", "A B C D"
    ),
    "science": Case({"response": "9.81 m/s^2"}, s("981 cm/s^2"), s("9.81 m/s"), s("1 m/s^2 2 m/s^2 9.81 m/s^2")),
    "code": Case(
        DOUBLE,
        fenced("def double(x):\n    return x + x"),
        fenced("def double(x):\n    return x * x + 1"),
        fenced("class Yes(int):\n    __eq__ = lambda a, b: True\ndef double(x):\n    return Yes()"),
    ),
    "syntax": Case({}, fenced("x = 1"), fenced("x = = 1")),
    "style": Case({}, fenced("x = 1\nprint(x)"), fenced("import os, sys\nl = 1")),
    "algorithm": Case(
        GROWTH,
        fenced("def f(n):\n    t = 0\n    for i in range(40 * n): t += i"),
        fenced("def f(n):\n    t = 0\n    for i in range(n**3 // 100_000): t += i"),
        fenced("import time\ntime.perf_counter = lambda: 0\ndef f(n):\n    for i in range(n**3 // 100_000): pass"),
    ),
    "steps": Case(
        {"instruction": "48 clips and half as many?"},
        "48 / 2 = 24. 48 + 24 = 72." + s("72"),
        "11 / 2 = 20. 11 + 13 = 25." + s("72"),
        "1 + 1 = 2. " * 50,
    ),
    "consistent": Case(SUM, "48 + 24 = 72 " + s("72"), "48 + 24 = 72 " + s("42")),
    "reasoning_gym": Case({"reasoning_gym": {"task": "chain_sum", "entry": ENTRY}}, s("7"), s("8"), s("6 7 8")),
    "token_f1": Case({"response": "the Eiffel Tower"}, s("Eiffel Tower"), s("The Louvre"), "tower " * 30),
    "semantic": Case(
        {"response": "The cat sleeps on the sofa."},
        "A cat is sleeping on the couch.",
        "Stock prices fell sharply on Monday.",
    ),
    "cites_context": Case(
        TOWER,
        'It says "was finished in 1889", so 1889.',
        'It says "was opened in March 1890".',
        '"the" "in" "was" "for"',
    ),
    "rouge_l": Case(BEES, "Bees dance to tell where the flowers are.", "Cars drive fast.", "the " * 200),
    "coverage": Case(BEES, "Bees dance to tell where flowers are, in summer gardens.", "Cars drive fast."),
    "own_words": Case(
        BEES,
        "Dancing, a bee shows the way to food.",
        "The dance of bees tells where flowers are. Bees smell flowers.",
        BEES["context"],
    ),
    "budget": Case(BEES, "Bees dance.", BEES["context"]),
    "readability": Case({}, PROSE, DENSE, KEYWORDS, {"highest": 110}),
    "vocabulary": Case({}, PROSE, "the cat and the dog " * 10),
    "repetition": Case({}, PROSE, "I think so. " * 10),
    "citation": Case(
        {},
        CITED,
        CITED.replace("(Curie, 1911).\n", "(Bohr, 1913).\n"),
        "According to sources (reference) et al., see citation. " * 20,
    ),
    "json": Case(
        {},
        '{"city": "Paris"}',
        '{"town": 3}',
        '{"city": ' * 50,
        {
            "schema": '{"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}, "additionalProperties": false}'
        },
    ),
    "pattern": Case({}, "AB-12", "12-AB", "AB12 " * 99, {"expression": "^[A-Z]{2}-[0-9]{2}$"}),
    "markdown": Case({}, "# Title\n\n- one\n- two", "Title\n\ntext", "# - * ``` " * 40, {"lists": 1}),
    "language": Case(
        {},
        "The weather was fine and we walked along the river.",
        "Das Wetter war schön und wir gingen am Fluss spazieren.",
        "Weather Fluss rivière " * 20,
    ),
    "soft_limit": Case({}, "word " * 50, "word " * 390, "word " * 5000),
    "cosine_length": Case({}, "word " * 20, "word " * 390, "word " * 5000),
    "signal": Case({"response": "BUY"}, s("BUY"), s("SELL"), "buy sell hold " * 20),
    "python": Case({"response": "72"}, "72", "70", KEYWORDS, {"source": SHORT}),
}
GARBAGE = "xq zz 9 blorp ##"
NEEDS_SANDBOX = {"math", "code", "algorithm", "reasoning_gym", "json", "pattern", "python"}
NOT_HERE = {
    "judge": "tested against an endpoint on this machine",
    "reward_model": "tested with a small classifier of random weights",
}


def scores(name: str) -> list[float]:
    """Right, wrong, garbage, empty, adversarial."""
    case, info = CASES[name], CATALOGUE[name]
    params = {param.name: param.default for param in info.params} | case.params
    items = [
        Item(text, str(case.row.get("instruction", "")), case.row)
        for text in (case.right, case.wrong, GARBAGE, "", case.adversarial)
    ]
    if info.batch is not None:
        return [score.value for score in info.batch(items, markers=MARKERS, **params)]
    return [info.function(*item, markers=MARKERS, **params).value for item in items]


def rows() -> Iterator[str]:
    for name, info in CATALOGUE.items():
        if name in NOT_HERE:
            continue
        figures = " | ".join(f"{value:.2f}" for value in scores(name))
        yield f"| `{name}` | {info.title} | {info.family} | {'answer' if info.verifies else 'format'} | {figures} |"


def test_every_reward_has_its_row_of_cases() -> None:
    """Every reward has cases, except those with a stated reason."""
    assert set(CASES) | set(NOT_HERE) == set(CATALOGUE)


@pytest.mark.timed
@pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine")
@pytest.mark.skipif(not embedding.available(), reason="the embedding model is not installed")
def test_the_page_says_what_the_rewards_give() -> None:
    """Each score in docs/rewards-table.md is the reward's current one."""
    text = "\n".join(
        (
            "# Scores of each reward",
            "",
            "Generated by `UPDATE_DOCS=1 pytest tests/unit/core/rewards/test_table.py`, which also checks every row. *Answer*: the reward checks the answer against a reference or by running it, and the test asserts that the correct answer scores highest in its row. *Format*: the reward does not check whether the answer is correct.",
            "",
            f"Garbage is `{GARBAGE}`. The adversarial answer tries to score without being correct: every number at once, an object equal to everything, repeated keywords. The table leaves out the opinions of other models: {', '.join(f'`{name}` ({why})' for name, why in NOT_HERE.items())}.",
            "",
            "| reward | title | family | checks | correct | wrong | garbage | empty | adversarial |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows(),
            "",
        )
    )
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text


@pytest.mark.timed
@pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine")
@pytest.mark.parametrize("name", [name for name in CASES if CATALOGUE[name].verifies])
def test_right_earns_more_than_all_else_where_truth_is_checked(name: str) -> None:
    """For every verifying reward; the right answer earns the maximum."""
    right, *others = scores(name)
    assert right == 1
    assert right > max(others)


@pytest.mark.parametrize("name", ["length", "form", "repetition"])
def test_repeated_keywords_earn_next_to_nothing(name: str) -> None:
    """Forty repetitions earn next to nothing from format rewards."""
    score = {"length": "own_words", "form": "format"}.get(name, name)
    params = {param.name: param.default for param in CATALOGUE[score].params}
    assert (
        CATALOGUE[score]
        .function("therefore " * 40, "", {"context": "therefore " * 40}, markers=MARKERS, **params)
        .value
        < 0.1
    )


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [{"instruction": row["question"], "response": row["answer"]} for row in map(json.loads, file)]


@pytest.mark.skipif(not GSM8K.is_file(), reason="GSM8K is missing (../shared/data/gsm8k)")
def test_mathematics_pays_every_gsm8k_solution_and_none_with_another_number() -> None:
    """For all 1,319 test rows: 1 for the reference solution, 0 for the same text with another final number."""
    found = read(GSM8K)
    assert len(found) == 1319
    batch = CATALOGUE["math"].batch
    assert batch is not None
    right = [Item(row["response"], row["instruction"], row) for row in found]
    wrong = []
    for row in found:
        head, _, number = row["response"].rpartition("#### ")
        changed = str(int(number.replace(",", "")) + 1)
        wrong.append(Item(f"{head}#### {changed}", row["instruction"], row))
    assert sum(score.value for score in batch(right, markers=MARKERS)) == 1319
    assert sum(score.value for score in batch(wrong, markers=MARKERS)) == 0
