"""Mathematics and science: expressions, choices, quantities with units."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cache
from typing import Any, Literal

from core.reward import Item, Markers, Score
from core.rewards.answers import final_answers
from core.rewards.boxed_code import run_reward
from core.rewards.info import Param, RewardInfo, one_of
from core.rewards.numbers import PLAIN, Decimals, Percent, Style, clean, find_numbers, show, single_number
from core.rewards.numeric import NUMBER_STYLE
from core.rewards.sandbox import Limits

LONGEST = 400
"""Characters of an expression that is compared; no answer is longer, and comparing takes time."""
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
_PLACES = "Looked for between the solution markers, then in a box, then after ####, then as the last number."


def math(
    items: Sequence[Item],
    *,
    markers: Markers,
    tolerance: float = 0,
    last_number: bool = True,
    percent: Percent = "ignore",
    decimal: Decimals = "point",
) -> list[Score]:
    r"""1 where the answer equals the reference as a number or as an expression, else 0.

    The answer is looked for between the solution markers, then in ``\boxed{}``, then after ``####``, then
    (with ``last_number``) as the last number of the text; the first place that is there counts, and an
    opened solution marker rules the later ones out. Numbers are compared exactly or within the tolerance;
    anything else by math-verify, in the sandbox, with a limit on its time.

    Args:
        tolerance: Largest difference between two numbers that still counts as equal.
        last_number: Whether a text with none of the three places is judged by its last number.
        percent, decimal: As in :func:`core.rewards.numeric.numeric`. With a decimal ``comma`` the members of a
            pair or a set are parted by semicolons: (1,5; 2).

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"response": r"\frac{x+1}{2}"}
    >>> math([Item(r"<s>0.5x + 1/2</s>", "", row), Item(r"\boxed{x/2}", "", row), Item("x x x", "", row)], markers=m)
    ... # doctest: +NORMALIZE_WHITESPACE
    [Score(value=1.0, why='The answer is equal to the reference \\frac{x+1}{2}.'),
     Score(value=0.0, why='The answer x/2 is not equal to the reference \\frac{x+1}{2}.'),
     Score(value=0.0, why='No final answer was found.')]
    """
    scores: list[Score | None] = []
    open_items: list[Item] = []
    style = Style(percent, decimal)
    for item in items:
        answers = _answers(item.completion, markers, last_number, style)
        reference = _reference(str(item.row.get("response", "")), markers)
        score = _by_number(answers, reference, tolerance, style)
        scores.append(score)
        if score is None:
            open_items.append(Item(_tidy(answers[-1], style), _tidy(reference, style), {}))
    compared = iter(_compare(open_items))
    return [score or next(compared) for score in scores]


def _answers(text: str, markers: Markers, last_number: bool, style: Style) -> list[str]:
    found = final_answers(text, "auto", markers)
    if not found and last_number and markers.solution_start not in text:
        found = [_written(value, style) for value in find_numbers(text, style)[-1:]]
    return found


def _written(value: Fraction, style: Style) -> str:
    return show(value).replace(".", ",") if style.decimal == "comma" else show(value)


def _reference(text: str, markers: Markers) -> str:
    found = final_answers(text, "auto", markers)
    return (found or [text])[-1].strip()


def _by_number(answers: list[str], reference: str, tolerance: float, style: Style) -> Score | None:
    """The verdict where numbers decide; None where it takes algebra."""
    if not reference:
        return Score(0.0, "The reference answer is empty, so nothing can be compared with it.")
    if not answers:
        return Score(0.0, "No final answer was found.")
    if (
        len({answer.strip() for answer in answers}) > 1
        and len({single_number(answer, style) for answer in answers}) > 1
    ):
        return Score(0.0, f"{len(answers)} different answers were given.")
    answer, wanted = answers[-1], single_number(reference, style)
    if max(len(answer), len(reference)) > LONGEST:
        return Score(0.0, "The answer is too long to be one expression.")
    if wanted is None or _algebra(reference):
        return None
    value, variable = single_number(answer, style), _VARIABLE.search(answer)
    if value is None or variable:
        open_ = (variable or _algebra(answer)) and len(find_numbers(answer, style)) <= 4
        return None if open_ else Score(0.0, "The answer does not come down to one number.")
    if abs(value - wanted) <= Fraction(str(tolerance)):
        return Score(1.0, f"{show(value)} is the reference answer.")
    return Score(0.0, f"The answer is {show(value)}; the reference is {show(wanted)}.")


# A letter is a variable and no unit: 5x is not 5, and 5 m is.
_LETTER = "[abcefijknopqrtuvwxyz]"
_VARIABLE = re.compile(
    rf"(?<=\d){_LETTER}\b|(?<![\w\\]){_LETTER}\s*[-+*^]|[-+*^]\s*{_LETTER}\b|\b(?:sin|cos|tan|log|ln|sqrt|exp|pi)\b"
)


def _algebra(text: str) -> bool:
    """Whether there is more than one number and its dress: a root, a power, a variable, a set, an interval."""
    return bool(
        re.search(
            r"\\(?!boxed|text|mathrm|mathbf|frac|dfrac|tfrac|[$%!,;: ])\w+|[\^_{}()\[\]*+]|(?<=\d)[a-z]\b|\d\s*/\s*[a-z(]|\d\s*-\s*\d",
            clean(text),
        )
    )


def _tidy(text: str, style: Style = PLAIN) -> str:
    text = re.sub(r"(?<=[\w)])\*\*(?=[\w(-])", "^", text).strip().strip("$").strip().rstrip(".").strip()
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
        return Score(0.0, "The reference answer cannot be read as mathematics, so nothing can be compared with it.")
    if score.why == "answer":
        return Score(0.0, f"The answer “{item.completion:.60}” cannot be read as mathematics.")
    if score.why != "compared":
        return score
    if score.value:
        return Score(1.0, f"The answer is equal to the reference {item.prompt:.60}.")
    return Score(0.0, f"The answer {item.completion:.60} is not equal to the reference {item.prompt:.60}.")


_LETTERS = "ABCDEFGHIJ"
_RULED_OUT = re.compile(r"(?:\bnot|n['’]t(?: be)?)\s+(?:choice\s|option\s)?[(\[*]*([A-J])\b", re.IGNORECASE)
_DRESSED = re.compile(r"(?<!\w)(?:[(\[*]+([A-J])[)\]*:.]|([A-J])[).:])")
_BARE = re.compile(r"\b([A-J])\b")
_SAID = re.compile(r"(?:answer|choice|option)\s*(?:is|:)?\s*[(\[*]*([A-J])\b", re.IGNORECASE)


def choice(completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers) -> Score:
    """1 where the chosen letter is the reference's, else 0. Two different letters earn nothing.

    The reference is a letter, a label of the row's ``choices``, a position in them (counted from 0), or the text
    of one. The answer is looked for between the solution markers, in a box, then as 'answer is (B)', then as
    a text of one letter; or as the text of the choice itself.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"response": "B", "choices": ["Lyon", "Paris", "Nice"]}
    >>> choice("The answer is (B).", "", row, markers=m)
    Score(value=1.0, why='B is the right choice.')
    >>> choice("<s>Nice</s>", "", row, markers=m)
    Score(value=0.0, why='The answer chose C; the right choice is B.')
    >>> choice("A B C D", "", row, markers=m)
    Score(value=0.0, why='No single choice was found.')
    """
    options, labels = _options(row)
    reference = str(row.get("response", "")).strip()
    wanted = _letter(reference, [], labels) or _position(reference, options) or _letter(reference, options, labels)
    if wanted is None:
        return Score(0.0, "The reference answer is not one of the choices, so nothing can be compared with it.")
    stated = final_answers(completion, "auto", markers)
    texts = stated or ([] if markers.solution_start in completion else [completion])
    chosen = {
        _letter(text.strip(), options, labels) or _position(text.strip(), options) or _read_choice(text)
        for text in texts
    }
    if len(chosen) != 1 or None in chosen:
        return Score(0.0, "No single choice was found.")
    letter = chosen.pop()
    if letter == wanted:
        return Score(1.0, f"{letter} is the right choice.")
    return Score(0.0, f"The answer chose {letter}; the right choice is {wanted}.")


def _options(row: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The texts of the choices, and what each is called where the row says so."""
    found = row.get("choices") or row.get("options") or ()
    labels: Any = ()
    if isinstance(found, Mapping):  # the Hub's ARC: {"text": […], "label": […]}
        labels, found = found.get("label") or (), found.get("text") or list(found.values())
    return _folded(found), _folded(labels)


