"""Best-of-n: does a reward model give the highest score to a right answer among several?

A row has a ``prompt``, the right answers in ``chosen`` and the wrong ones in ``rejected``, as in RewardBench 2, and
optionally a ``subset``. With one right answer of four, chance is 25%.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.data.cells import text_of
from core.data.nested import decoded
from core.errors import InvalidInput
from core.reward_report import Share
from core.statistics import share_interval

MOST_ANSWERS = 20_000
"""Answers that one file may have."""
LONGEST = 200_000
"""Characters of one answer or prompt."""
ALL, NO_SUBSET = "All", "No subset"


@dataclass(frozen=True)
class Question:
    """One row: a prompt with its right and wrong answers."""

    prompt: str
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str = ""

    @property
    def answers(self) -> tuple[str, ...]:
        """All answers, the right ones first."""
        return (*self.chosen, *self.rejected)


class SubsetResult(BaseModel):
    """The result on some rows.

    Attributes:
        name: Of the subset.
        right: Rows whose highest score is a right answer's. If several answers share it, the row counts by the share
            of right ones among them.
        chance: What random scores would get.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    right: Share
    chance: float


class BestOf(BaseModel):
    """A file's result: over all rows, and by subset if there are several."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    overall: SubsetResult
    subsets: tuple[SubsetResult, ...] = ()
    unscored: int = 0
    """Rows that were left out because an answer got no score."""


def questions(rows: Iterable[Mapping[str, Any]]) -> list[Question]:
    """The rows of a file.

    Raises:
        InvalidInput: A row has not this form, naming it; or there are none, or too many.
    """
    found, answers = [], 0
    for number, row in enumerate(rows, 1):
        found.append(question(row, number))
        answers += len(found[-1].answers)
        if answers > MOST_ANSWERS:
            raise InvalidInput(f"The file has more than {MOST_ANSWERS:,} answers. Use a part of it.", field="dataset")
    if not found:
        raise InvalidInput("The file has no rows.", field="dataset")
    return found


def question(row: Mapping[str, Any], number: int) -> Question:
    """One row.

    Args:
        row: With ``prompt``, ``chosen`` and ``rejected``; the last two are lists of texts, or one text.
        number: Of the row, for messages.

    Raises:
        InvalidInput: It has not this form.

    >>> question({"prompt": "2 + 2?", "chosen": "4", "rejected": ["5", "22", "3"], "subset": "sums"}, 1).answers
    ('4', '5', '22', '3')
    """
    prompt, chosen, rejected = text_of(row.get("prompt")).strip(), _texts(row, "chosen"), _texts(row, "rejected")
    lacking = next(
        (name for name, has in (("prompt", prompt), ("chosen", chosen), ("rejected", rejected)) if not has), ""
    )
    if lacking:
        raise InvalidInput(
            f"Row {number} has no {lacking}. Each row needs prompt, chosen (the right answer, or a list) and rejected "
            "(a list of wrong ones).",
            field="dataset",
        )
    if max(map(len, (prompt, *chosen, *rejected))) > LONGEST:
        raise InvalidInput(f"A text in row {number} is longer than {LONGEST:,} characters.", field="dataset")
    return Question(prompt, chosen, rejected, text_of(row.get("subset")).strip()[:100])


def _texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = row.get(name)
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = decoded(value) or value
    listed = value if isinstance(value, list | tuple) else [value]
    return tuple(text for one in listed if (text := text_of(one).strip()))


def result(asked: Sequence[Question], scores: Sequence[Sequence[float | None]]) -> BestOf | None:
    """Count a file's rows.

    Args:
        asked: The rows.
        scores: For each, those of :attr:`Question.answers` in order; None for an answer without one.

    Returns:
        None if no row was scored.
    """
    by_subset: dict[str, list[tuple[Question, Sequence[float]]]] = defaultdict(list)
    for one, given in zip(asked, scores, strict=True):
        whole = [score for score in given if score is not None and isfinite(score)]
        if len(whole) == len(one.answers):
            by_subset[one.subset or NO_SUBSET].append((one, whole))
    everything = [pair for pairs in by_subset.values() for pair in pairs]
    if not everything:
        return None
    parts = tuple(_counted(name, pairs) for name, pairs in sorted(by_subset.items()))
    return BestOf(
        overall=_counted(ALL, everything),
        subsets=parts if len(parts) > 1 else (),
        unscored=len(asked) - len(everything),
    )


def _counted(name: str, pairs: Sequence[tuple[Question, Sequence[float]]]) -> SubsetResult:
    earned = [credit(len(one.chosen), scores) for one, scores in pairs]
    right, tied = earned.count(1.0), sum(0 < one < 1 for one in earned)
    low, high = share_interval(right, len(earned), tied)
    return SubsetResult(
        name=name,
        right=Share(count=right, of=len(earned), share=sum(earned) / len(earned), low=low, high=high),
        chance=sum(len(one.chosen) / len(one.answers) for one, _ in pairs) / len(pairs),
    )


def credit(chosen: int, scores: Sequence[float]) -> float:
    """The share of right answers among those with the highest score.

    Args:
        chosen: How many of the scores belong to right answers; they come first.

    >>> credit(1, [3, 1, 1, 0]), credit(1, [1, 3, 1, 0]), credit(1, [3, 3, 1, 0]), credit(1, [2, 2, 2, 2])
    (1.0, 0.0, 0.5, 0.25)
    """
    best = max(scores)
    top = [place for place, score in enumerate(scores) if score == best]
    return sum(place < chosen for place in top) / len(top)
