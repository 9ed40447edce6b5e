# ruff: noqa: E501, ISC004 - cases, one a line
"""docs/rewards-cases.md: wrong answers that look right, and right ones in unusual form, with their scores.

``UPDATE_DOCS=1 pytest tests/unit/core/rewards/test_cases.py`` rewrites the page.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from core.config import DatasetSection, RewardSection
from core.reward import Item
from core.rewards import CATALOGUE, compose, decided, markers_of, maximum, resolve, settled
from core.rewards.sandbox import protection
from core.settings import PROJECT

pytestmark = [
    pytest.mark.usefixtures("patient_sandbox"),
    pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine"),
]
PAGE = PROJECT / "docs" / "rewards-cases.md"
MARKERS = markers_of(DatasetSection(source="none"))

NUMBERS: dict[str, dict[str, tuple[str, str]]] = {
    "Minus signs": {
        "5": (
            "–5 · —5 · −5 · ‐5 · ➖5 · －5 · − 5 · minus 5 · negative 5 · negative five · The answer is minus 5. · x = − 5",
            "",
        ),
        "-5": ("", "–5 · —5 · −5 · ‐5 · ➖5 · －5 · − 5 · minus 5 · negative 5 · The answer is minus 5. · x = − 5"),
    },
    "Negations, estimates, bounds": {
        "5": (
            "not 5 · It isn’t 5. · neither 5 · wrong: 5 · about 5 · approximately 5 · ~5 · ≈5 · ±5 · 5±1 · at least 5 · "
            "more than 5 · 5 or more · 5+ · under 5 · 5? · x ≠ 5 · x < 5 · x ≥ 5",
            "5 left over · 5 more apples",
        ),
    },
    "A formula": {
        "5": ("log(5) · log 5 · ln 5 · √5 · \\sqrt{5} · 5² · 5^2 · 5**2 · 5! · f(5) · 5x · 5π · 5i · twice 5 · "
              "half of 5 · square root of 5 · 5 squared · 5(3) · 5·2 · 5₂ · 2x = 5 · x + 3 = 5 · 5/x · 5 - x · x-5", ""),
        "10": ("10! · 10^{10^{10}} · 10^{ · 10^2 · \\binom{10}{5}", ""),
        "0": ("0x10 · 0b101", "0 · 0.0 · -0"),
    },
    "Several numbers": {
        "5": ("5 or 6 · 4 to 6 · 4–6 · between 4 and 5 · between 5 and 5 · 5, 6 · 5, 5 · (5, 5) · 5 5 · [5, 6] · 5:5 · 5 and 6",
              "5 (five) · 5 (5) · 10/2 = 5 · 2 + 3 = 5"),
        "2": ("x=73, y=2 · x=73 y=2 · x = 73 and y = 2", "x = 2 · y=2"),
    },
    "Digits and groups": {
        "5": ("1/5 · 5/2 · 5% of 80 · 5e3 · 5k · 5 thousand · 5 hundred · 5 million · ⁵ · 5‰ · %5 · 5...", "５ · ٥ · ⑤ · 5% · 5.0 · 5. · $5 · ₹5 · "
              "5 km/h · 5 m² · 5 °C · 5-year-old · \\boxed{5} · $5$ · **5** · 10/2 · 5e0 · The answer is 5."),
        "1000": ("1,00 · 1 0 0 0", "1,000 · 1'000 · 1’000 · 1_000 · 1e3 · 1{,}000 · 1 thousand · 1\u202f000"),
        "0.5": ("1/20 · 5", "½ · 1/2 · 1⁄2 · .5 · 0.50 · \\frac{1}{2} · \\frac12"),
    },
}  # fmt: skip
"""Reference: answers that must earn nothing from ``numeric``, and those that must earn 1. Separated by a dot."""
WORKED_OUT = {
    ("5", "|-5|"), ("25", "5²"), ("3628800", "10!"), ("8", "2^3"), ("6", "\\binom{4}{2}"), ("x^2", "x²"), ("-x", "−x"),
    ("(2, 3)", "(2,3)"), ("5", "\\sqrt{25}"),
}  # fmt: skip
"""Formulas that evaluate to the reference: ``math`` pays for them; ``numeric`` wants a plain number."""
NOT_EQUAL = {
    ("5", "|-6|"), ("5", "5²"), ("10", "10!"), ("10", "10^{10^{10}}"), ("9", "9^{9^{9^9}}"), ("5", "\\binom{999999}{333333}"),
    ("x", "x!"), ("\\sqrt{2}", "not \\sqrt{2}"), ("\\sqrt{2}", "$\\sqrt{2}$ is wrong"), ("x+1", "x+1 or x+2"),
    ("\\sqrt{2}", "\\sqrt{3}</SOLUTION><SOLUTION>\\sqrt{2}"),
}  # fmt: skip


OPTIONS: tuple[tuple[str, str, tuple[tuple[Any, Any, str, str], ...]], ...] = (
    ("Digits are texts", "text", (
        (["1", "2", "3"], "2", "2 · B", "1 · 3 · A · C"),
        (["4", "3", "2", "1"], "1", "1 · D", "3 · B · 2"),
    )),
    ("Digits are positions, from 0", "from_0", (
        (["red", "blue"], "0", "red · A", "blue · B · 1"),
        (["0", "4", "2", "6"], "1", "4 · B · 1", "2 · A · C"),
        (["0", "1", "2", "3"], 3, "3 · D", "2 · C"),
    )),
    ("Digits are positions, from 1", "from_1", (
        (["red", "blue"], "2", "blue · B · 2", "red · A · 1"),
        (["5", "1"], "1", "5 · A", "1 · B"),
    )),
    ("Letters are letters", "letter", (
        (["Lyon", "Paris", "Nice"], "B", "B · (b) · Paris · B) Paris · The answer is (B).", "A · Nice · not B · B or C · B) Nice"),
        (["B", "A"], "A", "A", "B · C"),
        ({"text": ["x", "y", "z"], "label": ["1", "2", "3"]}, "2", "2 · B · y", "1 · C · z"),
        ({"A": "Lyon", "B": "Paris"}, "b", "B · Paris", "A · Lyon"),
        (["A)125", "B)150"], "B", "B · 150", "A · 125"),
    )),
    ("Letters are texts", "text", ((["a", "e", "i"], "e", "e", "a · i"), (["x", "y", "a"], "y", "y", "x · z"))),
    ("Lists stored as text in a CSV file", "letter", (
        ('["Lyon", "Paris"]', "B", "B · Paris", "A · Lyon"),
        ("['Lyon', 'Paris']", "B", "B · Paris", "A · Lyon"),
        ("['Lyon' 'Paris']", "B", "B · Paris", "A · Lyon"),
        ("{'text': array(['Lyon', 'Paris'], dtype=object), 'label': array(['A', 'B'], dtype=object)}", "B", "B · Paris", "A · Lyon"),
    )),
)  # fmt: skip
"""A dataset's rows, how its references name a choice, and the rows: choices, reference, right and wrong answers."""