def _folded(texts: Any) -> list[str]:
    return [str(text).strip().casefold() for text in texts] if isinstance(texts, list | tuple) else []


def _letter(text: str, options: Sequence[str], labels: Sequence[str]) -> str | None:
    """The letter that stands for a choice: as such, by its label, or by its text."""
    bare = text.strip(" ().[]:*")
    if bare.casefold() in labels[:10]:
        return _LETTERS[labels.index(bare.casefold())]
    if len(bare) == 1 and bare.upper() in _LETTERS:
        return bare.upper()
    said = text.casefold().strip(". ")
    return _LETTERS[options.index(said)] if said in options[:10] else None


def _position(text: str, options: Sequence[str]) -> str | None:
    return _LETTERS[int(text)] if text.isdecimal() and len(text) < 3 and int(text) < min(len(options), 10) else None


def _read_choice(text: str) -> str | None:
    ruled_out = {letter.upper() for letter in _RULED_OUT.findall(text)}
    said = {letter.upper() for letter in _SAID.findall(text)}
    said = said or {first or second for first, second in _DRESSED.findall(text)}
    if not said and _BARE.search(text[-3:]):
        said = set(_BARE.findall(text))
    said -= ruled_out
    return said.pop() if len(said) == 1 else None


_QUANTITY = re.compile(
    r"(?P<number>[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+))\s*(?:(?:×|x|\*|\\times)\s*10\s*\^?\s*\{?(?P<power>[-+−]?\d{1,3})\}?|[eE](?P<exp>[-+]?\d{1,3}))?"
    r"\s*(?P<unit>[A-Za-zµμΩ°%][A-Za-z0-9µμΩ°%/*·^ ²³⁻¹().-]{0,40})?"
)
_UNIT = re.compile(r"[A-Za-zµμΩ°%/*·^ ²³⁻¹0-9().-]{0,40}")


