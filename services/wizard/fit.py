"""Whether the draft's dataset has what its method learns from, and which method fits it."""

from __future__ import annotations

from dataclasses import dataclass

import core.methods
from core.dataset import FieldGuess, Shape
from core.methods import Method, Need
from core.methods.method import JobType
from services.wizard.draft import DatasetDraft

ORDER = (JobType.SL, JobType.RL, JobType.DPO, JobType.RLHF)
"""Methods for newcomers, the simplest first."""
LEARNS = {
    Shape.EXAMPLES: "questions with an answer",
    Shape.PAIRS: "pairs of a better and a worse answer",
    Shape.RATINGS: "answers with a rating, good or bad",
}
LACKS = {
    Shape.PAIRS: "No column with worse answers was found in this dataset. If there is one, choose both columns below. "
    "Otherwise add a worse answer to each row and upload the file again, or choose another dataset.",
    Shape.RATINGS: "No column that rates the answers was found in this dataset. If there is one, choose it below. "
    "Otherwise add a column with true or false to each row and upload the file again, or choose another dataset.",
}
"""What to do about rows with one answer, by what the method needs."""


@dataclass(frozen=True)
class Fit:
    """What to know about a dataset and a method that were not made for each other.

    Attributes:
        words: What the method does with the rows, or what they lack.
        usable: Whether the method can learn from them.
        other: The method that fits the rows, if there is one.
        more: Whether other methods fit them too.
        text: The column that the method can learn as plain text.
    """

    words: str
    usable: bool
    other: Method | None = None
    more: bool = False
    text: str = ""


def in_order() -> tuple[Method, ...]:
    """Every method, in the order in which they are offered."""
    return tuple(sorted(core.methods.METHODS, key=lambda one: ORDER.index(one.job_type)))


def method_for(shape: Shape, chosen: Method) -> Method:
    """The method that rows are prepared for: the chosen one if it learns from them, or the first that does."""
    return next((one for one in (chosen, *in_order()) if shape in one.shapes), chosen)


def shape_of(dataset: DatasetDraft, guess: FieldGuess | None) -> Shape | None:
    """What the rows hold, by the chosen columns or else the detected ones; None if that is not known."""
    if dataset.mix:
        found = {shape_of(DatasetDraft(part), None) or Shape.EXAMPLES for part in dataset.mix}
        return found.pop() if len(found) == 1 else None
    if (chosen := Shape.of(dataset.values)) is not Shape.EXAMPLES:
        return chosen
    if guess is None:
        return Shape.EXAMPLES if dataset.kind in {"generated", "tasks"} else None
    return Shape.PAIRS if guess.rejected else Shape.RATINGS if guess.label else Shape.EXAMPLES


def fit(dataset: DatasetDraft, guess: FieldGuess | None, chosen: Method) -> Fit | None:
    """What to say about a method and the rows; None if they suit each other or the rows are not known."""
    if guess and guess.text and chosen.uses("dataset.text_field"):
        if dataset.text("text_field") or dataset.text("response_field"):
            return None
        words = f"This dataset has text without answers. {chosen.term} can learn to continue it, without questions."
        return Fit(words, True, text=guess.text)
    shape = shape_of(dataset, guess)
    if not dataset.source or shape is None or shape in chosen.shapes:
        return None
    fitting = [one for one in in_order() if one.shapes[0] is shape]
    other, more = (fitting[0] if fitting else None), len(fitting) > 1
    if chosen.prefers:
        needs = f"{chosen.term} learns from {LEARNS[chosen.shapes[0]]}."
        has = LACKS[chosen.shapes[0]] if shape is Shape.EXAMPLES else f"This dataset has {LEARNS[shape]}."
        if not other and shape is not Shape.EXAMPLES:
            has += " Choose another dataset."
        return Fit(f"{needs} {has}", False, other, more)
    scores = Need.REWARD in chosen.needs
    if shape is Shape.PAIRS:
        does = "uses the better answers as the right ones" if scores else "learns the better answers"
        return Fit(f"This dataset has pairs. {chosen.term} {does} and ignores the worse ones.", True, other, more)
    does = "uses the bad answers as right ones too" if scores else "learns the bad answers too"
    advice = "" if other else " Remove the rows with bad answers first."
    words = f"This dataset has {LEARNS[shape]}. {chosen.term} ignores the rating and {does}.{advice}"
    return Fit(words, True, other, more)
