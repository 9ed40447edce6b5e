"""Trading signals: buy, sell or hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from core.reward import Markers, Score
from core.rewards.info import Param, RewardInfo
from core.rewards.words import answer_text

_SIGNAL = re.compile(
    r"(?P<no>\b(?:not|never|avoid)\s+|n['’]t\s+)?\b(?:strong[ _-]?)?(?P<name>buy|sell|hold)\b", re.IGNORECASE
)
_PLACE = {"sell": -1, "hold": 0, "buy": 1}


def read_signal(text: str) -> str | None:
    """The one signal that a text names, or None if it names none, several or a negated one.

    >>> read_signal("Strong BUY"), read_signal("buy or sell"), read_signal("do not buy")
    ('buy', None, None)
    """
    found = {(match["no"] and "no ") or match["name"].lower() for match in _SIGNAL.finditer(text)} - {"no "}
    return found.pop() if len(found) == 1 else None


def signal(completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, next_to: float = 0.3) -> Score:
    """1 for the reference's signal, ``next_to`` for its neighbor (hold against buy or sell), 0 for the opposite.

    Several signals in one answer earn nothing.

    Args:
        next_to: What a neighbor earns.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> signal("<s>BUY</s>", "", {"response": "BUY"}, markers=m)
    Score(value=1.0, why='buy matches the reference signal.')
    >>> signal("<s>HOLD</s>", "", {"response": "BUY"}, markers=m)
    Score(value=0.3, why='hold is adjacent to the reference signal, buy.')
    >>> signal("buy sell hold", "", {"response": "BUY"}, markers=m)
    Score(value=0.0, why='No single signal was found in the answer.')
    """
    wanted, got = read_signal(str(row.get("response", ""))), read_signal(answer_text(completion, markers))
    if wanted is None:
        return Score(0.0, "The reference answer is not BUY, SELL, or HOLD, so there is nothing to compare with.")
    if got is None:
        return Score(0.0, "No single signal was found in the answer.")
    distance = abs(_PLACE[got] - _PLACE[wanted])
    if not distance:
        return Score(1.0, f"{got} matches the reference signal.")
    if distance == 1:
        return Score(next_to, f"{got} is adjacent to the reference signal, {wanted}.")
    return Score(0.0, f"{got} is the opposite of the reference signal, {wanted}.")


INFOS = (
    RewardInfo(
        "signal",
        "Correct signal (buy, sell, hold)",
        "Compares a trading signal with the reference. A neighboring signal gets partial credit.",
        True,
        ("response",),
        (
            Param(
                "next_to",
                "number",
                0.3,
                "Partial credit",
                "Score for 'hold' when 'buy' is correct.",
                minimum=0,
                maximum=0.99,
            ),
        ),
        signal,
        family="Answers",
    ),
)
