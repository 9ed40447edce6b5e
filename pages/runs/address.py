"""What of a run its page shows, as its address says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from services.forms.fields import whole_number

TABS = {"overview": "Overview", "answers": "Answers", "charts": "Charts", "log": "Log", "settings": "Settings"}
"""The tabs of a run's page in order, by what the address calls them."""
LONGEST_SEARCH = 200


@dataclass(frozen=True)
class Wanted:
    """Which tab is shown, and what of it.

    Attributes:
        tab: A key of :data:`TABS`.
        phase: Whose answers: ``training`` or ``evaluation``.
        step: Of which step; None for the latest.
        special: Whether prompts are shown with their special tokens.
        q: What answers or lines of the log must contain.
        page: Of the answers, from 1.
        everything: Whether the log has the messages of native libraries, too.
    """

    tab: str = "overview"
    phase: str = "training"
    step: int | None = None
    special: bool = False
    q: str = ""
    page: int = 1
    everything: bool = False

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """From a query string; what makes no sense is left out."""
        tab, phase = args.get("tab", ""), args.get("phase", "")
        return cls(
            tab=tab if tab in TABS else "overview",
            phase=phase if phase in {"training", "evaluation"} else "training",
            step=whole_number(args.get("step")),
            special=args.get("special") == "1",
            q=args.get("q", "").strip()[:LONGEST_SEARCH],
            page=max(1, whole_number(args.get("page")) or 1),
            everything=args.get("everything") == "1",
        )

    def url(self, path: str, **changes: Any) -> str:
        """The address of the same with some changes; what is as by default is left out."""
        wanted, plain = replace(self, **changes), Wanted()
        given = {
            name: int(value) if isinstance(value, bool) else value
            for name in Wanted.__dataclass_fields__
            if (value := getattr(wanted, name)) != getattr(plain, name)
        }
        return f"{path}?{urlencode(given)}" if given else path
