"""Comparison of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from core.reward import Markers, Score
from core.rewards.answers import Where, final_answers
from core.rewards.info import Param
from core.rewards.numbers import PLAIN, Decimals, Percent, Style, last_number, show, single_number

NUMBER_STYLE = (
    Param(
        "percent", "choice", "ignore", "Percent sign", "Applies to answers and reference answers.",
        (("ignore", "Ignored: 50% is 50"), ("fraction", "Divides by 100: 50% is 0.5")),
    ),
    Param(
        "decimal", "choice", "point", "Decimal separator", "As written in answers and reference answers.",
        (
            ("point", "Point: 1,234.5 is one thousand two hundred thirty-four and a half; 3,5 is not read"),
            ("comma", "Comma: 3,5 is three and a half; 1.234 is one thousand two hundred thirty-four"),
        ),
    ),
)  # fmt: skip


def numeric(
    completion: str,
    prompt: str,
    row: Mapping[str, Any],
    *,
    markers: Markers,
    where: Where = "auto",
    tolerance: float = 0,
    percent: Percent = "ignore",
    decimal: Decimals = "point",
) -> Score:
    """1 if the answer is the reference's number, else 0. Nothing in between.

    Values are compared exactly: 1,000 = 1000 = 1000.0, 3/4 = 0.75, $5 = 5. An answer that names several different
    numbers earns nothing, nor does one that changes the meaning of its number: 'not 5', 'log(5)', '5!', '|-5|',
    'about 5'. Formulas are for the reward 'math'.

    Args:
        where: ``auto`` (solution markers, else a box, else after ####), only one of the three, or
            ``anywhere``: like ``auto``, else the last number of the text.
        tolerance: Largest difference that still counts as equal.
        percent: Meaning of a percent sign in answers and references: nothing (50% = 50), or a hundredth (50% = 0.5).
        decimal: The decimal separator: a ``point`` (1,234 = 1234; '3,5' is not read), or a ``comma``
            (3,5 = 3.5; 1.234 = 1234).

    >>> m = Markers("<w>", "</w>", "<SOLUTION>", "</SOLUTION>")
    >>> row = {"instruction": "What is 48 + 24?", "response": "48 + 24 = 72\\n#### 72"}
    >>> numeric("<SOLUTION>72 clips</SOLUTION>", "", row, markers=m)
    Score(value=1.0, why='72 matches the reference answer.')
    >>> numeric("<SOLUTION>70</SOLUTION>", "", row, markers=m)
    Score(value=0.0, why='The answer is 70; the reference is 72.')
    >>> numeric("seventy 72 ninety", "", row, markers=m)
    Score(value=0.0, why='No final answer was found: there is nothing between <SOLUTION> and </SOLUTION>.')
    >>> half = {"response": "0.5"}
    >>> [numeric("<SOLUTION>50 %</SOLUTION>", "", half, markers=m, percent=way).value for way in ("ignore", "fraction")]
    [0.0, 1.0]
    >>> numeric("<SOLUTION>1.234,5</SOLUTION>", "", {"response": "1234,5"}, markers=m, decimal="comma").value
    1.0
    >>> numeric("<SOLUTION>70, 71 or 72</SOLUTION>", "", row, markers=m)
    Score(value=0.0, why='The answer is not a single number.')
    """
    style = Style(percent, decimal)
    reference = read_reference(str(row.get("response", "")), where, markers, style)
    if reference is None:
        return Score(0.0, "The reference answer is not a number, so there is nothing to compare with.")
    answers = final_answers(completion, where, markers)
    values: set[Fraction | None]
    if not answers and where == "anywhere" and not markers.opened(completion):
        values = {last_number(completion, style)}
    else:
        values = {single_number(answer, style) for answer in answers}
    if not values:
        return Score(0.0, f"No final answer was found: {_missing(where, markers)}.")
    value = values.pop()
    if values or value is None:
        return Score(0.0, "The answer is not a single number.")
    if abs(value - reference) <= Fraction(str(tolerance)):
        return Score(1.0, f"{show(value)} matches the reference answer.")
    return Score(0.0, f"The answer is {show(value)}; the reference is {show(reference)}.")


def read_reference(text: str, where: Where, markers: Markers, style: Style = PLAIN) -> Fraction | None:
    """The number in a reference answer: after ####, in a box, between markers, or the whole text.

    With ``where`` set to ``anywhere``, the last number of a text with several.
    """
    answers = final_answers(text, "auto", markers) or [text]
    value = single_number(answers[-1], style)
    if value is None and where == "anywhere":
        return last_number(text, style)
    return value


def _missing(where: Where, markers: Markers) -> str:
    return {
        "boxed": r"there is no \boxed{…}",
        "hashes": "there is no line with ####",
        "anywhere": "there is no number in the text, or the answer tag is not closed",
    }.get(where, f"there is nothing between {markers.solution_start} and {markers.solution_end}")
