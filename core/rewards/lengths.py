"""Length rewards: a soft limit, and a curve that favors short answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from core.reward import Markers, Score
from core.rewards.info import Param, RewardInfo


def soft_limit(
    completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, limit: int = 400, margin: int = 100
) -> Score:
    """1 up to ``limit - margin`` words, falling linearly to 0 at ``limit`` (DAPO's soft overlong penalty). Empty
    earns 0.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> [soft_limit("word " * count, "", {}, markers=m, limit=20, margin=10).value for count in (5, 15, 30, 0)]
    [1.0, 0.5, 0.0, 0.0]
    """
    count = len(completion.split())
    if not count:
        return Score(0.0, "The answer is empty.")
    value = min(1.0, max(0.0, (limit - count) / margin))
    return Score(value, f"{count} words; the score falls from {limit - margin} words and is 0 at {limit}.")


def cosine_length(
    completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, longest: int = 400, least: float = 0.5
) -> Score:
    """From 1 for the shortest answer along half a cosine to ``least`` at ``longest`` words; 0 beyond and for an empty answer.

    Gated on a reward that checks correctness, the shorter of two right answers earns more, and a wrong one nothing.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> [round(cosine_length("word " * count, "", {}, markers=m, longest=100).value, 2) for count in (1, 50, 100, 101, 0)]
    [1.0, 0.75, 0.5, 0.0, 0.0]
    """
    count = len(completion.split())
    if not count or count > longest:
        return Score(0.0, f"{count} words; the maximum is {longest}." if count else "The answer is empty.")
    return Score(
        least + (1 - least) * (1 + math.cos(math.pi * count / longest)) / 2, f"{count} of at most {longest} words."
    )


INFOS = (
    RewardInfo(
        "soft_limit",
        "Soft length limit",
        "Full score below a length, falling to 0 at the limit. Does not check whether the answer is correct.",
        False,
        (),
        (
            Param("limit", "integer", 400, "Limit", "In words. Longer answers score 0.", minimum=1, maximum=1_000_000),
            Param(
                "margin",
                "integer",
                100,
                "Margin",
                "How many words before the limit the score starts to fall.",
                minimum=1,
                maximum=1_000_000,
            ),
        ),
        soft_limit,
        family="Format",
        thought=True,
        check=lambda params: (
            ("margin", f"must be below the limit ({params['limit']})") if params["margin"] >= params["limit"] else None
        ),
    ),
    RewardInfo(
        "cosine_length",
        "Shorter is better",
        "Shorter answers score more, along a cosine curve. Set a condition on a component that checks the answer, or the shortest answer wins.",
        False,
        (),
        (
            Param("longest", "integer", 400, "Maximum length", "In words.", minimum=1, maximum=1_000_000),
            Param(
                "least",
                "number",
                0.5,
                "Score at maximum length",
                "Score for an answer of maximum length.",
                minimum=0,
                maximum=0.99,
            ),
        ),
        cosine_length,
        family="Format",
        thought=True,
    ),
)
