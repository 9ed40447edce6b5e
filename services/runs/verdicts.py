"""The verdict of each run, from the files in its directory: the same before and after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.config import RewardSection
from core.errors import TunesmithError
from core.evaluation import RunEvaluation
from core.job_dir import JobDir, read_model
from core.job_rows import MetricRow
from core.kept import Kept
from core.rewards import maximum
from services.jobs.readings import Readings
from services.runs.verdict import Outcome, RunVerdict, Stored, merge, verdict
from services.runs.view import RunView


class Verdicts:
    """Judges runs. Verdicts are cached until one of the run's files changes, so that a list reads no files.

    Args:
        outputs: Location of the runs' directories.
        metrics: Reads their metric rows.
    """

    def __init__(self, outputs: Path, metrics: Readings[MetricRow]) -> None:
        self._outputs, self._metrics = outputs, metrics
        self._kept: dict[str, tuple[Any, RunVerdict]] = {}

    def of(self, run: RunView) -> RunVerdict:
        """The verdict of one run. Damaged or missing files count as empty."""
        run_dir = JobDir(self._outputs / run.session_id)
        files = (run_dir.metrics, run_dir.evaluation, run_dir.config, run_dir.kept, run_dir.status)
        stamp = (
            run.job.status,
            run.job.error,
            run.job.checkpoint_step,
            *map(_stamp, files[: 5 if run.job.error else 4]),
        )
        before = self._kept.get(run.session_id)
        if before is None or before[0] != stamp:
            before = self._kept[run.session_id] = (stamp, _judged(run, run_dir, self._metrics.of(run_dir.metrics).rows))
        return before[1]


def _judged(run: RunView, run_dir: JobDir, rows: Sequence[MetricRow]) -> RunVerdict:
    given = run_dir.read_config().get("config")
    report, status = read_model(run_dir.evaluation, RunEvaluation), run_dir.read_status()
    config = given if isinstance(given, dict) else {}
    stored = Stored(
        config=config,
        best=best_of(config),
        report=report.report if report else None,
        error=run.job.error,
        error_field=status.error_field if status and run.job.error else "",
        checkpoint=run.job.checkpoint_step,
        step=run.job.step,
        kept=read_model(run_dir.kept, Kept),
    )
    try:
        return verdict(merge(rows), run.job.state, stored, run.job.phase)
    except (TypeError, ValueError, ArithmeticError, LookupError):  # values of types that a worker does not write
        return RunVerdict(Outcome.NOT_ENOUGH, "problem", "Its files are damaged, so the result is unknown.")


def best_of(config: dict[str, Any]) -> float | None:
    """The highest possible reward of an answer; None if this version no longer has the reward."""
    try:
        return maximum(RewardSection.model_validate(config.get("reward")))
    except (ValidationError, TunesmithError):
        return None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