def earned(name: str, pairs: list[tuple[str, str]]) -> list[float]:
    """The score of each (reference, answer)."""
    info = CATALOGUE[name]
    params = {param.name: param.default for param in info.params}
    items = [
        Item(f"{MARKERS.solution_start}{answer}{MARKERS.solution_end}", "", {"response": reference})
        for reference, answer in pairs
    ]
    if info.batch is not None:
        return [score.value for score in info.batch(items, markers=MARKERS, **params)]
    return [info.function(*item, markers=MARKERS, **params).value for item in items]


def cases() -> Iterator[tuple[str, str, str, float]]:
    """Kind, reference, answer, expected score of ``numeric``."""
    for kind, of in NUMBERS.items():
        for reference, sides in of.items():
            for value, side in zip((0.0, 1.0), sides, strict=True):
                for answer in side.split(" · ") if side else ():
                    yield kind, reference, answer, value


def test_numeric_pays_a_plain_number_and_nothing_made_of_one() -> None:
    """Each case earns what the table says; variants of fixed bugs do not return."""
    found = list(cases())
    got = earned("numeric", [(reference, answer) for _, reference, answer, _ in found])
    wrong = [(case, value) for case, value in zip(found, got, strict=True) if value != case[3]]
    assert not wrong


def test_mathematics_pays_no_wrong_number_and_works_formulas_out() -> None:
    """What numeric rejects earns nothing from math unless it evaluates to the reference; right answers earn 1."""
    plain = [(reference, answer) for _, reference, answer, value in cases() if value]
    assert [pair for pair, value in zip(plain, earned("math", plain), strict=True) if value != 1] == []
    worked, unequal = sorted(WORKED_OUT), sorted(NOT_EQUAL)
    assert [pair for pair, value in zip(worked, earned("math", worked), strict=True) if value != 1] == []
    assert [pair for pair, value in zip(unequal, earned("math", unequal), strict=True) if value] == []
    refused = [(reference, answer) for _, reference, answer, value in cases() if not value]
    paid = [pair for pair, value in zip(refused, earned("math", refused), strict=True) if value]
    assert sorted(paid) == []


