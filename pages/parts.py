"""Parts that several pages share.

Each page gets one frozen dataclass, whose fields are the template's variables, next to the function that builds it. A
test checks every template against the fields of its class.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PhaseView:
    """A phase of a run or of the demo; ``state`` is ``past``, ``now``, ``ahead`` or ``off``."""

    title: str
    text: str = ""
    state: str = ""
    word: str = ""


@dataclass(frozen=True)
class Line:
    """A title and its value, for lists of facts."""

    title: str
    value: str
