"""Reads numbers from text, exactly.

Values are fractions of integers, so 72, 72.0 and 144/2 are equal and 0.1 + 0.2 is 0.3. Currency signs and trailing
units are removed: '$1,200 a year' is 1200. :class:`Style` defines the meaning of percent signs and commas.

:func:`single_number` is an allowlist of what may surround a number: with an unknown sign ('5!', '|-5|', '5²'), the text
is not a plain number. Only words are forbidden one by one ('not 5', 'minus 5'), because most words are units.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

MAX_DIGITS = 60
"""Longer digit runs are not answers and would slow down arithmetic."""
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

_DASHES = "\u02d7\u2010\u2011\u2012\u2013\u2014\u2015\u207b\u208b\u2212\u2796\ufe58\ufe63\uff0d"
"""All characters used as a minus: hyphens, dashes, the minus sign, superscript and full-width forms."""
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "₀₁₂₃₄₅₆₇₈₉₊₋"
_LEVEL = str.maketrans(_RAISED + _LOWERED, "0123456789+-" * 2)
_VULGAR = {ord(sign): f" {top}/{under}" for sign, top, under in (
    ("½", 1, 2), ("⅓", 1, 3), ("⅔", 2, 3), ("¼", 1, 4), ("¾", 3, 4), ("⅕", 1, 5), ("⅖", 2, 5), ("⅗", 3, 5),
    ("⅘", 4, 5), ("⅙", 1, 6), ("⅚", 5, 6), ("⅐", 1, 7), ("⅛", 1, 8), ("⅜", 3, 8), ("⅝", 5, 8), ("⅞", 7, 8), ("⅑", 1, 9),
    ("⅒", 1, 10), ("↉", 0, 3),
)}  # fmt: skip
_SLASHES = str.maketrans("\N{FRACTION SLASH}\N{DIVISION SLASH}", "//")
_HERE = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Placeholder for a number when only its surroundings matter."""
_THOUSANDS = re.compile("(?<=\\d)[\u00a0\u2009\u202f_'’](?=\\d{3}(?!\\d))")
"""Digit groups with a thin space (French) or an apostrophe (Swiss)."""
_SPACED_MINUS = re.compile(rf"(^|[=:])(\s*)[{_DASHES}]\s+(?=[$€£¥]?\.?\d)")
_SAID_MINUS = re.compile(r"(^|[=:]|\bis\b|\bequals\b)(\s*)(?:minus|negative)\s+(?=[$€£¥]?\.?\d)", re.IGNORECASE)

