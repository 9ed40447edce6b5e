"""Exact match of texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Literal

from core.reward import Markers, Score
from core.rewards.answers import after_hashes, between_markers

_PUNCTUATION = re.compile(r"(?<!\d)[.,]|[.,](?!\d)|(?<!\d)!|[;:?\"'“”‘’„()\[\]{}*_`…]")
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def exact(
    completion: str,
    prompt: str,
    row: Mapping[str, Any],
    *,
    markers: Markers,
    where: Literal["auto", "markers", "whole"] = "auto",
    ignore_case: bool = True,
    ignore_punctuation: bool = True,
    ignore_articles: bool = False,
) -> Score:
    """1 if the answer is the reference's text, else 0. Whitespace is ignored.

    Meaningful symbols (minus, plus, percent, a decimal point, < and >, ! after a digit) are always compared.

    Args:
        where: ``auto`` (between the solution markers, or the whole text if no marker is opened),
            ``markers``, or ``whole``.
        ignore_case: Paris = PARIS.
        ignore_punctuation: 'Paris.' = 'Paris'.
        ignore_articles: 'the Seine' = 'Seine'.

    >>> m = Markers("<w>", "</w>", "<SOLUTION>", "</SOLUTION>")
    >>> row = {"instruction": "Capital of France?", "response": "Paris"}
    >>> exact("<SOLUTION> paris. </SOLUTION>", "", row, markers=m)
    Score(value=1.0, why='The answer matches the reference.')
    >>> exact("<SOLUTION>Lyon</SOLUTION>", "", row, markers=m)
    Score(value=0.0, why='The answer is “Lyon”; the reference is “Paris”.')
    >>> exact("<SOLUTION>Paris</SOLUTION><SOLUTION>Lyon</SOLUTION>", "", row, markers=m)
    Score(value=0.0, why='2 different answers were given.')
    >>> exact("<SOLUTION>Paris", "", row, markers=m)
    Score(value=0.0, why='No final answer was found: there is nothing between <SOLUTION> and </SOLUTION>.')
    """
    text = str(row.get("response", ""))
    reference = (after_hashes(text) or [text])[-1]

    def normal(value: str) -> str:
        return normalise(value, case=ignore_case, punctuation=ignore_punctuation, articles=ignore_articles)

    wanted = normal(reference)
    if not wanted:
        return Score(0.0, "The reference answer is empty, so there is nothing to compare with.")
    whole = where == "whole" or (where == "auto" and not markers.opened(completion))
    answers = {normal(answer): answer for answer in ([completion] if whole else between_markers(completion, markers))}
    if not answers:
        return Score(
            0.0,
            f"No final answer was found: there is nothing between {markers.solution_start} and {markers.solution_end}.",
        )
    if len(answers) > 1:
        return Score(0.0, f"{len(answers)} different answers were given.")
    if wanted in answers:
        return Score(1.0, "The answer matches the reference.")
    return Score(0.0, f"The answer is “{_short(*answers.values())}”; the reference is “{_short(reference)}”.")


def normalise(text: str, *, case: bool, punctuation: bool, articles: bool) -> str:
    """The text normalized for comparison.

    >>> normalise("  The  answer: -3.5%. ", case=True, punctuation=True, articles=True)
    'answer -3.5%'
    """
    text = unicodedata.normalize("NFC", text)
    text = text.casefold() if case else text
    text = _PUNCTUATION.sub("", text) if punctuation else text
    text = _ARTICLES.sub("", text) if articles else text
    return " ".join(text.split())


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "…"