def science(
    completion: str,
    prompt: str,
    row: Mapping[str, Any],
    *,
    markers: Markers,
    tolerance: float = 0.01,
    figures: Literal["ignore", "half", "need"] = "half",
) -> Score:
    """The reference quantity in any unit that measures the same: 3.6 km/h is 1 m/s.

    1 where value and unit agree; 0.5 (``figures='half'``) or 0 (``'need'``) where the number of significant
    figures differs from the reference's; 0 for a wrong value, a wrong or missing unit.

    Args:
        tolerance: Largest relative difference of the values.
        figures: What a wrong number of significant figures costs.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"response": "9.81 m/s^2"}
    >>> science("<s>981 cm/s^2</s>", "", row, markers=m)
    Score(value=1.0, why='The quantity is the reference, 9.81 m/s^2.')
    >>> science("<s>9.81 m/s</s>", "", row, markers=m)
    Score(value=0.0, why='m/s does not measure the same as m/s^2.')
    >>> science("<s>fast</s>", "", row, markers=m)
    Score(value=0.0, why='No quantity was found in the answer.')
    """
    reference = str(row.get("response", ""))
    wanted = _quantity((final_answers(reference, "auto", markers) or [reference])[-1])
    if wanted is None:
        return Score(0.0, "The reference answer is not a quantity, so nothing can be compared with it.")
    stated = final_answers(completion, "auto", markers)
    if not stated and markers.solution_start not in completion:
        stated = [completion] if len(completion) < 60 else []
    if len({text.strip() for text in stated}) > 1:
        return Score(0.0, f"{len(stated)} different answers were given.")
    found = _quantity(stated[-1]) if stated else None
    if found is None:
        return Score(0.0, "No quantity was found in the answer.")
    problem = _differs(found, wanted, tolerance)
    if problem:
        return Score(0.0, problem)
    if figures != "ignore" and found[2] != wanted[2]:
        return Score(
            0.5 if figures == "half" else 0.0,
            f"The value is right, with {found[2]} significant figures in place of {wanted[2]}.",
        )
    return Score(1.0, f"The quantity is the reference, {reference.strip()[:60]}.")


_LATEX = tuple(
    (re.compile(dressed), plain)
    for dressed, plain in (
        ("\N{MINUS SIGN}", "-"),
        (r"\\(?:text|textrm|mathrm|mathbf|rm|mbox)\s*\{([^{}]*)\}", r"\1"),
        (r"\\times", "×"),
        (r"\\cdot|⋅", "·"),
        (r"\^?\s*\{?\\(?:circ|degree)\}?\s*", "°"),
        (r"\\Omega|\N{OHM SIGN}", "Ω"),
        (r"\\mu\s*", "µ"),
        (r"\\[ ,;:!]|~", " "),
        (r"\^\{([-+]?\d)\}", r"^\1"),
        (r"[$\\]", ""),
    )
)


