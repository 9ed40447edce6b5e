"""The view of a run that pages and the API show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.job_rows import MetricRow
from core.methods import method_of
from core.methods.method import JobType
from services.jobs.database import Job
from services.jobs.view import JobView


@dataclass(frozen=True)
class RunView(JobView):
    """One run as shown on pages and in the API.

    Attributes:
        title: Its name, with a suffix if another run has the same name.
        method: Key of its training method.
        job_type: The method's kind, see :class:`core.methods.method.JobType`.
        reward: Latest mean reward, or None.
        evaluations: Rows of phase ``evaluation``, in order.
        config: The complete configuration; empty in lists.
        damage: What is wrong with its files, one sentence each; empty in lists.
    """

    title: str
    method: str
    job_type: JobType
    reward: float | None
    evaluations: list[MetricRow]
    config: dict[str, Any]
    damage: list[str] = field(default_factory=list)

    @property
    def term(self) -> str:
        """The method's usual term."""
        return method_of({"method": self.method}).term

    @property
    def session_id(self) -> str:
        return self.job.id


def run_view(job: Job, queue: Sequence[str], title: str, key: str, *, with_config: bool = False) -> RunView:
    """Build the view.

    Args:
        job: From the database.
        queue: Ids of the waiting jobs, next first.
        title: Its unique title.
        key: Of its method; '' for the default one.
        with_config: Whether ``job`` was read with its configuration.
    """
    config = job.config if with_config else {}
    chosen = method_of({"method": key})
    return RunView(job.facts(queue), title, chosen.key, chosen.job_type, job.reward, job.evaluations, config)
