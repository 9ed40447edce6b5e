"""Generated preferences: a short and correct sum over an answer that is worse, deterministic for a seed.

Every better answer is right and short. Of four worse ones, two ramble and are wrong, one rambles and is right, and one
is short and wrong. So neither length nor correctness alone tells which is better: a model that has learned both
prefers every better answer, one that has learned only to be brief three of four.
"""

from __future__ import annotations

import random
from typing import Any

SOURCE = "generated:preferences"
COLUMNS = {"instruction_field": "question", "chosen_field": "chosen", "rejected_field": "rejected"}
"""Its mapping in a configuration."""

_OPENINGS = (
    "That is a very good question, and there are many ways to think about it.",
    "Let me think about this carefully, because sums can be tricky.",
    "Thank you for asking! I would be happy to help you with this today.",
)
_METHODS = (
    "We could count on our fingers, or draw {b} dots next to {a} dots and count all of them.",
    "We start at {a}, and then we go up {b} more, one after the other, until we are there.",
    "First we look at {a}, then we look at {b}, and then we put both of them together.",
)
_ENDINGS = (
    "After all of that, I believe that the result is {result}, but please check it yourself.",
    "So, taking everything into account, I would say that it should be about {result}.",
    "In conclusion, the number that we were looking for is {result}. I hope that this helps!",
)
_SLIPS = (-10, -2, -1, 1, 2, 10)
"""How far a wrong result is from the right one: mistakes in one digit."""


def pairs(size: int, max_operand: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows with ``question``, ``chosen`` and ``rejected``; numbers from 1 to ``max_operand``, inclusive.

    >>> [row["chosen"] for row in pairs(2, 50)]
    ['35 + 49 = 84.', '22 + 17 = 39.']
    """
    draw = random.Random(f"preferences:{seed}")  # noqa: S311 - a reproducible task, nothing secret
    rows = []
    for _ in range(size):
        a, b = draw.randint(1, max_operand), draw.randint(1, max_operand)
        wordy, wrong = draw.choice(((True, True), (True, True), (True, False), (False, True)))
        slip = draw.choice([slip for slip in _SLIPS if a + b + slip > 0]) if wrong else 0
        said = [draw.choice(texts) for texts in (_OPENINGS, _METHODS, _ENDINGS)]
        long = " ".join(said).format(a=a, b=b, result=a + b + slip)
        rows.append(
            {
                "question": f"What is {a} + {b}?",
                "chosen": f"{a} + {b} = {a + b}.",
                "rejected": long if wordy else f"{a} + {b} = {a + b + slip}.",
            }
        )
    return rows
