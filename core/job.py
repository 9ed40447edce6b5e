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
"""Largest count that databases and JavaScript represent exactly."""


class JobKind(StrEnum):
    """The kinds of jobs. Each job has a folder in ``outputs/`` or ``exports/``."""

    TRAIN = "train"
    """A training run, with an optional SFT warm-up, in ``outputs/<id>``."""
    EXPORT = "export"
    """An export of an adapter, merged model or GGUF, in ``exports/<id>``."""
    PROBE = "probe"
    """A check before training: samples and scores a few groups, in ``outputs/<id>``."""
    EVALUATION = "evaluation"
    """An evaluation: models answer the same prompts and are compared in pairs, in ``outputs/<id>``."""


class JobState(StrEnum):
    """The state of a job: ``queued → starting → running → completed``, or another final state.

    A running training job also has a phase, see :class:`JobPhase`.
    """

    QUEUED = "queued"
    """Waiting for the device."""
    STARTING = "starting"
    """The worker process is loading libraries, model and data."""
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
"""States in which a job has a worker process."""


class JobPhase(StrEnum):
    """The phases of a running training job. Other kinds have none."""

    WARM_UP = "warm_up"
    """SFT on reference answers before the method's own steps."""
    TRAIN = "train"
    """The method's own training steps."""
    EVALUATE = "evaluate"
    """Scoring the held-out rows. Afterwards the phase returns to ``train``."""


# status.json, the API and its events use one word for state and phase, as the first version did.
_RUNNING: dict[str, str] = {JobPhase.WARM_UP: "warming_up", JobPhase.TRAIN: "training", JobPhase.EVALUATE: "evaluating"}
_PHASES = {word: phase for phase, word in _RUNNING.items()}


def public_state(state: JobState, phase: str) -> str:
    """Return state and phase as the single word that API clients see.

    >>> public_state(JobState.RUNNING, "warm_up"), public_state(JobState.STOPPING, "warm_up")
    ('warming_up', 'stopping')
    """
    word = _RUNNING.get(phase) if state is JobState.RUNNING else None
    return word or str(state)


def life_of(word: str) -> tuple[str, str]:
    """Return the state and phase of a public word. The inverse of :func:`public_state`.

    >>> life_of("training"), life_of("stopped")
    (('running', 'train'), ('stopped', ''))
    """
    phase = _PHASES.get(word)
    return (str(JobState.RUNNING), str(phase)) if phase else (word, "")


class JobStatus(BaseModel):
    """``status.json``: written only by the worker, atomically.

    Attributes:
        state: The job's state. In the file, one word such as ``training`` stands for state and phase.
        phase: Its current phase, a :class:`JobPhase` for a run; '' for none.
        step: Optimizer steps done in the current phase.
        max_steps: Optimizer steps planned in the current phase; 0 while unknown.
        pid: Process id of the worker.
        pid_started: The process's start time in seconds since the epoch, from psutil, because a process id can be
            reused after a crash.
        boot: Boot id of the machine (:func:`core.process.boot`), because process ids are reused after a reboot.
        heartbeat: Seconds since the epoch, updated at least every two seconds.
        error: What went wrong and how to fix it, if the state is ``failed``.
        error_field: Path of the setting that caused the error; empty for none.
        message: The current operation, in one line ('Loading the model').
        notes: Remarks such as settings without effect on this device or skipped rows, each once.
        attempt: 1 for the first start, incremented with each resume.
        device: ``cpu`` or the GPU's name.
        seconds_per_step: Mean over the latest steps of this phase; 0 while unknown.
        checkpoint_step: Step of the checkpoint that a resume would start from, or None.
        trained_parameters: How many of the loaded model's parameters a run trains; 0 while unknown.
        parameters: All of them, including the adapter's.
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
    trained_parameters: int = Field(0, ge=0, le=LARGEST)
    parameters: int = Field(0, ge=0, le=LARGEST)

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
    """``control.json``: written only by the web process. ``now`` stops without a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stop: bool = False
    now: bool = False


def new_id() -> str:
    """Return a new id that sorts by time: ``20260131-142501-9f3a1c``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def check_id(value: str) -> str:
    """Return ``value`` if it is a well-formed id.

    Raises:
        InvalidInput: It is not well-formed, and must not be used as a path.
    """
    if not ID_PATTERN.fullmatch(str(value)):
        raise InvalidInput(
            "This is not a valid id. Ids contain only lowercase letters, digits and dashes.",
            field="session_id",
        )
    return value
