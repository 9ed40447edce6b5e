"""Rewards for science: quantities with units and significant figures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Literal

from core.reward import Markers, Score
from core.rewards.answers import final_answers
from core.rewards.info import Param, RewardInfo
from core.rewards.numbers import DENIAL, plain_signs

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
    """The reference quantity in any compatible unit: 3.6 km/h is 1 m/s.

    1 if value and unit agree; 0.5 (``figures='half'``) or 0 (``'need'``) if the number of significant
    figures differs from the reference's; 0 for a wrong value or a wrong or missing unit.

    Args:
        tolerance: Largest relative difference of the values.
        figures: What a wrong number of significant figures costs.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"response": "9.81 m/s^2"}
    >>> science("<s>981 cm/s^2</s>", "", row, markers=m)
    Score(value=1.0, why='The quantity matches the reference, 9.81 m/s^2.')
    >>> science("<s>9.81 m/s</s>", "", row, markers=m)
    Score(value=0.0, why='m/s does not measure the same as m/s^2.')
    >>> science("<s>fast</s>", "", row, markers=m)
    Score(value=0.0, why='The answer contains no quantity.')
    """
    reference = str(row.get("response", ""))
    wanted = _quantity((final_answers(reference, "auto", markers) or [reference])[-1])
    if wanted is None:
        return Score(0.0, "The reference answer is not a quantity, so there is nothing to compare with.")
    stated = final_answers(completion, "auto", markers)
    if not stated and not markers.opened(completion):
        stated = [completion] if len(completion) < 60 else []
    if len({text.strip() for text in stated}) > 1:
        return Score(0.0, f"{len(stated)} different answers were given.")
    found = _quantity(stated[-1]) if stated else None
    if stated and DENIAL.search(stated[-1]):
        return Score(0.0, "The answer negates its own value.")
    if stated and _several(stated[-1]):
        return Score(0.0, "The answer names several quantities.")
    if found is None:
        return Score(0.0, "The answer contains no quantity.")
    problem = _differs(found, wanted, tolerance)
    if problem:
        return Score(0.0, problem)
    if figures != "ignore" and found[2] != wanted[2]:
        return Score(
            0.5 if figures == "half" else 0.0,
            f"The value is correct, but it has {found[2]} significant figures instead of {wanted[2]}.",
        )
    return Score(1.0, f"The quantity matches the reference, {reference.strip()[:60]}.")


_LATEX = tuple(
    (re.compile(dressed), plain)
    for dressed, plain in (
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


_SAID_MINUS = re.compile(r"\b(?:minus|negative)\s+(?=\d)", re.IGNORECASE)


def _plainly(text: str) -> str:
    text = _SAID_MINUS.sub("-", plain_signs(text))
    for dressed, plain in _LATEX:
        text = dressed.sub(plain, text)
    return text


def _several(text: str) -> bool:
    """Whether there is another number after the first quantity; terms before an equals sign do not count."""
    text = _plainly(text).rpartition("=")[2]
    match = _QUANTITY.search(text)
    return match is not None and bool(re.search(r"\d", text[match.end() :]))


def _quantity(text: str) -> tuple[Decimal, str, int] | None:
    """Value, unit, significant figures; None if the text has no number."""
    text = _plainly(text)
    match = _QUANTITY.search(text.rpartition("=")[2]) or _QUANTITY.search(text)
    if match is None:
        return None
    digits = match["number"].replace(",", "")
    try:
        value = Decimal(digits) * Decimal(10) ** int((match["power"] or match["exp"] or "0").replace("−", "-"))
    except InvalidOperation:
        return None
    return value, (match["unit"] or "").strip().rstrip("."), _figures(digits)


def _figures(digits: str) -> int:
    """Significant figures as written; trailing zeros of an integer do not count.

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
        return f"“{found[1]:.40}” is not a known unit."
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
    """Scale and offset from one unit into another, None if they measure different things."""
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
    unit = re.sub(r"\bNm\b", "N*m", unit)  # a newton meter; pint reads it as a nanometer
    return unit.replace("^", "**").replace("·", "*").replace("%", "percent")


INFOS = (
    RewardInfo(
        "science",
        "Correct quantity with unit",
        "Compares values and units: 1 m/s = 3.6 km/h. Can also check significant figures.",
        True,
        ("response",),
        (
            Param(
                "tolerance",
                "number",
                0.01,
                "Tolerance",
                "Largest relative difference: 0.01 is 1%.",
                minimum=0,
                maximum=1,
            ),
            Param(
                "figures",
                "choice",
                "half",
                "Significant figures",
                "What a wrong number of significant figures costs.",
                (
                    ("ignore", "Nothing"),
                    ("half", "Half of the score"),
                    ("need", "All of the score"),
                ),
            ),
        ),
        science,
        family="Math and science",
    ),
)
