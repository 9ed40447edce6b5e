"""Where two texts differ, word by word, for showing them side by side."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple

BEFORE = 200
"""Characters shown before the first difference."""
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


class Part(NamedTuple):
    """A piece of a text, and whether the other text lacks it."""

    text: str
    differs: bool


def marked(first: str, second: str, most: int) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Both texts in parts, those that only one of them has marked.

    Args:
        most: Characters of each text that are shown, from shortly before the first difference.

    >>> marked("It is the Po.", "It is the Nile.", 100)[1]
    (Part(text='It is the ', differs=False), Part(text='Nile', differs=True), Part(text='.', differs=False))
    >>> marked("4", "", 100)
    ((Part(text='4', differs=True),), ())
    >>> marked("one two", "red blue", 100)[0]
    (Part(text='one two', differs=True),)
    """
    start = _start(first, second)
    one, other = (_cut(text, start, most) for text in (first, second))
    words: list[list[str]] = [_WORDS.findall(text) for text in (one, other)]
    found: tuple[list[Part], list[Part]] = ([], [])
    for tag, *spans in SequenceMatcher(None, words[0], words[1], autojunk=False).get_opcodes():
        for parts, side, (begin, end) in zip(found, words, (spans[:2], spans[2:]), strict=True):
            if text := "".join(side[begin:end]):
                parts.append(Part(text, tag != "equal"))
    return _joined(found[0]), _joined(found[1])


def _joined(parts: list[Part]) -> tuple[Part, ...]:
    """With a space between two words that differ as part of the difference."""
    joined: list[Part] = []
    for place, part in enumerate(parts):
        blank = not part.text.strip() and 0 < place < len(parts) - 1  # both neighbors differ
        differs = part.differs or blank
        if joined and joined[-1].differs == differs:
            joined[-1] = Part(joined[-1].text + part.text, differs)
        else:
            joined.append(Part(part.text, differs))
    return tuple(joined)


def _start(first: str, second: str) -> int:
    """Where to begin: at the start of the texts, or of a word before the first difference."""
    letters = enumerate(zip(first, second, strict=False))
    same = next((place for place, (one, other) in letters if one != other), min(len(first), len(second)))
    return 0 if same <= BEFORE else first.rfind(" ", 0, same - BEFORE) + 1


def _cut(text: str, start: int, most: int) -> str:
    rest = text[start:]
    return f"{'… ' if start else ''}{rest[:most]}{'…' if len(rest) > most else ''}"
