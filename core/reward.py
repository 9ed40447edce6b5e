"""Types of rewards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from core.job_rows import PartRow


class Score(NamedTuple):
    """What one completion earned from one reward.

    Attributes:
        value: In [0, 1]; or :data:`NO_OPINION` itself.
        why: One sentence for a user.
    """

    value: float
    why: str


class RewardFunction(Protocol):
    """A pure function of a completion and the row it answers.

    Args:
        completion: What the model wrote, without the prompt.
        prompt: The question as the user's dataset has it (``row['instruction']``).
        row: ``instruction``, ``response`` (the reference answer) and every further column.
        markers and own settings: keyword arguments.
    """

    def __call__(self, completion: str, prompt: str, row: Mapping[str, Any], **params: Any) -> Score: ...


class Item(NamedTuple):
    """One completion to score, with the question and the row that it answers.

    What the chat template had written of the answer already is part of the completion: see :func:`opened_by`.
    """

    completion: str
    prompt: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Markers:
    """The four markers of the configuration."""

    reasoning_start: str
    reasoning_end: str
    solution_start: str
    solution_end: str

    @property
    def thoughts(self) -> tuple[tuple[str, str], ...]:
        """What opens and closes a thought: the configuration's reasoning markers and the usual ones of models."""
        own = (self.reasoning_start, self.reasoning_end)
        return (own, *(pair for pair in THOUGHTS if pair != own)) if self.reasoning_end else THOUGHTS

    def opened(self, text: str) -> bool:
        """Whether a text opens a solution; False if the configuration has no solution markers."""
        return bool(self.solution_start) and self.solution_start in text


THOUGHTS = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"))
"""Markers in which models were taught to think."""


def opened_by(prompt: str, markers: Markers) -> str:
    """The opening marker with which a rendered prompt ends, white space included; '' where it ends with none.

    The chat templates of DeepSeek-R1 and its like open the thought themselves, so that the model's own text
    begins inside it.

    >>> opened_by("<|user|>2+2?<|assistant|><think>\\n", Markers("<w>", "</w>", "<s>", "</s>"))
    '<think>\\n'
    """
    text = prompt.rstrip()
    start = next((start for start, _ in markers.thoughts if start and text.endswith(start)), "")
    return prompt[len(text) - len(start) :] if start else ""


NO_OPINION: Final = float("nan")
"""A score's value where the reward has nothing to say of an answer. Known by identity: any other NaN is a fault."""


@dataclass(frozen=True)
class Part:
    """One component's result inside a total.

    Attributes:
        opinion: False if the reward had nothing to say; its score is 0 then and counts for nothing.
    """

    score: float
    weight: float
    why: str
    opinion: bool = True

    def json(self) -> PartRow:
        """JSON data; ``opinion`` only if it is False."""
        said: PartRow = {"score": self.score, "weight": self.weight, "why": self.why}
        if not self.opinion:
            said["opinion"] = False
        return said


@dataclass(frozen=True)
class Total:
    """The weighted sum and what it is made of, keyed by component name."""

    total: float
    components: dict[str, Part]

    @property
    def opinion(self) -> bool:
        """Whether any part with a weight had something to say. Where none had, ``total`` says nothing."""
        return any(part.opinion for part in self.components.values() if part.weight)
