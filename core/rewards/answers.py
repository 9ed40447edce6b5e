"""Where in a text the final answer stands."""

from __future__ import annotations

from typing import Literal

from core.reward import Markers

Where = Literal["auto", "markers", "boxed", "hashes", "anywhere"]
HASHES = "####"


def between_markers(text: str, markers: Markers) -> list[str]:
    """What stands between each pair of solution markers. An opened one that is never closed gives nothing.

    >>> between_markers("<S>72</S> and <S>7", Markers("<R>", "</R>", "<S>", "</S>"))
    ['72']
    """
    blocks = []
    for piece in text.split(markers.solution_start)[1:]:
        inside, closed, _ = piece.partition(markers.solution_end)
        if closed:
            blocks.append(inside)
    return blocks


def boxed(text: str) -> list[str]:
    r"""The contents of each ``\boxed{…}``, braces inside balanced.

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
    """The line after the last ``####``, which is where GSM8K writes its answers.

    >>> after_hashes("48 + 24 = 72\\n#### 72")
    ['72']
    """
    _, found, rest = text.rpartition(HASHES)
    lines = rest.strip().splitlines()
    return [lines[0].strip()] if found and lines else []


def final_answers(text: str, where: Where, markers: Markers) -> list[str]:
    """The stretches of text that claim to be the final answer, in the place that ``where`` names.

    ``auto`` looks between the solution markers, then for a box, then after ``####``, and stops at the
    first place that is there at all: a text that opens a solution marker is judged by its markers.
    """
    places = {
        "markers": lambda: between_markers(text, markers),
        "boxed": lambda: boxed(text),
        "hashes": lambda: after_hashes(text),
    }
    if where in places:
        return places[where]()
    if markers.solution_start in text:
        return places["markers"]()
    return places["boxed"]() or places["hashes"]()