def _quantity(text: str) -> tuple[Decimal, str, int] | None:
    """Value, unit, significant figures; None where the text holds no number."""
    for dressed, plain in _LATEX:
        text = dressed.sub(plain, text)
    match = _QUANTITY.search(text)
    if match is None:
        return None
    digits = match["number"].replace(",", "")
    try:
        value = Decimal(digits) * Decimal(10) ** int((match["power"] or match["exp"] or "0").replace("−", "-"))
    except InvalidOperation:
        return None
    return value, (match["unit"] or "").strip().rstrip("."), _figures(digits)


def _figures(digits: str) -> int:
    """Significant figures as written; zeros at the end of a whole number do not count.

    >>> _figures("0.0120"), _figures("1200"), _figures("12.0")
    (3, 2, 3)
    """
    bare = digits.lstrip("+-")
    bare = bare.replace(".", "").lstrip("0") if "." in bare else bare.strip("0")
    return max(1, len(bare))


def _differs(found: tuple[Decimal, str, int], wanted: tuple[Decimal, str, int], tolerance: float) -> str | None:
    try:
        factor = _factor(found[1], wanted[1])
    except Exception:  # noqa: BLE001 - pint has an exception of its own for each way a unit can be wrong
        return f"“{found[1]:.40}” is not a unit that can be read."
    if factor is None:
        return f"{found[1] or 'A number without a unit'} does not measure the same as {wanted[1] or 'a number without a unit'}."
    value, goal = float(found[0]) * factor[0] + factor[1], float(wanted[0])
    if abs(value - goal) > tolerance * max(abs(goal), 1e-300):
        return f"The answer is {value:.6g} {wanted[1]}".rstrip() + f"; the reference is {goal:.6g}."
    return None


@cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(cache_folder=None)


@cache
def _factor(unit: str, into: str) -> tuple[float, float] | None:
    """Scale and offset from one unit into another, None where they measure different things."""
    for text in (unit, into):
        if not _UNIT.fullmatch(text) or re.search(r"\d{3}|\^\s*-?\d\d", text):
            raise ValueError("not a unit")
    registry = _registry()
    source, target = (registry.parse_units(_plain(text)) for text in (unit, into))
    if source.dimensionality != target.dimensionality:
        return None
    zero, one = (registry.Quantity(number, source).to(target).magnitude for number in (0.0, 1.0))
    return one - zero, zero


def _plain(unit: str) -> str:
    unit = re.sub(r"⁻([¹²³])", lambda m: "**-" + "123"["¹²³".index(m[1])], unit)
    for sign, power in (("¹", "**1"), ("²", "**2"), ("³", "**3")):
        unit = unit.replace(sign, power)
    unit = re.sub(r"\bNm\b", "N*m", unit)  # a newton metre; to pint a nanometre of something
    return unit.replace("^", "**").replace("·", "*").replace("%", "percent")


INFOS = (
    RewardInfo(
        "math",
        "Right mathematics",
        f"Compares numbers exactly and expressions by algebra (math-verify): x/2 + 1/2 = (x+1)/2. {_PLACES}",
        True,
        ("response",),
        (
            Param(
                "tolerance",
                "number",
                0,
                "Tolerance",
                "Largest difference between two numbers that still counts as right.",
                minimum=0,
                maximum=1e12,
            ),
            Param(
                "last_number",
                "boolean",
                True,
                "Fall back on the last number",
                "Judge an answer without markers, box or #### by its last number.",
            ),
            *NUMBER_STYLE,
        ),
        one_of(math),
        batch=math,
        family="Mathematics and science",
    ),
    RewardInfo(
        "choice",
        "Right choice",
        "Compares the chosen letter of a multiple-choice question with the reference's.",
        True,
        ("response",),
        (),
        choice,
        family="Mathematics and science",
    ),
    RewardInfo(
        "science",
        "Right quantity (value, unit, figures)",
        "Compares a quantity with its unit: 1 m/s = 3.6 km/h. The number of significant figures can count.",
        True,
        ("response",),
        (
            Param(
                "tolerance",
                "number",
                0.01,
                "Tolerance",
                "Largest relative difference: 0.01 is one percent.",
                minimum=0,
                maximum=1,
            ),
            Param(
                "figures",
                "choice",
                "half",
                "Significant figures",
                "What a wrong number of them costs.",
                (
                    ("ignore", "Nothing"),
                    ("half", "Half of the score"),
                    ("need", "All of the score"),
                ),
            ),
        ),
        science,
        family="Mathematics and science",
    ),
)
