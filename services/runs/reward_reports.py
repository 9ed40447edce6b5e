"""Reports on reward models, and how far two of them agree on the pairs that both were tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import Conflict, NotFound
from core.job import check_id
from core.job_dir import JobDir, read_model
from core.methods import method_of
from core.reward_report import Agreement, RewardReport, agreement
from core.settings import Home
from services.runs.diagnosis import Change
from services.runs.view import RunView

MOST_COMPARED = 5
"""Other runs that a report is compared with, newest first."""


@dataclass(frozen=True)
class Compared:
    """Another run that scored some of the same held-out pairs."""

    session_id: str
    title: str
    agreement: Agreement

    def json(self) -> dict[str, Any]:
        return {"session_id": self.session_id, "title": self.title, **self.agreement.model_dump(mode="json")}


def report_of(home: Home, session_id: str) -> RewardReport | None:
    """A run's report; None if it has none, or it is damaged."""
    return read_model(JobDir(home.outputs / check_id(session_id)).reward_report, RewardReport)


def wanted_report(home: Home, session_id: str) -> RewardReport:
    """A run's report.

    Raises:
        NotFound: It has none.
    """
    found = report_of(home, session_id)
    if found is None:
        raise NotFound(
            "This run has no report on a reward model. One is written when a run with the method 'reward_model' and "
            "held-out pairs completes."
        )
    return found


def comparisons(home: Home, session_id: str, others: Sequence[tuple[str, str]]) -> tuple[Compared, ...]:
    """How far other runs agree with a run.

    Args:
        home: Location of the runs.
        session_id: The run.
        others: IDs and titles of the other runs that trained a reward model, newest first.
    """
    found: list[Compared] = []
    for other, title in others:
        if other == session_id or len(found) == MOST_COMPARED:
            continue
        paths = [JobDir(home.outputs / one).reward_report for one in (session_id, other)]
        if all(path.is_file() for path in paths):
            both = _agreement(*paths, *(path.stat().st_mtime_ns for path in paths))
            found += [Compared(other, title, both)] if both else []
    return tuple(found)


def require_scores(view: RunView) -> None:
    """Raises Conflict for a run that trains no reward model."""
    if method_of(view.config).head != "score":
        raise Conflict("This run trains a model that writes answers, not one that scores them.")


def another_seed(view: RunView) -> Change:
    """What a run of the same reward model with another seed changes: the same pairs stay held out."""
    section = view.config.get("reward_model") or {}
    was = section.get("model_seed")
    seed = was if isinstance(was, int) else int((view.config.get("training") or {}).get("seed", 0))
    return Change("reward_model.model_seed", seed + 1, was)


@lru_cache(maxsize=64)
def _agreement(first: Path, second: Path, _first_changed: int, _second_changed: int) -> Agreement | None:
    """Cached, because its interval takes a tenth of a second."""
    reports = [read_model(path, RewardReport) for path in (first, second)]
    return agreement(reports[0], reports[1]) if reports[0] and reports[1] else None
