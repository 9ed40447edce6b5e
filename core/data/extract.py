"""Extracts the reference answer from a longer text, by a rule that the user chooses.

The full text is kept as ``full_response``, because the warm-up learns from the reasoning in it.

Regular expressions come from users or untrusted files, so they run on the ``regex`` engine with a time limit: endless
backtracking costs a tenth of a second per row, and after a few such rows the expression is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import regex

from core.data.nested import decoded
from core.errors import InvalidInput

Rule = Literal["none", "after_marker", "last_number", "boxed", "regex", "json_path"]
RULES: tuple[Rule, ...] = get_args(Rule)
TITLES: dict[Rule, str] = {
    "none": "Use the whole cell",
    "after_marker": "Text after a marker, such as ####",
    "last_number": "Last number",
    "boxed": r"Content of the last \boxed{…}",
    "regex": "Regular expression",
    "json_path": "Path in a JSON value, such as answers.text[0]",
}
NEEDS_PATTERN = frozenset({"after_marker", "regex", "json_path"})
REGEX_SECONDS = 0.1
"""Longest time for one row. A normal expression needs a thousandth of it."""
MAX_TEXT = 200_000
"""Characters that a rule searches: the end of the text, where answers are."""

_NUMBER = regex.compile(r"(?<![\w.,])[-+]?[$€£¥]?-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s?/\s?\d+)?(?![\w]|[.,]\d)")
_STEP = regex.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]|\[['\"]([^'\"]+)['\"]\]")


@dataclass(frozen=True)
class Extraction:
    """A rule and what it needs: the marker, the expression or the path."""

    rule: Rule = "none"
    pattern: str = ""

    def __call__(self, value: Any) -> str | None:
        """The reference in a cell, or None if the rule finds none.

        Raises:
            InvalidInput: The pattern is invalid or does not terminate.
        """
        return _RULES[self.rule](value, self.pattern)

    def check(self) -> None:
        """Raise InvalidInput if the pattern is missing or malformed."""
        if self.rule in NEEDS_PATTERN and not self.pattern:
            raise _wrong(f"Enter the {_PATTERN_WORD[self.rule]} that finds the answer.")
        if self.rule == "regex":
            _compiled(self.pattern)
        if self.rule == "json_path":
            _steps(self.pattern)


def propose(texts: Iterable[str]) -> Extraction:
    r"""The rule that fits a sample of a column's cells; 'none' if unclear.

    >>> propose(["48 + 24 = 72\n#### 72", "so 5\n#### 5"])
    Extraction(rule='after_marker', pattern='####')
    """
    found = [text for text in texts if text.strip()]
    if not found:
        return Extraction()
    for candidate in (Extraction("after_marker", "####"), Extraction("boxed")):
        if sum(candidate(text) is not None for text in found) >= 0.9 * len(found):
            return candidate
    return Extraction()


def after_marker(value: Any, marker: str) -> str | None:
    r"""The rest of the line after the last marker.

    >>> after_marker("48/2 = 24\n#### 1,234 clips", "####")
    '1,234 clips'
    """
    _, found, rest = _text(value).rpartition(marker)
    lines = rest.strip().splitlines()
    return lines[0].strip() if found and lines else None


def last_number(value: Any, _pattern: str = "") -> str | None:
    """The last number, as written.

    >>> last_number("3 boxes of 12 make 36 pens.")
    '36'
    """
    numbers = _NUMBER.findall(_text(value))
    return numbers[-1].strip() if numbers else None


def boxed(value: Any, _pattern: str = "") -> str | None:
    r"""The content of the last box, with balanced braces.

    >>> boxed(r"first \boxed{1}, so \boxed{\frac{3}{4}}")
    '\\frac{3}{4}'
    """
    for piece in reversed(_text(value).split(r"\boxed{")[1:]):
        depth = 1
        for end, letter in enumerate(piece):
            depth += {"{": 1, "}": -1}.get(letter, 0)
            if not depth:
                return piece[:end].strip() or None
    return None


def by_regex(value: Any, pattern: str) -> str | None:
    """The last match: its first group if there is one, else the whole match.

    >>> by_regex("The answer is (C).", r"answer is [(]([A-E])[)]")
    'C'
    """
    try:
        last = None
        for last in _compiled(pattern).finditer(_text(value), timeout=REGEX_SECONDS):  # noqa: B007 - the last one counts
            pass
    except TimeoutError:
        raise _wrong(
            f"The regular expression {pattern!r:.80} takes too long on some rows. Avoid nested repetition such "
            "as (a+)+."
        ) from None
    if last is None:
        return None
    text = last[1] if last.re.groups else last[0]
    return (text or "").strip() or None


def by_path(value: Any, path: str) -> str | None:
    """The value at a path such as ``answers.text[0]``; the cell may be JSON text.

    >>> by_path({"text": ["Denver", "denver"]}, "text[0]"), by_path('{"a": {"b": 3}}', "$.a.b"), by_path({}, "a")
    ('Denver', '3', None)
    """
    if isinstance(value, str):
        value = decoded(value)
    for step in _steps(path):
        try:
            value = value[step] if isinstance(value, list) == isinstance(step, int) else None
        except (LookupError, TypeError):
            return None
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _whole(value: Any, _pattern: str) -> str | None:
    return _text(value).strip() or None


_RULES: dict[Rule, Callable[[Any, str], str | None]] = {
    "none": _whole,
    "after_marker": after_marker,
    "last_number": last_number,
    "boxed": boxed,
    "regex": by_regex,
    "json_path": by_path,
}
_PATTERN_WORD = {"after_marker": "marker", "regex": "regular expression", "json_path": "path"}


def _text(value: Any) -> str:
    text = (
        value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    )
    return text[-MAX_TEXT:]


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> regex.Pattern[str]:
    try:
        return regex.compile(pattern, regex.MULTILINE)
    except (regex.error, OverflowError, RecursionError) as error:
        raise _wrong(f"This is not a valid regular expression: {error}.") from None


@lru_cache(maxsize=64)
def _steps(path: str) -> tuple[str | int, ...]:
    rest = path.strip().removeprefix("$")
    steps: list[str | int] = []
    while rest:
        match = _STEP.match(rest)
        if match is None:
            raise _wrong(
                f"This is not a valid path: {path!r:.80}. Separate names with dots and put positions in brackets: "
                "answers.text[0]."
            )
        name, place, quoted = match.groups()
        steps.append(int(place) if place is not None else (name or quoted))
        rest = rest[match.end() :]
    return tuple(steps)


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(message, field="dataset.extraction_pattern")
