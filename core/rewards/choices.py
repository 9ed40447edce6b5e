"""Multiple choice: which option an answer chooses, in any form."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from core.reward import Markers, Score
from core.rewards.answers import final_answers
from core.rewards.info import Decision, Param, RewardInfo

_LETTERS = "ABCDEFGHIJ"
_RULED_OUT = re.compile(r"(?:\bnot|n['’]t(?: be)?)\s+(?:choice\s|option\s)?[(\[*]*([A-J])\b", re.IGNORECASE)
_DRESSED = re.compile(r"(?<!\w)(?:[(\[*]+([A-J])[)\]*:.]|([A-J])[).:])")
_BARE = re.compile(r"\b([A-J])\b")
_SAID = re.compile(r"(?:answer|choice|option)\s*(?:is|:)?\s*[(\[*]*([A-J])\b", re.IGNORECASE)
_LABELLED = re.compile(r"^[(\[]?([A-Za-z]|\d{1,2})[).:\]]\s*(.+)$", re.DOTALL)
_COLUMNS = ("{}", "op{}", "option_{}", "option{}", "choice_{}", "choice{}")
"""Column names if each choice has its own: A, opa, option_a."""
_ARRAY = re.compile(r"array\((\[.*?\])(?:,\s*dtype=[\w'<]+)?\)", re.DOTALL)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
MOST_TEXT = 20_000
"""Longest cell that is parsed as a list, in characters."""

Notation = Literal["auto", "letter", "text", "from_0", "from_1"]
_KNOWN: tuple[Notation, ...] = ("letter", "text", "from_0", "from_1")
_TITLES: dict[Notation, str] = {
    "auto": "Detected from the dataset",
    "letter": "By its letter or label: B",
    "text": "By its text, including digits",
    "from_0": "By its position, counted from 0: 1 is the second",
    "from_1": "By its position, counted from 1: 1 is the first",
}


class _Choices(NamedTuple):
    """The texts of a row's choices in lower case, and their labels if it has any."""

    texts: list[str]
    labels: list[str]


def choice(
    completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, reference: Notation = "auto"
) -> Score:
    """1 if the chosen letter is the reference's, else 0. Two different letters earn nothing.

    The answer is looked for between the solution markers, in a box, then as 'answer is (B)', then as
    a single letter, or as the text of the choice.

    Args:
        reference: How references name the choice. ``letter``: by letter or by a label of the row's ``choices``;
            ``text``; ``from_0`` and ``from_1``: by index. ``auto`` decides by the rows that are scored together
            with this one (:func:`notation`), or by this row if it is alone.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"response": "B", "choices": ["Lyon", "Paris", "Nice"]}
    >>> choice("The answer is (B).", "", row, markers=m)
    Score(value=1.0, why='B is the correct choice.')
    >>> choice("<s>Nice</s>", "", row, markers=m)
    Score(value=0.0, why='The answer chose C; the correct choice is B.')
    >>> choice("A B C D", "", row, markers=m)
    Score(value=0.0, why='No single choice was found in the answer.')
    """
    choices = _choices(row)
    way = notation([row]) if reference == "auto" else reference
    wanted = _wanted(str(row.get("response", "")).strip(), choices, way)
    if wanted is None:
        return Score(
            0.0,
            f"The reference answer is not one of the choices ({_TITLES[way].partition(':')[0].lower()}), so there is nothing to compare with.",
        )
    stated = final_answers(completion, "auto", markers)
    texts = stated or ([] if markers.opened(completion) else [completion])
    chosen = {
        None if _contradicts(text.strip(), choices) else _chosen(text.strip(), choices, way) or _read_choice(text)
        for text in texts
    }
    if len(chosen) != 1 or None in chosen:
        return Score(0.0, "No single choice was found in the answer.")
    letter = chosen.pop()
    if letter == wanted:
        return Score(1.0, f"{letter} is the correct choice.")
    return Score(0.0, f"The answer chose {letter}; the correct choice is {wanted}.")


