"""What a run writes down: metric rows, groups of completions, and the trainer's progress."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from core.metrics import METRICS
from core.run import JobState
from core.run_dir import JsonlWriter, RunDir
from core.training.job.status import Status

log = logging.getLogger("tunesmith")


class Reporter:
    """Appends to ``metrics.jsonl`` and ``completions.jsonl``. Numbers that are not finite are left out.

    Args:
        run: The job's directory.
        attempt: Which start of the job this is.
    """

    def __init__(self, run: RunDir, attempt: int) -> None:
        self._metrics = JsonlWriter(run.metrics)
        self._completions = JsonlWriter(run.completions)
        self._attempt = attempt

    def close(self) -> None:
        """Nothing is written after this."""
        self._metrics.close()
        self._completions.close()

    def row(self, phase: str, step: int, values: Mapping[str, Any]) -> None:
        """One row of ``metrics.jsonl``."""
        row = {"attempt": self._attempt, "time": time.time(), "phase": phase, "step": step, **finite(values)}
        self._metrics.append(row)
        log.info("%s step %d: %s", phase, step, _short(row))

    def group(self, phase: str, step: int, values: Mapping[str, Any]) -> None:
        """One row of ``completions.jsonl``: a prompt and everything written to it."""
        self._completions.append(
            {"attempt": self._attempt, "time": time.time(), "phase": phase, "step": step, **finite(values)}
        )


def finite(value: Any) -> Any:
    """``value`` without numbers that JSON does not know: left out of mappings, None in lists."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items() if not _infinite(item) and item is not None}
    if isinstance(value, list | tuple):
        return [None if _infinite(item) else finite(item) for item in value]
    return value


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _short(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{one.key} {row[one.key]:.4g}" for one in METRICS if one.logged and one.key in row)


class Progress(TrainerCallback):
    """Follows TRL's trainer: rows, status, evaluation between steps, stop.

    Args:
        status: Where the run is; also says whether a stop was asked for.
        flush: Called with the step and TRL's own numbers, once after every optimizer step.
        evaluate_if_due: Called with the number of steps done, before the next begins.
    """

    def __init__(
        self, status: Status, flush: Callable[[int, dict[str, Any]], None], evaluate_if_due: Callable[[int], None]
    ) -> None:
        self._status = status
        self._flush = flush
        self._evaluate_if_due = evaluate_if_due
        self._started = time.perf_counter()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The phase begins, or continues after a resume."""
        self._status.begin_phase(
            JobState.TRAINING, "Training (GRPO)", step=state.global_step, max_steps=state.max_steps
        )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Between two steps, when checkpoint and rows of the last one are written."""
        self._evaluate_if_due(state.global_step)
        self._started = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A stop ends the loop here, with a checkpoint unless it was to be at once."""
        self._stop_if_asked(control)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """TRL's numbers of a step. Its closing summary has no loss and is not a row."""
        if logs and "loss" in logs:
            seconds = time.perf_counter() - self._started
            self._flush(state.global_step, {**logs, "step_time": seconds, "epoch": state.epoch or 0.0})
            self._status.stepped(state.global_step, seconds)
            self._stop_if_asked(control)

    def _stop_if_asked(self, control: TrainerControl) -> None:
        if self._status.stop_asked:
            control.should_training_stop = True
            control.should_save = not self._status.now_asked
