"""A row's answer in parts, split at control tokens in its own text, as it follows the prompt."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from core.config import DatasetSection
from core.data.chat_template import Cut
from core.data.prompts import warm_up_target
from core.dataset import Shape
from core.reward import THOUGHTS


def warm_up_parts(
    row: Mapping[str, Any], dataset: DatasetSection, opened: str, control: Collection[str]
) -> tuple[str, ...]:
    """:func:`core.data.prompts.warm_up_target` in parts, split at control tokens in the row's own text."""
    cut = Cut(control)
    marked = {name: cut(cell) if name in {"response", "full_response"} else cell for name, cell in row.items()}
    return cut.parts(warm_up_target(marked, dataset, opened))


def learned(row: Mapping[str, Any], dataset: DatasetSection, shapes: Collection[Shape]) -> tuple[str, ...]:
    """The texts that a method learns from a row: both answers of a pair, a rated answer, or the warm-up's target.

    Args:
        row: A mapped row.
        dataset: Its section.
        shapes: Those that the method takes, see :class:`core.methods.Method`.
    """
    if Shape.RATINGS in shapes and "rated" in row:
        return (str(row["rated"]),)
    if Shape.PAIRS in shapes and "rejected" in row:
        return str(row["chosen"]), str(row["rejected"])
    return (warm_up_target(row, dataset),)


def answer_parts(answer: str, opened: str, control: Collection[str]) -> tuple[str, ...]:
    """A row's whole answer as it follows the prompt, split at control tokens in it.

    Args:
        answer: Its text, with its reasoning if it has any.
        opened: The reasoning that the prompt's end opens (:func:`core.reward.opened_by`). It is not repeated; an answer
            without reasoning closes it first.
        control: Control tokens that must not be parsed.

    >>> answer_parts("<think>\\n2 and 2\\n</think>\\n\\n4", "<think>\\n", ())
    ('2 and 2\\n</think>\\n\\n4',)
    >>> answer_parts("4", "<think>\\n", ())
    ('\\n</think>\\n\\n4',)
    """
    begun = opened.strip()
    if begun and answer.startswith(begun):
        answer = answer.removeprefix(begun).lstrip("\n")
    elif begun in dict(THOUGHTS):
        answer = f"\n{dict(THOUGHTS)[begun]}\n\n{answer}"
    cut = Cut(control)
    return cut.parts(cut(answer))
