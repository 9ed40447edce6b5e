"""Finds the final answer in a text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from core.reward import Markers

Where = Literal["auto", "markers", "boxed", "hashes", "anywhere"]
HASHES = "####"


def after_thought(text: str, markers: Markers) -> str | None:
    """A completion without its reasoning; None if a reasoning block is never closed.

    Reasoning is between the configuration's markers or the usual ones of models, such as ``<think>``. A leading
    closing marker closes reasoning that the prompt opened.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> after_thought("<w>perhaps <s>3</s></w><s>4</s>", m), after_thought("<think>perhaps <s>3</s>", m)
    ('<s>4</s>', None)
    >>> after_thought("so it is 4</think><s>4</s>", m), after_thought("just 4", m)
    ('<s>4</s>', 'just 4')
    """
    closes = dict(pair for pair in markers.thoughts if pair[0])
    said: list[str] = []
    place, closing, first = 0, "", True
    for mark in _thought_marks(markers).finditer(text):
        word = mark[0]
        if closing:
            if word == closing:
                place, closing = mark.end(), ""
        elif word in closes:
            said.append(text[place : mark.start()])
            closing = closes[word]
        elif first:
            place = mark.end()
        first = False
    return None if closing else "".join([*said, text[place:]])


@lru_cache(maxsize=64)
def _thought_marks(markers: Markers) -> re.Pattern[str]:
    words = sorted({word for pair in markers.thoughts for word in pair if word}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words)))


def between_markers(text: str, markers: Markers) -> list[str]:
    """The text between each pair of solution markers. Unclosed ones are ignored.

    >>> between_markers("<S>72</S> and <S>7", Markers("<R>", "</R>", "<S>", "</S>"))
    ['72']
    """
    if not markers.solution_start:
        return []
    blocks = []
    for piece in text.split(markers.solution_start)[1:]:
        inside, closed, _ = piece.partition(markers.solution_end)
        if closed:
            blocks.append(inside)
    return blocks


def boxed(text: str) -> list[str]:
    r"""The contents of each ``\boxed{…}``, with balanced braces.

    >>> boxed(r"so \boxed{\frac{3}{4}}")
    ['\\frac{3}{4}']
    """
    found = []
    for piece in text.split(r"\boxed{")[1:]:
        depth = 1
        for end, letter in enumerate(piece):
            depth += {"{": 1, "}": -1}.get(letter, 0)
            if not depth:
                found.append(piece[:end])
                break
    return found


def after_hashes(text: str) -> list[str]:
    """The line after the last ``####``, as in GSM8K.

    >>> after_hashes("48 + 24 = 72\\n#### 72")
    ['72']
    """
    _, found, rest = text.rpartition(HASHES)
    lines = rest.strip().splitlines()
    return [lines[0].strip()] if found and lines else []


def final_answers(text: str, where: Where, markers: Markers) -> list[str]:
    """Candidates for the final answer, found where ``where`` says.

    ``auto`` looks between the solution markers, then in boxes, then after ``####``, and stops at the
    first of them that exists: a text with an opening solution marker is judged by its markers.
    """
    places = {
        "markers": lambda: between_markers(text, markers),
        "boxed": lambda: boxed(text),
        "hashes": lambda: after_hashes(text),
    }
    if where in places:
        return places[where]()
    if markers.opened(text):
        return places["markers"]()
    return places["boxed"]() or places["hashes"]()
