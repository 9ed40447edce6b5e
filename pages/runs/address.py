"""The state of a run's page in its address: tab, step, phase, search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from services.forms.fields import whole_number

TABS = {"overview": "Overview", "answers": "Answers", "charts": "Charts", "log": "Log", "settings": "Settings"}
"""The tabs of a run's page in order, by their name in the address."""
LONGEST_SEARCH = 200


@dataclass(frozen=True)
class Wanted:
    """What a run's page should show.

    Attributes:
        tab: A key of :data:`TABS`.
        phase: Phase of the answers: ``training`` or ``evaluation``.
        step: Step of the answers; None for the latest.
        special: Whether to show prompts with their special tokens.
        q: Text that answers or log lines must contain.
        page: Page of the answers, from 1.
        everything: Whether the log includes the messages of native libraries.
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
        """Read a query string; invalid values are ignored."""
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
        """The address with some changes; default values are left out."""
        wanted, plain = replace(self, **changes), Wanted()
        given = {
            name: int(value) if isinstance(value, bool) else value
            for name in Wanted.__dataclass_fields__
            if (value := getattr(wanted, name)) != getattr(plain, name)
        }
        return f"{path}?{urlencode(given)}" if given else path
