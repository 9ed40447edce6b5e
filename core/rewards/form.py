"""Rewards for the format of an answer, independent of its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from core.reward import Markers, Score
from core.rewards.answers import after_thought

TEXT_AFTER = 0.9
"""Score if text follows the solution: the format is right, but the answer does not stop."""
INCOMPLETE = 0.5
"""Upper limit for an answer with a partly wrong format."""


def format_markers(
    completion: str,
    prompt: str,
    row: Mapping[str, Any],
    *,
    markers: Markers,
    require: Literal["all", "solution"] = "all",
) -> Score:
    """How well the answer keeps the format: each marker once, in order, with a solution inside.

    Fully: 1, or 0.9 if text follows the solution. Otherwise half of the share of markers
    that appear exactly once: a marker written forty times counts as missing, so repeating never pays.

    A solution marker inside the reasoning does not count, nor does anything in a reasoning block with other markers,
    such as ``<think>``.

    Args:
        require: ``all`` for the reasoning and solution markers, ``solution`` for only the latter.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> format_markers("<w>2+2</w><s>4</s>", "", {}, markers=m)
    Score(value=1.0, why='All tags are present, once and in order.')
    >>> format_markers("<s>4</s>", "", {}, markers=m)
    Score(value=0.25, why='Missing: <w>, </w>.')
    >>> format_markers("gibberish", "", {}, markers=m)
    Score(value=0.0, why='Missing: <w>, </w>, <s>, </s>.')
    >>> format_markers("<w></w><s>4</s>" + "<s>" * 40, "", {}, markers=m)
    Score(value=0.375, why='More than once: <s>.')
    >>> format_markers("<think>In <s></s>?</think><w>I write <s>4</s>.</w><s>4</s>", "", {}, markers=m)
    Score(value=1.0, why='All tags are present, once and in order.')
    """
    if not markers.solution_start:
        return Score(0.0, "No answer tags are set, so there is no format to check.")
    wanted = [m for m in (markers.reasoning_start, markers.reasoning_end) if m and require == "all"]
    reasoning = len(wanted)
    wanted += [markers.solution_start, markers.solution_end]
    completion, start = _outside(completion, markers, whole=require == "all")
    counts = [completion.count(marker, start if place >= reasoning else 0) for place, marker in enumerate(wanted)]
    partial = INCOMPLETE * counts.count(1) / len(wanted)
    if counts.count(1) < len(wanted):
        missing = [marker for marker, count in zip(wanted, counts, strict=True) if not count]
        repeated = [marker for marker, count in zip(wanted, counts, strict=True) if count > 1]
        parts = [
            f"{label}: {', '.join(names)}."
            for label, names in (("Missing", missing), ("More than once", repeated))
            if names
        ]
        return Score(partial, " ".join(parts))
    places = [completion.index(marker, start if place >= reasoning else 0) for place, marker in enumerate(wanted)]
    if places != sorted(places):
        return Score(partial, "The tags are out of order.")
    if not completion[places[-2] + len(wanted[-2]) : places[-1]].strip():
        return Score(partial, "There is nothing between the answer tags.")
    if completion[places[-1] + len(wanted[-1]) :].strip():
        return Score(TEXT_AFTER, "All tags are present, but text follows the answer.")
    return Score(1.0, "All tags are present, once and in order.")


def _outside(completion: str, markers: Markers, *, whole: bool) -> tuple[str, int]:
    """The text whose markers count, and the position from which solution markers count.

    Args:
        whole: Whether the reasoning markers are part of the format; else the text between them is left out too.
    """
    if not whole:
        return after_thought(completion, markers) or "", 0
    others = replace(markers, reasoning_start="", reasoning_end="")
    if (markers.reasoning_start, markers.reasoning_end) not in others.thoughts:
        completion = after_thought(completion, others) or ""
    end = completion.find(markers.reasoning_end) if markers.reasoning_end else -1
    after = end + len(markers.reasoning_end)
    # If no solution follows the reasoning, one before it is reported as 'not in order'.
    return completion, after if end >= 0 and markers.opened(completion[after:]) else 0


def length(
    completion: str,
    prompt: str,
    row: Mapping[str, Any],
    *,
    markers: Markers,
    unit: Literal["words", "characters"] = "words",
    minimum: int = 10,
    maximum: int = 200,
    fall_off: int = 100,
) -> Score:
    """1 inside the wanted length, falling linearly to 0 outside it. An empty answer earns 0.

    Args:
        unit: What is counted.
        minimum, maximum: The wanted length, inclusive.
        fall_off: Distance at which the score reaches 0, in the same unit.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> length("four words are here", "", {}, markers=m, minimum=2, maximum=5)
    Score(value=1.0, why='4 words, within the range of 2 to 5.')
    >>> length("far too long " * 5, "", {}, markers=m, minimum=2, maximum=5, fall_off=20)
    Score(value=0.5, why='15 words; the range is 2 to 5.')
    >>> length("", "", {}, markers=m)
    Score(value=0.0, why='The answer is empty.')
    """
    count = len(completion.split()) if unit == "words" else len(completion.strip())
    if not count:
        return Score(0.0, "The answer is empty.")
    outside = max(minimum - count, count - maximum, 0)
    if not outside:
        return Score(1.0, f"{count} {unit}, within the range of {minimum} to {maximum}.")
    return Score(max(0.0, 1 - outside / fall_off), f"{count} {unit}; the range is {minimum} to {maximum}.")