_CLEANING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"<<[^<>]{0,200}>>", ""),  # GSM8K's calculator annotations
        (r"\\[!,;: ]", ""),
        (r"\{,\}", ","),
        (r"\\([$%])", r"\1"),
        (r"\s?\^\s?\{?\\(?:circ|degree)\b\s?\}?|\\degree\b", "°"),
        (r"(?<=\d)\s*(?=\\[dt]?frac\b)", " "),  # 3\frac{1}{2} is three and a half
        (r"\\[dt]?frac\s*\{\s*([^{}]{1,40}?)\s*\}\s*\{\s*([^{}]{1,40}?)\s*\}", r"\1/\2"),
        (r"\\[dt]?frac\s*(\d)\s*(\d)", r"\1/\2"),
        (r"\\(?:text|mathrm|mathbf|textbf|textrm|mbox)\s*\{([^{}]{0,200})\}", r" \1 "),
        (r"(?<=[\w)])\*\*(?=[\d(])", "^"),  # Python's power; elsewhere ** is Markdown's bold
        (r"\*\*|__|`", ""),
        (r"(?<=[A-Za-z])(?<!\b[xyzn])\s?\^\s?\{?-?\d{1,3}\}?", ""),  # the 2 of m^2 belongs to the unit
    )
)
_MONEY = "$¢£¤¥฿\u20a0-\u20c0"
_POINT = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_COMMA = r"(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?(?![.,]?\d)|\d+\.\d+|,\d+"
_PATTERN = (
    r"(?<![\w./])(?<!\d,)"
    rf"(?P<sign>[-+]?)[{_MONEY}]?(?P<minus>-?)"
    r"(?:(?P<mixed>\d+)\ +(?=\d+\ ?/\ ?\d))?"
    r"(?P<number>NUMBER)"
    r"(?:[eE](?P<power>[-+]?\d{1,2})(?!\w))?"
    r"(?:\ ?/\ ?(?P<under>\d+(?:\.\d+)?))?"
    r"(?!\d|[.,]\d|/\d)"
    r"(?:\ (?P<scale>hundred|thousand|million|billion|trillion)\b)?"
    r"(?P<percent>\ ?(?:%|percent\b|per\ cent\b))?"
)
_NUMBER: dict[Decimals, re.Pattern[str]] = {
    "point": re.compile(_PATTERN.replace("NUMBER", _POINT), re.IGNORECASE),
    "comma": re.compile(_PATTERN.replace("NUMBER", _COMMA), re.IGNORECASE),
}
_SCALE = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_EQUALS = re.compile(r"=(?!=)")
_APART = re.compile(r"^\s*-\s+(?=[$\d.])")
"""The minus of 'x = - 5'. Without an equals sign it may be the mark of a list."""
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,80}(?:>|$)|<<[^<>]{0,200}>>")
_ARROW = re.compile(r"(?<![\w)])[-=]{1,4}>|[→⇒⟶]")
_UNEQUAL = re.compile(r"[<>!]=|[≠≤≥]|\\(?:neq?|leq?|geq?|lt|gt)\b")
_DRESS = re.compile(
    r"\\(?:boxed|left|right|displaystyle|quad|qquad|mathrm|[()\[\]{}\\])|(?<!\w)\*(?=\S[^*\n]*\*)|(?<=\S)\*(?!\w)"
)
_BULLET = re.compile(r"^\s*[-*]\s+", re.MULTILINE)
_HYPHEN = re.compile(rf"(?<=[\w{_HERE}])-(?=[^\W\d_]{{2}})")
_WORD = re.compile(r"[^\W\d_](?:\w|(?<=[^\W\d_])['’.]?(?=\w))*")
_HARMLESS = frozenset(f"{_HERE} \t\n\r.,;:!?\"“”„'‘’«»()[]{{}}#%&/°=$¢£¤¥฿" + "".join(map(chr, range(0x20A0, 0x20C1))))
_SET_NAMES = re.compile(r"(?:[,;\s]|\band\b|\bor\b)\s*[^\W\d_]\w*\s*$")
"""'73, y' between two equals signs: the text assigns several values."""
_EQUATION = re.compile(
    r"\d\s*[xyzn]\b|\b[xyzn]\s*[-+*/^]\s*\d|\d\s*[-+*/^]\s*[xyzn]\b|[|√]|\\(?:sqrt|log|ln|sin|cos|tan)|-\s*[xyzn]\b"
)
"""Text before an equals sign after which the number is not the answer: '2x = 10'."""
_BEFORE = (
    "no|non|nicht|kein\\w*|pas|minus|moins|menos|meno|negativ\\w*|négativ\\w*|log|ln|lg|exp|sin|cos|tan|cot|csc|arc\\w+|"
    "sqrt|cbrt|abs|floor|ceil|round|max|min|gcd|lcm|mod|modulo|roots?|square|cube|double|twice|triple|thrice|half|third|"
    "quarter|reciprocal|inverse|opposite|factorial|logarithm|absolute value|multiple|factor|all but|times|divided by|"
    "multiplied by|plus|over|under|above|below|beyond|between|about|around|approximately|approx|roughly|nearly|almost|"
    "circa|ca|etwa|ungefähr|environ|maybe|perhaps|possibly|pi|within"
)
_AFTER = "squared|cubed|factorial|plus|minus|ish|choose|mod|pi|bn|mn|mio|mrd|permille|per mille|to the|(?:st|nd|rd|th)\\s+(?:root|power)"
_ANYWHERE = (
    "undefined|or|oder|ou|at least|at most|up to|"
    "instead of|close to|and (?:up|above|below|over|under)|"
    "(?:more|less|fewer|greater|smaller|larger|higher|lower|bigger|other|rather|longer|shorter)\\s+than"
)
DENIAL = re.compile(r"\b(?:not|never|neither|nor|except|unless|cannot|wrong|incorrect|false)\b|n['’]t\b", re.IGNORECASE)
"""Words that negate what is next to them."""
_UNPLAIN = re.compile(
    "|".join((
        rf"{_HERE}[\s,;:/.-]*(?:(?:to|and|&)\s*)?{_HERE}",  # a list, a point, a ratio
        rf"{_HERE}\(|\)\s?{_HERE}|\)\(",  # a product
        rf"[^\W\d_]\(\s*{_HERE}",  # a function
        rf"[/%!-]\s?{_HERE}(?<![\s\w]! {_HERE})|{_HERE}\s*[!?]|{_HERE}\s*\.\.|{_HERE}\s?/\s?[xyzn]\b",
        rf"(?-i:{_HERE}\s?[xyznijX]\b|{_HERE}(?:[abcefkopqrtuvwKMB])\b)|{_HERE}\s?[α-λν-ω]",  # a variable, thousands
        rf"{_HERE}(?!(?:[kcdmμ]?m|ft|in|yd|mi)[23]\b)[^\W\d_]+\d",  # 0x10
        rf"\b(?:{_BEFORE})[\s.(]{{1,3}}(?:of\s+)?(?:the\s+)?{_HERE}",
        rf"{_HERE}[\s-]*(?:{_AFTER})\b",
        rf"\b(?:{_ANYWHERE})\b|{DENIAL.pattern}",
    )),
    re.IGNORECASE,
)  # fmt: skip
"""Around a number: allowed characters that still make it not a plain number."""


