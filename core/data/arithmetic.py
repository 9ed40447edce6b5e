"""Generated arithmetic problems, deterministic for a seed on every machine."""

from __future__ import annotations

import random
from typing import Any

SOURCE = "generated:arithmetic"


def arithmetic(size: int, max_operand: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows with ``question`` and ``answer``; numbers from 1 to ``max_operand``, inclusive.

    >>> arithmetic(1, 50)
    [{'question': 'What is 21 + 12?', 'answer': '33'}]
    """
    draw = random.Random(f"arithmetic:{seed}")  # noqa: S311 - a reproducible task, nothing secret
    rows = []
    for _ in range(size):
        a, b = draw.randint(1, max_operand), draw.randint(1, max_operand)
        rows.append({"question": f"What is {a} + {b}?", "answer": str(a + b)})
    return rows
