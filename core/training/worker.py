"""A worker process: runs one job, from ``config.json`` in its directory to a terminal ``status.json``."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from core.errors import TunesmithError
from core.job import JobKind, JobState
from core.job_dir import JobDir
from core.settings import Home, Settings
from core.training.job.status import Status, Stopped

log = logging.getLogger("tunesmith")


class Work(NamedTuple):
    """The work of one kind of job.

    Attributes:
        do: Does the work; returns the final message.
        stopped: Message after an immediate stop; ``{kept}`` describes the last checkpoint.
    """

    do: Callable[[JobDir, Home, Status], str]
    stopped: str


class Worker:
    """Runs one job and communicates only through its directory.

    Guarantees, tested by fault injection:

    - The server is not needed: if it dies and restarts, the job continues and nothing is lost.
    - ``status.json`` is refreshed at least every two seconds while the process lives, and its last state is
      ``completed``, ``stopped`` or ``failed``. Any other state without a live process with that id and start time
      means that the process was killed.
    - A row is in ``metrics.jsonl`` as soon as its step is done. A kill at any moment loses no written row, and at
      most the steps since the last checkpoint.
    - A checkpoint is complete or absent. A resumed run loads the newest and continues like an uninterrupted run:
      same data, same random numbers, same rewards on a CPU.
    - A stop (``control.json`` or SIGTERM) ends within one step with a checkpoint; ``now`` ends within one token,
      without a checkpoint.

    Args:
        folder: The job's directory.
    """

    def __init__(self, folder: Path) -> None:
        self.run_dir = JobDir(folder.resolve())
        self.status = Status(self.run_dir)
        self.home = Settings.from_env().home

    def run(self) -> int:
        """Run the job; returns the process's exit code."""
        self.status.begin()
        _quiet()
        log.info("attempt %d, pid %d", self.status.value.attempt, self.status.value.pid)
        try:
            self.status.end(JobState.COMPLETED, message=self._job())
        except Stopped as stopped:
            self.status.end(JobState.STOPPED, message=str(stopped))
        except TunesmithError as error:
            self._failed(error, error.message, error.field)
        except Exception as error:  # noqa: BLE001  # the process boundary: whatever it was is said in the status
            self._failed(error, *self._in_words(error))
        return 1 if self.status.value.state == JobState.FAILED else 0

    def _job(self) -> str:
        work = WORK[JobKind(self.run_dir.whole_config()["kind"])]
        from core.training.rollouts.generate import Interrupted

        try:
            return work.do(self.run_dir, self.home, self.status)
        except Interrupted:
            raise Stopped(f"Stopped immediately. {work.stopped.format(kept=self._kept())}") from None

    def _failed(self, error: BaseException, message: str, field: str | None) -> None:
        traceback.print_exception(error)
        log.error("%s", message)
        self.status.end(JobState.FAILED, message="Failed", error=message, error_field=field)

    def _in_words(self, error: Exception) -> tuple[str, str | None]:
        """What went wrong and what to do, with the affected setting."""
        from core.training.job.checkpoint import disk_full

        kept = self._kept()
        if disk_full(error, self.run_dir.path):
            return f"The disk is full, so the run could not continue. {kept} Free some space, then resume.", None
        if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY):
            return (
                f"There was not enough memory. {kept} Lower the batch size and raise gradient accumulation, lower "
                "the maximum answer length, turn on gradient checkpointing, or choose a smaller model."
            ), "training.batch_size"
        said = str(error).strip().rstrip(".")[:500] or "no message"
        return f"{type(error).__name__}: {said}. {kept} The log has the details.", None

    def _kept(self) -> str:
        step = self.status.value.checkpoint_step
        if step is None:
            return "No checkpoint was saved before that."
        return f"The checkpoint of step {step} was saved."


def _train(run_dir: JobDir, home: Home, status: Status) -> str:
    from core.training.train import train

    return train(run_dir, home, status)


def _probe(run_dir: JobDir, home: Home, status: Status) -> str:
    from core.training.probe import probe

    return probe(run_dir, home, status)


def _evaluate(run_dir: JobDir, home: Home, status: Status) -> str:
    from core.training.evaluation.job import evaluate

    return evaluate(run_dir, home, status)


def _export(run_dir: JobDir, home: Home, status: Status) -> str:
    from core.training.exporting.entry import export

    return export(run_dir, home, status)


WORK = {
    JobKind.TRAIN: Work(_train, "{kept} Resume continues from there."),
    JobKind.PROBE: Work(_probe, "The answers collected so far were saved, but there is no verdict."),
    JobKind.EVALUATION: Work(_evaluate, "The answers collected so far were saved. Resume continues with the rest."),
    JobKind.EXPORT: Work(_export, "No incomplete files were kept. Export again."),
}
"""Each imports what it needs when it starts: a worker only loads the libraries of its own kind."""

_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")


def _quiet() -> None:
    """Log our own lines with a timestamp, and only warnings from libraries."""
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    log.setLevel(logging.INFO)
    warnings.filterwarnings("ignore", category=FutureWarning)
