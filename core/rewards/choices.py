"""Multiple choice: the letter that was chosen, however it is said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from core.reward import Markers, Score
from core.rewards.answers import final_answers
from core.rewards.info import RewardInfo

_LETTERS = "ABCDEFGHIJ"
_RULED_OUT = re.compile(r"(?:\bnot|n['’]t(?: be)?)\s+(?:choice\s|option\s)?[(\[*]*([A-J])\b", re.IGNORECASE)
_DRESSED = re.compile(r"(?<!\w)(?:[(\[*]+([A-J])[)\]*:.]|([A-J])[).:])")
_BARE = re.compile(r"\b([A-J])\b")
_SAID = re.compile(r"(?:answer|choice|option)\s*(?:is|:)?\s*[(\[*]*([A-J])\b", re.IGNORECASE)


def choice(completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers) -> Score:
    """1 where the chosen letter is the reference's, else 0. Two different letters earn nothing.

    The reference is a letter, a label of the row's ``choices``, a position in them (counted from 0), or the text
    of one. The answer is looked for between the solution markers, in a box, then as 'answer is (B)', then as
    a text of one letter; or as the text of the choice itself.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"response": "B", "choices": ["Lyon", "Paris", "Nice"]}
    >>> choice("The answer is (B).", "", row, markers=m)
    Score(value=1.0, why='B is the right choice.')
    >>> choice("<s>Nice</s>", "", row, markers=m)
    Score(value=0.0, why='The answer chose C; the right choice is B.')
    >>> choice("A B C D", "", row, markers=m)
    Score(value=0.0, why='No single choice was found.')
    """
    options, labels = _options(row)
    reference = str(row.get("response", "")).strip()
    wanted = _letter(reference, [], labels) or _position(reference, options) or _letter(reference, options, labels)
    if wanted is None:
        return Score(0.0, "The reference answer is not one of the choices, so nothing can be compared with it.")
    stated = final_answers(completion, "auto", markers)
    texts = stated or ([] if markers.solution_start in completion else [completion])
    chosen = {
        _letter(text.strip(), options, labels) or _position(text.strip(), options) or _read_choice(text)
        for text in texts
    }
    if len(chosen) != 1 or None in chosen:
        return Score(0.0, "No single choice was found.")
    letter = chosen.pop()
    if letter == wanted:
        return Score(1.0, f"{letter} is the right choice.")
    return Score(0.0, f"The answer chose {letter}; the right choice is {wanted}.")


def _options(row: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The texts of the choices, and what each is called where the row says so."""
    found = row.get("choices") or row.get("options") or ()
    labels: Any = ()
    if isinstance(found, Mapping):  # the Hub's ARC: {"text": […], "label": […]}
        labels, found = found.get("label") or (), found.get("text") or list(found.values())
    return _folded(found), _folded(labels)


def _folded(texts: Any) -> list[str]:
    return [str(text).strip().casefold() for text in texts] if isinstance(texts, list | tuple) else []


def _letter(text: str, options: Sequence[str], labels: Sequence[str]) -> str | None:
    """The letter that stands for a choice: as such, by its label, or by its text."""
    bare = text.strip(" ().[]:*")
    if bare.casefold() in labels[:10]:
        return _LETTERS[labels.index(bare.casefold())]
    if len(bare) == 1 and bare.upper() in _LETTERS:
        return bare.upper()
    said = text.casefold().strip(". ")
    return _LETTERS[options.index(said)] if said in options[:10] else None


def _position(text: str, options: Sequence[str]) -> str | None:
    return _LETTERS[int(text)] if text.isdecimal() and len(text) < 3 and int(text) < min(len(options), 10) else None


def _read_choice(text: str) -> str | None:
    ruled_out = {letter.upper() for letter in _RULED_OUT.findall(text)}
    said = {letter.upper() for letter in _SAID.findall(text)}
    said = said or {first or second for first, second in _DRESSED.findall(text)}
    if not said and _BARE.search(text[-3:]):
        said = set(_BARE.findall(text))
    said -= ruled_out
    return said.pop() if len(said) == 1 else None


INFOS = (
    RewardInfo(
        "choice",
        "Right choice",
        "Compares the chosen letter of a multiple-choice question with the reference's.",
        True,
        ("response",),
        (),
        choice,
        family="Mathematics and science",
    ),
)