def notation(rows: Iterable[Mapping[str, Any]]) -> Notation:
    """How the references of these rows name their choices: the notation that fits most of them.

    Only letters and digits are ambiguous. Ties are resolved in the order letter, text, index from 0, index from 1.

    >>> notation([{"response": "2", "choices": ["1", "2", "3"]}, {"response": "1", "choices": ["4", "3", "2", "1"]}])
    'text'
    >>> notation([{"response": "0", "choices": ["red", "blue"]}, {"response": "1", "choices": ["1", "2"]}])
    'from_0'
    >>> notation([{"response": 2, "choices": ["red", "blue"]}, {"response": 1, "choices": ["1", "2"]}])
    'from_1'
    """
    return max(_fits(rows).items(), key=lambda pair: pair[1])[0]


def _fits(rows: Iterable[Mapping[str, Any]]) -> dict[Notation, int]:
    counts: dict[Notation, int] = dict.fromkeys(_KNOWN, 0)
    for row in rows:
        text, choices = str(row.get("response", "")).strip(), _choices(row)
        if _ambiguous(text) and (choices.texts or not _bare(text).isdecimal()):
            for way in _KNOWN:
                counts[way] += _wanted(text, choices, way) is not None
    return counts


def decide(rows: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> Decision | None:
    """What ``auto`` means for a dataset, as settings and in words. None if it is set or unambiguous."""
    if params.get("reference", "auto") != "auto":
        return None
    counts = _fits(rows)
    most = max(counts.values())
    if not most:
        return None
    way = next(way for way, count in counts.items() if count == most)
    asked = sum(_ambiguous(str(row.get("response", "")).strip()) for row in rows)
    others = [_TITLES[other] for other, count in counts.items() if other != way and count == most]
    words = f"References name the choice {_lower(_TITLES[way])} ({most} of {asked} rows fit)."
    if others and any(_bare(str(row.get("response", "")).strip()).isdecimal() for row in rows):
        words += f" These rows also fit: {'; '.join(map(_lower, others))}. If that is what you mean, set 'How references name the choice'."
    return Decision({"reference": way}, words)


def wrong_choices(row: Mapping[str, Any], way: Notation) -> list[str]:
    """The wrong choices of a row, by letter and by text; empty without choices or a reference.

    >>> wrong_choices({"response": "B", "choices": ["Lyon", "Paris", "Nice"]}, "letter")
    ['A', 'C', 'lyon', 'nice']
    """
    choices = _choices(row)
    wanted = _wanted(str(row.get("response", "")).strip(), choices, way)
    wrong = [
        place for place in range(len(choices.texts[:10])) if wanted and wanted in _LETTERS and _LETTERS[place] != wanted
    ]
    return [*(_LETTERS[place] for place in wrong), *(choices.texts[place] for place in wrong)]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _ambiguous(text: str) -> bool:
    bare = _bare(text)
    return bare.isdecimal() or (len(bare) == 1 and bare.isalpha())


def _bare(text: str) -> str:
    return text.strip(" ().[]:*")


def _wanted(text: str, choices: _Choices, way: Notation) -> str | None:
    """The letter of the reference's choice in one notation; unambiguous texts are read as text."""
    bare = _bare(text)
    if not choices.texts and bare.isdecimal():
        return bare  # the choices are only in the question; the answer has to name the same number
    if way == "text" or not _ambiguous(text):
        return _by_text(text, choices) or _by_dress(text, choices)
    if way == "letter":
        return _by_label(bare, choices)
    return _by_place(bare, choices, int(way == "from_1"))


def _chosen(text: str, choices: _Choices, way: Notation) -> str | None:
    """The choice an answer names: by text, by label or letter, or by index in the references' notation."""
    bare = _bare(text)
    if not choices.texts and bare.isdecimal():
        return bare
    first, second = (_by_text, _by_label) if way == "text" else (_by_label, _by_text)
    if way == "text":
        return first(text, choices) or second(bare, choices) or _by_dress(text, choices)
    return (
        first(bare, choices)
        or second(text, choices)
        or _by_dress(text, choices)
        or (_by_place(bare, choices, int(way == "from_1")) if way != "letter" else None)
    )


def _by_text(text: str, choices: _Choices) -> str | None:
    said = text.casefold().strip().strip(". ")
    found = [place for place, one in enumerate(choices.texts[:10]) if one.strip(". ") == said]
    return _LETTERS[found[0]] if len(found) == 1 else None


def _by_label(bare: str, choices: _Choices) -> str | None:
    if bare.casefold() in choices.labels[:10]:
        return _LETTERS[choices.labels.index(bare.casefold())]
    if len(bare) == 1 and bare.upper() in _LETTERS:
        place = _LETTERS.index(bare.upper())
        return bare.upper() if not choices.texts or place < len(choices.texts) else None
    return None


def _by_place(bare: str, choices: _Choices, first: int) -> str | None:
    if not bare.isdecimal() or len(bare) > 2:
        return None
    place = int(bare) - first
    return _LETTERS[place] if 0 <= place < min(len(choices.texts), 10) else None


def _by_dress(text: str, choices: _Choices) -> str | None:
    """'B) Paris', where B is Paris."""
    match = _LABELLED.match(text)
    if not match:
        return None
    letter = _by_label(match[1], choices)
    return letter if letter and letter == _by_text(match[2], choices) else None


def _contradicts(text: str, choices: _Choices) -> bool:
    """'B) Nice', where Nice is C."""
    match = _LABELLED.match(text)
    named = _by_text(match[2], choices) if match else None
    return bool(match and named and named != _by_label(match[1], choices))


def _choices(row: Mapping[str, Any]) -> _Choices:
    found, labels = _listed(row.get("choices") or row.get("options") or _from_columns(row)), None
    if isinstance(found, Mapping):  # Hugging Face's ARC: {"text": […], "label": […]}; others: {"A": …, "B": …}
        plain = not isinstance(_listed(found.get("text")), list)
        labels = list(found) if plain else _listed(found.get("label"))
        found = list(found.values()) if plain else _listed(found.get("text"))
    texts, names = _folded(found), _folded(labels)
    dressed = [_LABELLED.match(text) for text in texts]
    if (
        not names
        and texts
        and all(match and match[1] == _LETTERS[n : n + 1].lower() for n, match in enumerate(dressed))
    ):
        return _Choices([match[2] for match in dressed if match], [match[1] for match in dressed if match])
    return _Choices(texts, names)


def _listed(value: Any) -> Any:
    """A cell with a list or mapping, parsed if it is text in JSON, Python or numpy notation."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{") or len(value) > MOST_TEXT:
        return list(value) if isinstance(value, tuple) else value
    text = _ARRAY.sub(r"\1", value.strip())
    if text.startswith("[") and re.search(r"['\"]\s+['\"]", text):  # numpy separates them by spaces
        return [first or second for first, second in _QUOTED.findall(text)]
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return value


def _from_columns(row: Mapping[str, Any]) -> list[Any]:
    names = {str(name).casefold(): name for name in row}
    for pattern in _COLUMNS:
        columns = [names.get(pattern.format(letter.lower())) for letter in _LETTERS]
        columns = columns[: columns.index(None)] if None in columns else columns
        if len(columns) > 1:
            return [row[name] for name in columns if name is not None]
    return []


def _folded(texts: Any) -> list[str]:
    return [str(text).strip().casefold() for text in texts] if isinstance(texts, list | tuple) else []


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
        "Correct choice",
        "Compares the chosen option of a multiple-choice question with the reference.",
        True,
        ("response",),
        (
            Param(
                "reference",
                "choice",
                "auto",
                "How references name the choice",
                "A digit can be a position or an option's text. The same rule applies to the whole dataset.",
                tuple(_TITLES.items()),
            ),
        ),
        choice,
        family="Math and science",
        decide=decide,
    ),
)
