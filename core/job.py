"""Jobs: their kinds, states and status."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from core.errors import InvalidInput

ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

LARGEST_PID = 2**31 - 1
LARGEST = 2**53
"""Largest count. Databases and JavaScript represent it exactly."""


class JobKind(StrEnum):
    """The kind of work of a worker process. Its folder is below ``outputs/`` or ``exports/``."""

    TRAIN = "train"
    """GRPO with its optional SFT warm-up, in ``outputs/<id>``."""
    EXPORT = "export"
    """Adapter, merged model or GGUF, in ``exports/<id>``."""
    PROBE = "probe"
    """A few groups sampled and scored before a run, in ``outputs/<id>``."""
    EVALUATION = "evaluation"
    """Models answering the same prompts, compared pair by pair, in ``outputs/<id>``."""


class JobState(StrEnum):
    """The state of a job: ``queued → starting → running → completed``, or another end.

    What a running job is doing is its phase, see :class:`JobPhase`.
    """

    QUEUED = "queued"
    """Waits for the device."""
    STARTING = "starting"
    """The worker process loads libraries, model and data."""
    RUNNING = "running"
    """The worker is running."""
    STOPPING = "stopping"
    """A stop was requested; the checkpoint is being saved."""
    COMPLETED = "completed"
    STOPPED = "stopped"
    """Ended by a user, with a checkpoint to resume from."""
    FAILED = "failed"
    """Ended by an error that the worker could report."""
    CRASHED = "crashed"
    """The worker disappeared without an error: killed, out of memory, power failure."""


ENDED = frozenset({JobState.COMPLETED, JobState.STOPPED, JobState.FAILED, JobState.CRASHED})
RESUMABLE = frozenset({JobState.STOPPED, JobState.FAILED, JobState.CRASHED})
ACTIVE = tuple(state for state in JobState if state not in ENDED and state is not JobState.QUEUED)
"""States with a worker."""


class JobPhase(StrEnum):
    """The phases of a running training job. Other kinds of jobs have none."""

    WARM_UP = "warm_up"
    """SFT on reference answers before GRPO."""
    TRAIN = "train"
    """GRPO steps."""
    EVALUATE = "evaluate"
    """Scores the held-out rows; between steps the phase returns to ``train``."""


# API clients and older versions use one word for both, in status.json, the API and its events.
_RUNNING: dict[str, str] = {JobPhase.WARM_UP: "warming_up", JobPhase.TRAIN: "training", JobPhase.EVALUATE: "evaluating"}
_PHASES = {word: phase for phase, word in _RUNNING.items()}


def public_state(state: JobState, phase: str) -> str:
    """State and phase as the single value that API clients see.

    >>> public_state(JobState.RUNNING, "warm_up"), public_state(JobState.STOPPING, "warm_up")
    ('warming_up', 'stopping')
    """
    word = _RUNNING.get(phase) if state is JobState.RUNNING else None
    return word or str(state)


def life_of(word: str) -> tuple[str, str]:
    """State and phase of a public word; the inverse of :func:`public_state`.

    >>> life_of("training"), life_of("stopped")
    (('running', 'train'), ('stopped', ''))
    """
    phase = _PHASES.get(word)
    return (str(JobState.RUNNING), str(phase)) if phase else (word, "")


class JobStatus(BaseModel):
    """``status.json``: written only by the worker, atomically.

    Attributes:
        state: The job's state. In the file, words such as ``training`` stand for state and phase.
        phase: Its current phase, a :class:`JobPhase` for a run; '' for none.
        step: Optimizer steps done in the current phase.
        max_steps: Optimizer steps planned in the current phase; 0 while unknown.
        pid: Process id of the worker.
        pid_started: The process's start time in seconds since the epoch, from psutil: a process id alone can be
            reused after a crash.
        boot: Boot id of its machine (:func:`core.process.boot`): after a reboot, process ids are reused.
        heartbeat: Seconds since the epoch, refreshed at least every two seconds.
        error: What went wrong and what to do, if the state is ``failed``.
        error_field: The setting that the error is about, as a path of the configuration; empty for none.
        message: Its current operation, in one line ('Loading the model').
        notes: Added once each: settings without effect on this device, rows that were left out.
        attempt: 1 for the first start, one more for each resume.
        device: ``cpu`` or the GPU's name.
        seconds_per_step: Mean over the latest steps of this phase; 0 while unknown.
        checkpoint_step: Step of the latest checkpoint that a resume would start from, or None.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: JobState
    phase: str = ""
    step: int = Field(0, ge=0, le=LARGEST)
    max_steps: int = Field(0, ge=0, le=LARGEST)
    pid: int = Field(0, ge=0, le=LARGEST_PID)
    pid_started: float = 0.0
    boot: str = ""
    heartbeat: float = 0.0
    error: str | None = None
    error_field: str = ""
    message: str = ""
    notes: tuple[str, ...] = ()
    attempt: int = Field(1, ge=0, le=LARGEST)
    device: str = ""
    seconds_per_step: float = 0.0
    checkpoint_step: int | None = Field(None, ge=0, le=LARGEST)

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("state"), str):
            return data
        state, phase = life_of(data["state"])
        return {**data, "state": state, "phase": data.get("phase") or phase}

    @field_serializer("state")
    def _public(self, _state: JobState) -> str:
        return self.word

    @property
    def word(self) -> str:
        """State and phase as API clients see them."""
        return public_state(self.state, self.phase)


class Control(BaseModel):
    """``control.json``: written only by the web process. ``now`` skips the checkpoint."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stop: bool = False
    now: bool = False


def new_id() -> str:
    """An id that sorts by time: ``20260131-142501-9f3a1c``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def check_id(value: str) -> str:
    """Return ``value`` if it is a well-formed id.

    Raises:
        InvalidInput: It is not; such values are never looked up on disk.
    """
    if not ID_PATTERN.fullmatch(str(value)):
        raise InvalidInput(
            "This is not a valid id. Ids contain only lowercase letters, digits and dashes.",
            field="session_id",
        )
    return value
