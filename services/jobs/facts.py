"""Facts that every kind of job has."""

from __future__ import annotations

from dataclasses import dataclass

from core.job import ENDED, JobKind, JobState, public_state


@dataclass(frozen=True)
class JobFacts:
    """A job at the time of the query. Views of runs, exports, probes and evaluations have one.

    Attributes:
        id: Its id.
        kind: What it does.
        name: Its name for users.
        state: Its state.
        phase: Its current phase, a :class:`core.job.JobPhase` for a run; '' for none.
        step, max_steps: Done and planned in the current phase; 0 planned while unknown.
        message: Its current operation, in one line.
        notes: Remarks such as settings without effect or rows left out.
        error: What went wrong and what to do.
        created_at, started_at, ended_at: ISO 8601, UTC.
        model, dataset: As named in its configuration; '' for none.
        session_id: An export's run.
        attempt: 1 for the first start, one more for each resume; 0 before it.
        device: ``cpu`` or the GPU's name; '' before the start.
        seconds_per_step: Mean of the latest steps; 0 while unknown.
        checkpoint_step: Step that a resume would start from, or None.
        resumable: Whether a resume would be accepted.
        queue_position: 1 for the next to start; None if it is not queued, or the queue was not queried.
    """

    id: str
    kind: JobKind
    name: str
    state: JobState
    phase: str
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
    session_id: str
    attempt: int
    device: str
    seconds_per_step: float
    checkpoint_step: int | None
    resumable: bool
    queue_position: int | None = None

    @property
    def status(self) -> str:
        """State and phase as one public state, for clients and pages."""
        return public_state(self.state, self.phase)

    @property
    def over(self) -> bool:
        return self.state in ENDED

    @property
    def waiting(self) -> bool:
        """Whether it is in the queue."""
        return self.state is JobState.QUEUED

    @property
    def active(self) -> bool:
        """Whether it has a worker."""
        return not self.over and not self.waiting

    @property
    def eta_seconds(self) -> float | None:
        """Estimated seconds until the current phase ends, if known."""
        if not self.active or not self.seconds_per_step or self.max_steps < self.step:
            return None
        return (self.max_steps - self.step) * self.seconds_per_step
