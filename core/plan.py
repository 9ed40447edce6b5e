"""Plans: the same method as a quick try, balanced, or thorough. Each method defines its own values.

How many steps a plan has is a choice; only GRPO's 40 for generated arithmetic were measured. So a plan's words promise
no result, and its time comes from measured steps alone (:mod:`services.runs.speeds`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BALANCED = "balanced"
"""Key of the plan that a method's suggestions follow until a user chooses another one."""
WORDS = (
    ("quick", "Quick try", "A short run that shows whether your setup works."),
    (BALANCED, "Balanced", "The suggested length of a run."),
    ("thorough", "Thorough", "Trains longest. Worth it if a shorter run was still improving."),
)
FEWEST_STEPS = 10
"""No plan has fewer, even with few rows."""
SHORTEST = 32
"""Tokens for an answer alone: room for its tags, and for what an untrained model says before it."""


@dataclass(frozen=True)
class Situation:
    """What a plan depends on.

    Attributes:
        source: The dataset's source; '' for none.
        on_gpu: Whether the run would use a GPU.
        rows: How many rows the dataset has, if known.
        lengths: (max_sequence_length, max_new_tokens) that fit the dataset's answers, if tokens were counted.
        answers_only: Whether the prompt asks for the answer alone, without reasoning before it.
    """

    source: str
    on_gpu: bool
    rows: int | None = None
    lengths: tuple[int, int] | None = None
    answers_only: bool = False

    def steps(self, per_step: int, passes: float, most: int) -> int:
        """Steps for so many passes over the rows, at most ``most``; ``most`` where the rows are not known.

        >>> Situation("x", False, rows=100).steps(2, passes=1, most=40)
        40
        >>> Situation("x", False, rows=30).steps(2, passes=1, most=40)
        15
        """
        if self.rows is None:
            return most
        return max(FEWEST_STEPS, min(most, math.ceil(self.rows * passes / per_step)))

    def room(self, sequence: int, answer: int) -> tuple[int, int]:
        """The usual lengths, or longer ones where the dataset's answers need them; shorter for answers alone.

        >>> Situation("x", False, lengths=(512, 288)).room(512, 128)
        (512, 288)
        >>> Situation("x", False, lengths=(192, 32)).room(512, 128)
        (512, 128)
        >>> Situation("x", False, lengths=(192, 16), answers_only=True).room(512, 128)
        (512, 32)
        """
        if self.lengths is None:
            return sequence, answer
        # Reasoning is not part of the reference, so its length does not tell what has to fit before the answer.
        longest = max(SHORTEST if self.answers_only else answer, self.lengths[1])
        return max(sequence, self.lengths[0] - self.lengths[1] + longest), longest


@dataclass(frozen=True)
class Plan:
    """One plan; ``values`` are by field path."""

    key: str
    title: str
    text: str
    values: Mapping[str, Any]


def plans_of(quick: Mapping[str, Any], balanced: Mapping[str, Any], thorough: Mapping[str, Any]) -> tuple[Plan, ...]:
    """The three plans, with their common names."""
    return tuple(Plan(*words, values) for words, values in zip(WORDS, (quick, balanced, thorough), strict=True))


def by_passes(situation: Situation, suggested: Mapping[str, Any]) -> tuple[Plan, ...]:
    """For methods that read every row once in a pass: one pass for a try, three, and five for a thorough run.

    Args:
        situation: Limits the steps by the device, and lengthens the sequence for long rows.
        suggested: The method's suggestions for the section ``training``.
    """
    rows = suggested["batch_size"] * suggested["gradient_accumulation_steps"]
    longest = suggested["max_sequence_length"]
    if situation.lengths and situation.source != "generated:arithmetic":
        longest = max(longest, situation.lengths[0])
    most = (30, 300, 1500) if situation.on_gpu else (10, 40, 200)
    return plans_of(
        *(
            {"training.max_steps": situation.steps(rows, passes, limit), "training.max_sequence_length": longest}
            for passes, limit in zip((1, 3, 5), most, strict=True)
        )
    )
