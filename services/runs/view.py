"""What is shown of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from services.jobs.database import Job


@dataclass(frozen=True)
class RunView:
    """One run as pages and programs see it.

    Attributes:
        session_id: Its id.
        name: What it is called.
        title: The same where no other run is called so, else with what tells it apart.
        status: A :class:`core.run.JobState`.
        step, max_steps: Optimizer steps of the present phase, done and planned (0: unknown).
        message: What it is doing now, in a line.
        notes: Things said once: settings without effect here, rows left out.
        error: What went wrong and what to do.
        created_at, started_at, ended_at: ISO 8601, UTC.
        model, dataset: As the configuration names them.
        attempt: 1 for the first start, one more for each resume; 0 before it.
        device: ``cpu`` or the GPU's name; empty before the start.
        seconds_per_step: Mean of the latest steps; 0 while unknown.
        eta_seconds: What remains of the present phase, or None.
        checkpoint_step: Step that a resume would start from, or None.
        reward: Latest mean reward, or None.
        evaluations: Rows of phase ``evaluation``, in order.
        active: Whether a worker process is at it.
        resumable: Whether Resume would be accepted.
        queue_position: 1 for the next to start; None where it does not wait.
        config: The complete configuration; empty in lists.
        damage: What is wrong with its files, a sentence each; empty in lists.
    """

    session_id: str
    name: str
    title: str
    status: str
    step: int
    max_steps: int
    message: str
    notes: list[str]
    error: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    model: str
    dataset: str
    attempt: int
    device: str
    seconds_per_step: float
    eta_seconds: float | None
    checkpoint_step: int | None
    reward: float | None
    evaluations: list[dict[str, Any]]
    active: bool
    resumable: bool
    queue_position: int | None
    config: dict[str, Any]
    damage: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return asdict(self)


def run_view(job: Job, queue: Sequence[str], title: str, *, with_config: bool = False) -> RunView:
    """Build the view.

    Args:
        job: From the catalogue.
        queue: Ids of the waiting jobs, next first.
        title: What tells it apart from other runs.
        with_config: Whether ``job`` was read with its configuration.
    """
    return RunView(
        session_id=job.id,
        name=job.name,
        title=title,
        status=job.state,
        step=job.step,
        max_steps=job.max_steps,
        message=job.message,
        notes=job.notes,
        error=job.error,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        model=job.model,
        dataset=job.dataset,
        attempt=job.attempt,
        device=job.device,
        seconds_per_step=job.seconds_per_step,
        eta_seconds=job.facts().eta_seconds,
        checkpoint_step=job.checkpoint_step,
        reward=job.reward,
        evaluations=job.evaluations,
        active=job.active,
        resumable=job.facts().resumable,
        queue_position=queue.index(job.id) + 1 if job.id in queue else None,
        config=job.config if with_config else {},
    )
