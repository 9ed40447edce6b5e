"""Words, sentences and their overlap, for rewards that compare texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from core.reward import Markers
from core.rewards.answers import between_markers

_WORD = re.compile(r"\w+(?:['’]\w+)?")
_SENTENCE = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"'“‘(]?[A-ZÀ-Þ0-9])")


def words(text: str) -> list[str]:
    """Words in lower case, without punctuation.

    >>> words("It's 3.5 km, isn’t it?")
    ["it's", '3', '5', 'km', 'isn’t', 'it']
    """
    return [word.lower() for word in _WORD.findall(text)]


def sentences(text: str) -> list[str]:
    """Sentences, split at a period before a capital.

    >>> sentences("It rained. Then it stopped! 3 of us went.")
    ['It rained.', 'Then it stopped!', '3 of us went.']
    """
    return [part.strip() for part in _SENTENCE.split(text.strip()) if part.strip()]


def answer_text(completion: str, markers: Markers) -> str:
    """The text between the last pair of solution markers, or the whole text without an opening marker."""
    found = between_markers(completion, markers)
    return found[-1].strip() if found else "" if markers.opened(completion) else completion.strip()


def overlap_f1(left: Sequence[str], right: Sequence[str]) -> float:
    """SQuAD's F1 of two bags of words.

    >>> overlap_f1(["the", "cat", "sat"], ["a", "cat", "sat"])
    0.6666666666666666
    """
    shared = sum((Counter(left) & Counter(right)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(left), shared / len(right)
    return 2 * precision * recall / (precision + recall)


def longest_common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(right) + 1)
    for word in left:
        before = 0
        for place, other in enumerate(right, 1):
            before, row[place] = row[place], before + 1 if word == other else max(row[place], row[place - 1])
    return row[-1]


def references(row: Mapping[str, Any]) -> list[str]:
    """The reference, or each of several (SQuAD's ``answers``)."""
    answers = row.get("answers")
    if isinstance(answers, Mapping):
        answers = answers.get("text")
    several = [str(text) for text in answers] if isinstance(answers, list | tuple) else []
    return [text for text in [str(row.get("response", "")), *several] if text.strip()]


def source_text(row: Mapping[str, Any], prompt: str) -> str:
    """The source text of an answer: ``context``, ``document``, ``article`` or ``text``; else the question."""
    return next((str(row[name]) for name in ("context", "document", "article", "text") if row.get(name)), prompt)


def clipped(text: str, limit: int = 4000) -> list[str]:
    """Truncated to so many words, so that comparing stays fast."""
    return words(text)[:limit]