@pytest.mark.parametrize(("kind", "way", "rows"), OPTIONS)
def test_what_a_reference_names_is_decided_once_for_all_rows(kind: str, way: str, rows: Any) -> None:
    """With the setting chosen from the dataset, right answers earn 1 and wrong ones 0."""
    found = [{"choices": choices, "response": reference} for choices, reference, _, _ in rows]
    section = settled(RewardSection.model_validate({"type": "composite", "components": [{"name": "choice"}]}), found)
    assert section.components[0].params == {"reference": way}
    score = compose(section, MARKERS)
    for row, (_, _, right, wrong) in zip(found, rows, strict=True):
        for value, answers in ((1, right), (0, wrong)):
            for answer in answers.split(" · "):
                total = score(f"{MARKERS.solution_start}{answer}{MARKERS.solution_end}", "", row)
                assert total.total == value, (row, answer, total)


def test_explicit_settings_win_and_ambiguity_is_reported() -> None:
    """An explicit setting overrides the rows; an ambiguous dataset is reported."""
    rows = [{"choices": ["red", "blue", "green"], "response": "1"}] * 3
    reward = {"type": "composite", "components": [{"name": "choice", "params": {"reference": "from_1"}}]}
    section = RewardSection.model_validate(reward)
    assert settled(section, rows) is section
    assert decided(section, rows) == []
    (words,) = decided(RewardSection(preset_name="multiple_choice"), rows)
    assert words.startswith("References name the choice by its position, counted from 0")
    assert "also fit: by its position, counted from 1" in words
    assert compose(section, MARKERS)("A", "", rows[0]).total == 1


def test_a_preset_that_its_dataset_decides_keeps_its_parts() -> None:
    """Weights, keys and maximum are those of the preset."""
    preset = RewardSection(preset_name="multiple_choice")
    section = settled(preset, [{"choices": ["1", "2"], "response": "2"}])
    assert [part.key for part in section.components] == [part.key for part in resolve(preset)]
    assert maximum(section) == maximum(preset)


def code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def listed(answers: str) -> str:
    return " ".join(map(code, answers.split(" · "))) if answers else ""


def number_lines() -> Iterator[str]:
    yield from ("| kind | reference | score 0 | score 1 |", "|---|---|---|---|")
    for kind, of in NUMBERS.items():
        for reference, (wrong, right) in of.items():
            yield f"| {kind} | `{reference}` | {listed(wrong)} | {listed(right)} |"
    yield from (
        "",
        "`math` computes formulas if that is quick:",
        "",
        "| reference | answer | math |",
        "|---|---|---|",
    )
    for value, pairs in ((1, WORKED_OUT), (0, NOT_EQUAL)):
        yield from (f"| {code(reference)} | {code(answer)} | {value} |" for reference, answer in sorted(pairs))


def choice_lines() -> Iterator[str]:
    yield from (
        "| the dataset | `reference` | options | reference | score 1 | score 0 |",
        "|---|---|---|---|---|---|",
    )
    for kind, way, rows in OPTIONS:
        for choices, reference, right, wrong in rows:
            shown = choices if isinstance(choices, str) else json.dumps(choices)
            yield f"| {kind} | `{way}` | {code(shown)} | `{reference}` | {listed(right)} | {listed(wrong)} |"


def page() -> str:
    return "\n".join(
        (
            "# Answers that look right",
            "",
            "Generated by `UPDATE_DOCS=1 pytest tests/unit/core/rewards/test_cases.py`, which also checks every cell against the rewards.",
            "",
            "## Numbers: `numeric`",
            "",
            "With default settings: percent signs are ignored, and the decimal separator is a point. A plain number with its unit is read. An answer that negates its number, hedges it, or turns it into something else is not.",
            "",
            *number_lines(),
            "",
            "## Choices: `choice`",
            "",
            "Whether a digit or letter is a position or an option's text is decided once for the dataset, by the reading that fits most references. The decision is shown on the preparation page, in the reward tester, in the run's notes, and in its `prepared/info.json`. The setting `reference` overrides it.",
            "",
            *choice_lines(),
            "",
        )
    )


def test_the_page_says_what_the_cases_are() -> None:
    """docs/rewards-cases.md has the cases of this file, which the other tests check."""
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()
