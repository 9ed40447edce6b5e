"""Rewards for mathematics: numbers are compared exactly, expressions symbolically."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from core.reward import Item, Markers, Score
from core.rewards.answers import final_answers
from core.rewards.bounds import balanced, too_large
from core.rewards.boxed_code import run_reward
from core.rewards.info import Param, RewardInfo, one_of
from core.rewards.numbers import (
    DENIAL,
    PLAIN,
    Decimals,
    Percent,
    Style,
    clean,
    find_numbers,
    open_equation,
    plain_signs,
    show,
    single_number,
)
from core.rewards.numbers import last_number as last_number_of
from core.rewards.numeric import NUMBER_STYLE
from core.rewards.sandbox import Limits

LONGEST = 400
"""Longest expression that is compared, in characters; real answers are shorter, and comparing takes time."""
_SYMBOLIC = """
import math_verify
def reward(completion, prompt, row):
    gold = math_verify.parse("$" + prompt + "$", parsing_timeout=None)
    found = math_verify.parse("$" + completion + "$", parsing_timeout=None)
    if not gold:
        return 0.0, "reference"
    if not found:
        return 0.0, "answer"
    return float(math_verify.verify(gold, found, timeout_seconds=None, float_rounding=6)), "compared"
"""
_PLACES = "Looks between the answer tags, then in \\boxed{}, then after ####, then at the last number."


def math(
    items: Sequence[Item],
    *,
    markers: Markers,
    tolerance: float = 0,
    last_number: bool = True,
    percent: Percent = "ignore",
    decimal: Decimals = "point",
) -> list[Score]:
    r"""1 if the answer equals the reference as a number or an expression, else 0.

    The answer is looked for between the solution markers, then in ``\boxed{}``, then after ``####``, then
    (with ``last_number``) as the last number of the text; the first of these that exists counts, and an
    opening solution marker rules out the others. Numbers are compared exactly or within the tolerance;
    anything else by math-verify, in the sandbox with a time limit.

    Args:
        tolerance: Largest difference between two numbers that still counts as equal.
        last_number: Whether a text with none of the three is judged by its last number.
        percent, decimal: As in :func:`core.rewards.numeric.numeric`. With a decimal ``comma`` the elements of a
            pair or set are separated by semicolons: (1,5; 2).

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"response": r"\frac{x+1}{2}"}
    >>> math([Item(r"<s>0.5x + 1/2</s>", "", row), Item(r"\boxed{x/2}", "", row), Item("x x x", "", row)], markers=m)
    ... # doctest: +NORMALIZE_WHITESPACE
    [Score(value=1.0, why='The answer equals the reference \\frac{x+1}{2}.'),
     Score(value=0.0, why='The answer x/2 does not equal the reference \\frac{x+1}{2}.'),
     Score(value=0.0, why='No final answer was found.')]
    """
    scores: list[Score | None] = []
    open_items: list[Item] = []
    style = Style(percent, decimal)
    for item in items:
        answers = _answers(item.completion, markers, last_number, style)
        reference = _reference(str(item.row.get("response", "")), markers)
        score = _by_number(answers, reference, tolerance, style)
        if score is None:
            answer, wanted = _tidy(answers[-1], style), _tidy(reference, style)
            score = _unread(answer, wanted)
            open_items += [] if score else [Item(answer, wanted, {})]
        scores.append(score)
    compared = iter(_compare(open_items))
    return [score or next(compared) for score in scores]


def _answers(text: str, markers: Markers, last_number: bool, style: Style) -> list[str]:
    found = final_answers(text, "auto", markers)
    if not found and last_number and not markers.opened(text):
        value = last_number_of(text, style)
        found = [] if value is None else [_written(value, style)]
    return found


def _written(value: Fraction, style: Style) -> str:
    return show(value).replace(".", ",") if style.decimal == "comma" else show(value)


def _reference(text: str, markers: Markers) -> str:
    found = final_answers(text, "auto", markers)
    return (found or [text])[-1].strip()


def _by_number(answers: list[str], reference: str, tolerance: float, style: Style) -> Score | None:
    """The score if numbers decide; None if algebra is needed."""
    if not reference:
        return Score(0.0, "The reference answer is empty, so there is nothing to compare with.")
    if not answers:
        return Score(0.0, "No final answer was found.")
    numbers = {single_number(answer, style) for answer in answers}
    if len({"".join(answer.split()) for answer in answers}) > 1 and (len(numbers) > 1 or None in numbers):
        return Score(0.0, f"{len(answers)} different answers were given.")
    answer, wanted = answers[-1], single_number(reference, style)
    if max(len(answer), len(reference)) > LONGEST:
        return Score(0.0, "The answer is too long to be one expression.")
    if wanted is None or _algebra(reference):
        return None
    value, variable = single_number(answer, style), _VARIABLE.search(answer)
    if value is None or variable:
        open_ = (variable or _algebra(answer)) and len(find_numbers(answer, style)) <= 4
        return None if open_ else Score(0.0, "The answer is not a single number.")
    if abs(value - wanted) <= Fraction(str(tolerance)):
        return Score(1.0, f"{show(value)} matches the reference answer.")
    return Score(0.0, f"The answer is {show(value)}; the reference is {show(wanted)}.")


_BASE = re.compile(r"\d\s*_\s*\{?\d")


def _unread(answer: str, reference: str) -> Score | None:
    """Why the two are not compared by algebra; None if they are."""
    if DENIAL.search(answer) and not DENIAL.search(reference):
        return Score(0.0, f"The answer “{answer:.60}” negates its own value.")
    if not balanced(answer) or re.search(r"[-+*/^_=]$", answer):
        return Score(0.0, f"The answer “{answer:.60}” is incomplete.")
    if (open_equation(answer) or _BASE.search(answer)) and not (_BASE.search(reference) or "=" in reference):
        return Score(0.0, f"The answer “{answer:.60}” is not computed.")
    if too_large(reference):
        return Score(0.0, "The reference answer is too large to compute, so there is nothing to compare with.")
    if too_large(answer):
        return Score(0.0, f"The answer “{answer:.60}” is too large to compute.")
    return None


# A letter is a variable, not a unit: 5x is not 5, but 5 m is.
_LETTER = "[abcefijknopqrtuvwxyz]"
_VARIABLE = re.compile(
    rf"(?<=\d){_LETTER}\b|(?<![\w\\]){_LETTER}\s*[-+*^]|[-+*^]\s*{_LETTER}\b|\b(?:sin|cos|tan|log|ln|sqrt|exp|pi)\b"
)


def _algebra(text: str) -> bool:
    """Whether there is more than a formatted number: a root, a power, a variable, a set, an interval."""
    return bool(
        re.search(
            r"\\(?!boxed|text|mathrm|mathbf|frac|dfrac|tfrac|[$%!,;: ])\w+|[\^_{}()\[\]*+|!√]|(?<=\d)[a-z]\b|\d\s*/\s*[a-z(]|\d\s*-\s*\d",
            clean(text),
        )
    )


def _tidy(text: str, style: Style = PLAIN) -> str:
    text = re.sub(r"(?<=[\w)])\*\*(?=[\w(-])", "^", plain_signs(text)).strip().strip("$").strip().rstrip(".").strip()
    text = re.sub(r"\^(-?\d{2,})", r"^{\1}", text)  # LaTeX would only superscript the first digit
    if style.decimal == "comma":
        text = re.sub(r"\d{1,3}(?:\.\d{3})+(?![\d.])", lambda match: match[0].replace(".", ""), text)
        text = re.sub(r"(?<=\d)(?:,|\{,\})(?=\d)", ".", text).replace(";", ",")
    return text


def _compare(items: list[Item]) -> list[Score]:
    if not items:
        return []
    limits = Limits(cpu=20, wall=4, memory=1 << 30)
    results = run_reward(_SYMBOLIC, items, limits=limits, preload=("math_verify",))
    return [_explained(item, score) for item, score in zip(items, results, strict=True)]


def _explained(item: Item, score: Score) -> Score:
    if score.why == "reference":
        return Score(
            0.0, "The reference answer cannot be read as a math expression, so there is nothing to compare with."
        )
    if score.why == "answer":
        return Score(0.0, f"The answer “{item.completion:.60}” cannot be read as a math expression.")
    if score.why != "compared":
        return score
    if score.value:
        return Score(1.0, f"The answer equals the reference {item.prompt:.60}.")
    return Score(0.0, f"The answer {item.completion:.60} does not equal the reference {item.prompt:.60}.")


INFOS = (
    RewardInfo(
        "math",
        "Correct expression",
        f"Compares numbers exactly and expressions by algebra (math-verify): x/2 + 1/2 = (x+1)/2. {_PLACES}",
        True,
        ("response",),
        (
            Param(
                "tolerance",
                "number",
                0,
                "Tolerance",
                "Largest difference between two numbers that still counts as correct.",
                minimum=0,
                maximum=1e12,
            ),
            Param(
                "last_number",
                "boolean",
                True,
                "Fall back to the last number",
                "Use the last number of an answer that has no tags, box, or ####.",
            ),
            *NUMBER_STYLE,
        ),
        one_of(math),
        batch=math,
        family="Math and science",
    ),
)
