"""Types of rewards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from core.job_rows import PartRow


class Score(NamedTuple):
    """One reward's score of one completion.

    Attributes:
        value: In [0, 1]; or :data:`NO_OPINION` itself.
        why: One sentence for a user.
    """

    value: float
    why: str


class RewardFunction(Protocol):
    """A pure function of a completion and the row it answers.

    Args:
        completion: The model's text, without the prompt.
        prompt: The question as the user's dataset has it (``row['instruction']``).
        row: ``instruction``, ``response`` (the reference answer) and every other column.
        markers and own settings: keyword arguments.
    """

    def __call__(self, completion: str, prompt: str, row: Mapping[str, Any], **params: Any) -> Score: ...


class Item(NamedTuple):
    """One completion to score, with the question and the row that it answers.

    The start of the answer in the chat template is part of the completion: see :func:`opened_by`.
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
        """Markers around reasoning: the configuration's and the usual ones of models."""
        own = (self.reasoning_start, self.reasoning_end)
        return (own, *(pair for pair in THOUGHTS if pair != own)) if self.reasoning_end else THOUGHTS

    def opened(self, text: str) -> bool:
        """Whether a text opens a solution; False if the configuration has no solution markers."""
        return bool(self.solution_start) and self.solution_start in text


THOUGHTS = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"))
"""Usual reasoning markers of models."""


def opened_by(prompt: str, markers: Markers) -> str:
    """The opening marker at the end of a rendered prompt, including whitespace; '' for none.

    The chat templates of models like DeepSeek-R1 open the reasoning themselves, so that the model's text
    begins inside it.

    >>> opened_by("<|user|>2+2?<|assistant|><think>\\n", Markers("<w>", "</w>", "<s>", "</s>"))
    '<think>\\n'
    """
    text = prompt.rstrip()
    start = next((start for start, _ in markers.thoughts if start and text.endswith(start)), "")
    return prompt[len(text) - len(start) :] if start else ""


NO_OPINION: Final = float("nan")
"""The value of a missing score. Compared by identity: any other NaN is an error."""


@dataclass(frozen=True)
class Part:
    """One component's result inside a total.

    Attributes:
        opinion: False if the reward gave no score; its score is then 0 and ignored.
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
    """The weighted sum and its parts, keyed by component name."""

    total: float
    components: dict[str, Part]

    @property
    def opinion(self) -> bool:
        """Whether any part with a weight gave a score. Otherwise ``total`` is meaningless."""
        return any(part.opinion for part in self.components.values() if part.weight)
