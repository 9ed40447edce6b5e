"""Is the number right?"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from core.reward import Markers, Score
from core.rewards.answers import Where, final_answers
from core.rewards.numbers import find_numbers, show, single_number


def numeric(
    completion: str,
    prompt: str,
    row: Mapping[str, Any],
    *,
    markers: Markers,
    where: Where = "auto",
    tolerance: float = 0,
) -> Score:
    """1 where the answer is the reference's number, else 0. Nothing in between.

    Values are compared exactly: 1,000 = 1000 = 1000.0, 3/4 = 0.75, $5 = 5, 50% = 50. An answer that
    names several different numbers earns nothing, whichever they are.

    Args:
        where: ``auto`` (solution markers, else a box, else after ####), one of the three alone, or
            ``anywhere``: like ``auto``, and the last number of the text where none of the three is there.
        tolerance: Largest difference that still counts as equal.

    >>> m = Markers("<w>", "</w>", "<SOLUTION>", "</SOLUTION>")
    >>> row = {"instruction": "What is 48 + 24?", "response": "48 + 24 = 72\\n#### 72"}
    >>> numeric("<SOLUTION>72 clips</SOLUTION>", "", row, markers=m)
    Score(value=1.0, why='72 is the reference answer.')
    >>> numeric("<SOLUTION>70</SOLUTION>", "", row, markers=m)
    Score(value=0.0, why='The answer is 70; the reference is 72.')
    >>> numeric("seventy 72 ninety", "", row, markers=m)
    Score(value=0.0, why='No final answer was found: nothing stands between <SOLUTION> and </SOLUTION>.')
    >>> numeric("<SOLUTION>70, 71 or 72</SOLUTION>", "", row, markers=m)
    Score(value=0.0, why='The answer does not come down to one number.')
    """
    reference = read_reference(str(row.get("response", "")), where, markers)
    if reference is None:
        return Score(0.0, "The reference answer is not a number, so nothing can be compared with it.")
    answers = final_answers(completion, where, markers)
    if not answers and where == "anywhere" and markers.solution_start not in completion:
        answers = [str(value) for value in find_numbers(completion)[-1:]]
    if not answers:
        return Score(0.0, f"No final answer was found: {_missing(where, markers)}.")
    values = {single_number(answer) for answer in answers}
    value = values.pop()
    if values or value is None:
        return Score(0.0, "The answer does not come down to one number.")
    if abs(value - reference) <= Fraction(str(tolerance)):
        return Score(1.0, f"{show(value)} is the reference answer.")
    return Score(0.0, f"The answer is {show(value)}; the reference is {show(reference)}.")


def read_reference(text: str, where: Where, markers: Markers) -> Fraction | None:
    """The number that a reference answer states: after ####, in a box, between markers, or all of the text.

    With ``where`` set to ``anywhere``, the last number of a text that names several.
    """
    answers = final_answers(text, "auto", markers) or [text]
    value = single_number(answers[-1])
    if value is None and where == "anywhere":
        return next(reversed(find_numbers(text)), None)
    return value


def _missing(where: Where, markers: Markers) -> str:
    return {
        "boxed": r"there is no \boxed{…}",
        "hashes": "there is no line with ####",
        "anywhere": "there is no number in the text, or a solution was opened and not closed",
    }.get(where, f"nothing stands between {markers.solution_start} and {markers.solution_end}")
