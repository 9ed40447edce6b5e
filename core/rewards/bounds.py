"""Estimates the size of an expression before it is computed.

``9^{9^{9^9}}`` has twelve characters and would fill any memory. The size is overestimated from the text, in digits of
the largest number; only expressions far beyond any real answer are rejected.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

MOST_DIGITS = 5_000
"""Digits of the largest number."""
MOST_POWER = 30
"""The largest power of a bracket with variables, because it may be expanded."""
MOST_TERMS = 200
"""The largest upper bound of a sum or product."""
_DEEPEST = 40
_TOKEN = re.compile(r"\\[A-Za-z]+|\d+(?:\.\d+)?|\S")
_CLOSES = {"{": "}", "(": ")", "[": "]"}
_GROWING = frozenset({"\\binom", "\\dbinom", "\\tbinom", "\\Gamma", "\\choose"})
_REPEATED = frozenset({"\\sum", "\\prod"})


class _Size(NamedTuple):
    """Digits, the value if it is a plain number, whether there are variables, number of terms."""

    digits: float
    value: float | None = None
    letters: bool = False
    terms: int = 1

    @property
    def most(self) -> float:
        """Upper bound of its value."""
        return self.value if self.value is not None else 10 ** min(self.digits, 300)


def too_large(text: str) -> bool:
    r"""Whether computing the expression would take too long.

    >>> [too_large(text) for text in ("9^{9^{9^9}}", r"\binom{999999}{333333}", "999999!", "2^9^9", "(x+1)^{999}")]
    [True, True, True, True, True]
    >>> [too_large(text) for text in ("10!", "2^{100}", r"\binom{52}{5}", "(x+1)^{10}", r"\sum_{k=1}^{n} k^2", "10^{-9}")]
    [False, False, False, False, False, False]
    >>> too_large(r"\sum_{k=1}^{1000} k^k")
    True
    """
    reader = _Reader(_TOKEN.findall(text))
    return not reader.group("", 0).digits <= MOST_DIGITS


def balanced(text: str) -> bool:
    r"""Whether every brace is closed: ``10^{`` would be read as 10.

    >>> balanced(r"\frac{1}{2}"), balanced("10^{")
    (True, False)
    """
    depth = 0
    for sign in re.sub(r"\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    return not depth


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.place = tokens, 0

    def next(self) -> str:
        token = self.tokens[self.place] if self.place < len(self.tokens) else ""
        self.place += bool(token)
        return token

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def group(self, close: str, depth: int) -> _Size:
        """Up to the closing bracket: the digits of the product of its contents."""
        parts: list[_Size] = []
        terms = 1
        while (token := self.peek()) and token != close:
            if token in {"+", "-"}:
                terms += bool(parts)
                self.next()
                continue
            parts.append(self.power(depth))
        self.next()
        if len(parts) == 1:
            return parts[0]._replace(terms=max(terms, parts[0].terms))
        return _Size(sum(part.digits for part in parts), None, any(part.letters for part in parts), terms)

    def power(self, depth: int) -> _Size:
        """One operand with its powers and factorials."""
        if depth > _DEEPEST:
            self.place = len(self.tokens)
            return _Size(math.inf)
        repeated = self.peek() in _REPEATED
        size = self.atom(depth)
        while self.peek() in {"^", "_", "!"}:
            sign = self.next()
            if sign == "!":
                size = _factorial(size)
                continue
            while self.peek() in {"-", "+"}:
                self.next()
            other = self.power(depth + 1) if sign == "^" else self.atom(depth + 1)
            if sign == "^":
                size = _limited(other) if repeated else _raised(size, other)
        return size

    def atom(self, depth: int) -> _Size:
        token = self.next()
        if token in _CLOSES:
            return self.group(_CLOSES[token], depth + 1)
        if token in _GROWING:
            return _factorial(_Size(6) if token == "\\choose" else self.power(depth + 1))  # noqa: S105 - LaTeX
        if token[:1].isdigit():
            return _Size(len(token), float(token))
        return _Size(0.3, letters=len(token) == 1 and token.isalpha())


def _raised(base: _Size, power: _Size) -> _Size:
    if base.letters and base.terms > 1 and power.most > MOST_POWER:
        return _Size(math.inf)
    return _Size(max(base.digits, 0.3) * power.most, None, base.letters or power.letters)


def _factorial(size: _Size) -> _Size:
    return _Size(size.most * math.log10(size.most + 1), None, size.letters)


def _limited(end: _Size) -> _Size:
    return _Size(math.inf if end.most > MOST_TERMS else 1)
