"""The view of a run that pages and the API show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.job_rows import MetricRow
from services.jobs.database import Job
from services.jobs.view import JobView


@dataclass(frozen=True)
class RunView(JobView):
    """One run as shown on pages and in the API.

    Attributes:
        title: Its name, with a suffix if another run has the same name.
        reward: Latest mean reward, or None.
        evaluations: Rows of phase ``evaluation``, in order.
        config: The complete configuration; empty in lists.
        damage: What is wrong with its files, one sentence each; empty in lists.
    """

    title: str
    reward: float | None
    evaluations: list[MetricRow]
    config: dict[str, Any]
    damage: list[str] = field(default_factory=list)

    @property
    def session_id(self) -> str:
        return self.job.id


def run_view(job: Job, queue: Sequence[str], title: str, *, with_config: bool = False) -> RunView:
    """Build the view.

    Args:
        job: From the database.
        queue: Ids of the waiting jobs, next first.
        title: Its unique title.
        with_config: Whether ``job`` was read with its configuration.
    """
    config = job.config if with_config else {}
    return RunView(job.facts(queue), title, job.reward, job.evaluations, config)