def plain_signs(text: str) -> str:
    """Normalizes minus signs and full-width digits; a superscript digit becomes a power.

    >>> plain_signs("–5² + ½")
    '-5^2 +  1/2'
    """
    text = "".join(letter for letter in text[-MAX_TEXT:] if unicodedata.category(letter) not in {"Cf", "Cs"})
    text = _SPACED_MINUS.sub(r"\1\2-", _THOUSANDS.sub("", text.replace(_HERE, " ")))
    text = re.sub(f"[{_RAISED}]+", lambda match: "^" + match[0].translate(_LEVEL), text)
    text = re.sub(f"[{_LOWERED}]+", lambda match: "_" + match[0].translate(_LEVEL), text)
    text = unicodedata.normalize("NFKC", text.translate(_VULGAR)).translate(_SLASHES)
    return text.translate(dict.fromkeys(map(ord, _DASHES), "-"))


def clean(text: str) -> str:
    """The text without LaTeX and Markdown markup, at most its last ``MAX_TEXT`` characters."""
    text = plain_signs(text)
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
    """The one number that a short answer states, or None if it states none, several, or an expression.

    Only the text after the last equals sign is read. An unevaluated sum, a root, a power, a
    bound, a negation or an estimate is not a number: '36 + 36' is neither 36 nor 72 here, and 'x < 3' is not 3.

    >>> single_number("48 + 24 = $72.00 in total")
    Fraction(72, 1)
    >>> [single_number(text) for text in ("70 or 72", "36 + 36", "x < 3", r"\\sqrt{5}", "not 5", "5!", "x=73, y=2")]
    [None, None, None, None, None, None, None]
    >>> single_number("50 %"), single_number("50 %", Style(percent="fraction"))
    (Fraction(50, 1), Fraction(1, 2))
    """
    return _single_number(text[-MAX_TEXT:], style)


@lru_cache(maxsize=1024)
def _single_number(text: str, style: Style) -> Fraction | None:
    # Cached, because a reference is read again for each answer, and the answers to one question often repeat.
    text = clean(text)
    if _UNEQUAL.search(text):
        return None
    text = _ARROW.sub(":", _TAG.sub(" ", text))
    before, *rest = _EQUALS.split(text)
    after = rest[-1] if rest else before
    if rest and _NUMBER[style.decimal].search(after):
        if open_equation(text) or any(_SET_NAMES.search(part.strip()) for part in rest[:-1]):
            return None
        after = _APART.sub("-", after)
    else:
        after = text
    return _plain(_SAID_MINUS.sub(r"\1\2-", after), style)


def open_equation(text: str) -> bool:
    """Whether it still has to be solved for its variable: '2x = 10' names 10 but means 5.

    >>> open_equation("2x = 10"), open_equation("x = 5"), open_equation("2 + 3 = 5")
    (True, False, False)
    """
    return any(map(_EQUATION.search, _EQUALS.split(text)[:-1]))


def last_number(text: str, style: Style = PLAIN) -> Fraction | None:
    """The last number of a free text; None if there is none or its context changes its meaning.

    >>> last_number("She pays 3 dollars for 5 apples"), last_number("It is not 5."), last_number("4 or 5")
    (Fraction(5, 1), None, None)
    """
    text = clean(text)
    found = list(_NUMBER[style.decimal].finditer(text))
    if not found:
        return None
    begin = found[-2].end() if len(found) > 1 else 0
    if begin and _JOINED.fullmatch(text, begin, found[-1].start()):
        return None
    breaks = [match.end() for match in _CLAUSE.finditer(text, begin, found[-1].start())]
    return single_number(text[breaks[-1] if breaks else begin :], style)


_CLAUSE = re.compile(r"[.!?]\s|\n|=(?!=)")
_JOINED = re.compile(r"[ \t]*(?:[-+*/^&,;:×÷·xX]|and|or|to)?[ \t]*")
"""Between two numbers: an unevaluated sum, a list."""


def _plain(text: str, style: Style) -> Fraction | None:
    """The number of a cleaned text that is only a number with units."""
    values: set[Fraction | None] = set()
    for match in _NUMBER[style.decimal].finditer(text):
        values.add(_value(match, style))
        if len(values) > 1:
            return None
    around = _DRESS.sub(" ", _BULLET.sub("", _NUMBER[style.decimal].sub(_HERE, text)))
    if _UNPLAIN.search(around):
        return None
    signs = _WORD.sub("", _HYPHEN.sub(" ", around))
    return next(iter(values), None) if _HARMLESS.issuperset(signs) else None


def show(value: Fraction) -> str:
    """The number as a user writes it: 72, 0.5 or 1/3.

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
    """Without digit grouping, and with a decimal point."""
    if style.decimal == "point":
        return number.replace(",", "")
    if "," not in number and not re.fullmatch(r"\d{1,3}(?:\.\d{3})+", number):
        return number
    return number.replace(".", "").replace(",", ".")
