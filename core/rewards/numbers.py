"""Reading numbers from text, exactly.

Values are fractions of integers, so 72, 72.0 and 144/2 are one number and 0.1 + 0.2 is 0.3. A currency
sign and trailing units are taken off: '$1,200 a year' is 1200. What a percent sign and a comma mean is said
by :class:`Style`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

MAX_DIGITS = 60
"""Longer runs of digits are not answers, and would make arithmetic slow."""
MAX_TEXT = 20_000
"""Only the end of a longer text is read."""

Percent = Literal["ignore", "fraction"]
Decimals = Literal["point", "comma"]


@dataclass(frozen=True)
class Style:
    """How numbers are written.

    Attributes:
        percent: ``ignore``: '50%' is 50. ``fraction``: '50%' and '50 percent' are 0.5.
        decimal: ``point``: '1,234' is 1234, '1,234.5' is 1234.5, and '3,5' is not read. ``comma``: '3,5' is 3.5,
            '1.234' is 1234 and '1.234,5' is 1234.5; a point that does not group by three ('2.75') stays a decimal point.
    """

    percent: Percent = "ignore"
    decimal: Decimals = "point"


PLAIN = Style()

_CLEANING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("\N{MINUS SIGN}", "-"),
        ("(?<=\\d)[\u00a0\u2009\u202f_](?=\\d{3}(?!\\d))", ""),  # thousands apart by a thin space, as French has them
        (r"<<[^<>]{0,200}>>", ""),  # GSM8K's calculator notes
        (r"\\[!,;: ]", ""),
        (r"\{,\}", ","),
        (r"\\([$%])", r"\1"),
        (r"(?<=\d)\s*(?=\\[dt]?frac\b)", " "),  # 3\frac{1}{2} is three and a half
        (r"\\[dt]?frac\s*\{\s*([^{}]{1,40}?)\s*\}\s*\{\s*([^{}]{1,40}?)\s*\}", r"\1/\2"),
        (r"\\[dt]?frac\s*(\d)\s*(\d)", r"\1/\2"),
        (r"\\(?:text|mathrm|mathbf)\s*\{([^{}]{0,200})\}", r" \1 "),
        (r"(?<=[\w)])\*\*(?=[\d(])", "^"),  # Python's power; elsewhere ** is Markdown's bold
        (r"\*\*|__|`", ""),
        (r"(?<=[A-Za-z])\s?\^\s?\{?-?\d{1,3}\}?", ""),  # the 2 of m^2 belongs to the unit
    )
)
_POINT = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_COMMA = r"(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?(?![.,]?\d)|\d+\.\d+|,\d+"
_PATTERN = (
    r"(?<![\w./])(?<!\d,)"
    r"(?P<sign>[-+]?)[$€£¥]?(?P<minus>-?)"
    r"(?:(?P<mixed>\d+)\ +(?=\d+\ ?/\ ?\d))?"
    r"(?P<number>NUMBER)"
    r"(?:[eE](?P<power>[-+]?\d{1,2})(?!\w))?"
    r"(?:\ ?/\ ?(?P<under>\d+(?:\.\d+)?))?"
    r"(?!\d|[.,]\d|/\d)"
    r"(?:\ (?P<scale>thousand|million|billion|trillion)\b)?"
    r"(?P<percent>\ ?(?:%|percent\b|per\ cent\b))?"
)
_NUMBER: dict[Decimals, re.Pattern[str]] = {
    "point": re.compile(_PATTERN.replace("NUMBER", _POINT), re.IGNORECASE),
    "comma": re.compile(_PATTERN.replace("NUMBER", _COMMA), re.IGNORECASE),
}
_SCALE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_UNEQUAL = re.compile(r"[<>!]=|[≠≤≥]|\\(?:neq?|leq?|geq?|lt|gt)\b")
_APART = re.compile(r"^\s*[-\N{MINUS SIGN}]\s+(?=[$\d.])")
"""The minus of 'x = - 5'. Without an equals sign it may be the mark of a list."""
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,80}>|<<[^<>]{0,200}>>")
_BOUND = re.compile(r"(?<![-=<>])[<>]\s*[-+$]?\.?\d|\d\s*[<>](?![<>/])")
_SUM = re.compile(r"\d\s*(?:[-+*×·÷^]|\\(?:times|cdot|div)\b)\s*[-+(]?[$€£¥]?\.?\d")
_SYMBOL = re.compile(r"\\(?:sqrt|pi|log|ln|lg|sin|cos|tan|cot|exp|sum|prod|int|lim|binom|infty)(?![A-Za-z])|[√π∑∏∫∞]")
_VULGAR = {ord(sign): f" {top}/{under}" for sign, top, under in (
    ("½", 1, 2), ("⅓", 1, 3), ("⅔", 2, 3), ("¼", 1, 4), ("¾", 3, 4), ("⅕", 1, 5), ("⅖", 2, 5), ("⅗", 3, 5),
    ("⅘", 4, 5), ("⅙", 1, 6), ("⅚", 5, 6), ("⅐", 1, 7), ("⅛", 1, 8), ("⅜", 3, 8), ("⅝", 5, 8), ("⅞", 7, 8), ("⅑", 1, 9),
    ("⅒", 1, 10),
)}  # fmt: skip
_EQUALS = re.compile(r"=(?!=)")


def clean(text: str) -> str:
    """The text without LaTeX and Markdown dress, at most its last ``MAX_TEXT`` characters."""
    text = text[-MAX_TEXT:].translate(_VULGAR)
    for pattern, replacement in _CLEANING:
        text = pattern.sub(replacement, text)
    return text


def find_numbers(text: str, style: Style = PLAIN) -> list[Fraction]:
    """Every number in the text, in order.

    >>> find_numbers("Between -3/4 and 1,200.50, not H2O or 1.2.3")
    [Fraction(-3, 4), Fraction(2401, 2)]
    >>> find_numbers("von 3,5 bis 1.234,5", Style(decimal="comma"))
    [Fraction(7, 2), Fraction(2469, 2)]
    """
    values = (_value(match, style) for match in _NUMBER[style.decimal].finditer(clean(text)))
    return [value for value in values if value is not None]


def single_number(text: str, style: Style = PLAIN) -> Fraction | None:
    """The one number that a short answer states, or None where it states none or several.

    After an equals sign only what follows the last one is read. A sum that was not done, a root and a bound
    state no number: '36 + 36' is neither 36 nor 72 here, and 'x < 3' is not 3.

    >>> single_number("48 + 24 = $72.00 in total")
    Fraction(72, 1)
    >>> [single_number(text) for text in ("70 or 72", "36 + 36", "x < 3", r"\\sqrt{5}")]
    [None, None, None, None]
    >>> single_number("50 %"), single_number("50 %", Style(percent="fraction"))
    (Fraction(50, 1), Fraction(1, 2))
    """
    if _UNEQUAL.search(text) or _BOUND.search(_TAG.sub(" ", text)):
        return None
    before, *rest = _EQUALS.split(text)
    after = _APART.sub("-", rest[-1]) if rest else before
    if not find_numbers(after, style):
        after = text
    values = set(find_numbers(after, style))
    if len(values) != 1 or _SYMBOL.search(after) or _SUM.search(clean(after)):
        return None
    return values.pop()


def show(value: Fraction) -> str:
    """The number as a person writes it: 72, 0.5 or 1/3.

    >>> show(Fraction(72)), show(Fraction(1, 2)), show(Fraction(1, 3))
    ('72', '0.5', '1/3')
    """
    if value.denominator == 1:
        return str(value.numerator)
    decimal = f"{float(value):.6f}".rstrip("0")
    return decimal if Fraction(decimal) == value else str(value)


def _value(match: re.Match[str], style: Style) -> Fraction | None:
    number, under = _digits(match["number"], style), match["under"]
    if max(len(number), len(under or ""), len(match["mixed"] or "")) > MAX_DIGITS:
        return None
    value = Fraction(number) * Fraction(10) ** int(match["power"] or 0)
    if under is not None:
        if not Fraction(under):
            return None
        value /= Fraction(under)
    value += int(match["mixed"] or 0)
    value *= _SCALE.get((match["scale"] or "").lower(), 1)
    if match["percent"] and style.percent == "fraction":
        value /= 100
    return -value if "-" in (match["sign"], match["minus"]) else value


def _digits(number: str, style: Style) -> str:
    """Without grouping, and with a point before the decimals."""
    if style.decimal == "point":
        return number.replace(",", "")
    if "," not in number and not re.fullmatch(r"\d{1,3}(?:\.\d{3})+", number):
        return number
    return number.replace(".", "").replace(",", ".")
