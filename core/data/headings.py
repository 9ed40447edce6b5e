"""Whether the first line of a CSV or TSV file is a header row.

The format does not say. If names and cells cannot be told apart, the user is asked: a header that is read as a row
spoils the data slightly, and a row that is read as the header is lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from core.data.names import ANSWERS, NEVER, QUESTIONS, folded

Heading = Literal["", "yes", "no", "unsure"]
"""Empty if a format keeps column names elsewhere."""
LOOKED_AT = 50
"""Rows compared with the first line."""
WIDEST = 1000
"""Most columns that are compared."""
_KNOWN = {*QUESTIONS, *ANSWERS, *NEVER, "text", "code", "name", "review", "sentiment", "comment"}
_NUMBER = re.compile(r"[-+]?[\d.,\s]*\d%?")
_NAME = re.compile(r"[^\W\d][\w .()/#-]{0,40}")
_LONG = 100


def heading_of(rows: Sequence[Sequence[str]]) -> Heading:
    """Whether the first row is a header, judged by its cells and those below.

    >>> heading_of([["question", "answer"], ["2+2?", "4"]]), heading_of([["What is 2+2?", "4"], ["What is 3+3?", "6"]])
    ('yes', 'no')
    >>> heading_of([["Paris", "France"], ["Rome", "Italy"]]), heading_of([["city", "people"], ["Rome", "2.8"]])
    ('unsure', 'yes')
    """
    if not rows:
        return "yes"
    first, below = [cell.strip() for cell in rows[0]], rows[1 : LOOKED_AT + 1]
    if len(first) > WIDEST:
        return "yes"  # the reader rejects its width before any work on it
    if any(folded(cell) in _KNOWN for cell in first) or (len(first) == 1 and not below):
        return "yes"
    votes = {_vote(cell, [row[place].strip() for row in below if place < len(row)]) for place, cell in enumerate(first)}
    if "no" in votes:
        return "no" if "yes" not in votes else "unsure"
    return "yes" if "yes" in votes else "unsure"


def _vote(name: str, cells: Sequence[str]) -> str:
    """One column's vote on its first cell: a name, a cell like the others, or undecided."""
    cells = [cell for cell in cells if cell]
    numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in cells)
    if _NUMBER.fullmatch(name):
        return "no" if numbers == len(cells) else ""
    if cells and numbers == len(cells):
        return "yes"
    asked = bool(cells) and sum(cell.endswith("?") for cell in cells) * 2 > len(cells)
    if name.endswith("?"):
        return "no" if asked or not cells else ""
    if (name and name in cells) or len(name) > _LONG or "\n" in name:
        return "no"
    longer = bool(cells) and sum(map(len, cells)) > 4 * len(cells) * len(name)
    return "yes" if _NAME.fullmatch(name) and (asked or longer) else ""
