"""Checks that a reward can be earned: the reference, given as the answer, must earn it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.config import RewardSection
from core.reward import Markers
from core.rewards import CATALOGUE, compose, resolve


def earns_with_reference(section: RewardSection, markers: Markers) -> Callable[[Mapping[str, Any]], bool]:
    """A function that says whether a row's reference earns every part that checks correctness.

    No answer to a failing row can earn the reward: its reference is empty, or not what the reward compares with, such
    as a sentence instead of a number. Rewards with their own checker, which need no reference, are skipped.
    """
    parts = tuple(
        part.model_copy(update={"requires": None})
        for part in resolve(section)
        if CATALOGUE[part.name].verifies and "response" in CATALOGUE[part.name].needs
    )
    if not parts:
        return lambda _row: True
    score = compose(RewardSection(type="composite", components=parts), markers)

    thought = f"{markers.reasoning_start}{markers.reasoning_end}"

    def earns(row: Mapping[str, Any]) -> bool:
        answer = f"{thought}{markers.solution_start}{row['response']}{markers.solution_end}"
        total = score(answer, str(row["instruction"]), row)
        return all(part.score >= 1 for part in total.components.values() if part.weight > 0)

    return earns
