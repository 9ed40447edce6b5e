"""Writes a run's metric rows and groups of completions."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from core.job_dir import JobDir, JsonlWriter
from core.job_rows import GroupContent
from core.metrics import METRICS

log = logging.getLogger("tunesmith")


class Reporter:
    """Appends to ``metrics.jsonl`` and ``completions.jsonl``. Numbers that are not finite are left out.

    Args:
        run: The job's directory.
        attempt: Number of the job's start.
    """

    def __init__(self, run: JobDir, attempt: int) -> None:
        self._metrics = JsonlWriter(run.metrics)
        self._completions = JsonlWriter(run.completions)
        self._attempt = attempt

    def close(self) -> None:
        """Write nothing after this."""
        self._metrics.close()
        self._completions.close()

    def row(self, phase: str, step: int, values: Mapping[str, Any]) -> None:
        """Append a row to ``metrics.jsonl``."""
        row = {"attempt": self._attempt, "time": time.time(), "phase": phase, "step": step, **finite(values)}
        self._metrics.append(row)
        log.info("%s step %d: %s", phase, step, _log_line(row))

    def group(self, phase: str, step: int, values: GroupContent) -> None:
        """Append a row to ``completions.jsonl``: a prompt and its completions."""
        self._completions.append(
            {"attempt": self._attempt, "time": time.time(), "phase": phase, "step": step, **finite(values)}
        )


def finite(value: Any) -> Any:
    """``value`` without NaN and infinity: omitted from mappings, None in lists."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items() if not _infinite(item) and item is not None}
    if isinstance(value, list | tuple):
        return [None if _infinite(item) else finite(item) for item in value]
    return value


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _log_line(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{one.key} {row[one.key]:.4g}" for one in METRICS if one.logged and one.key in row)
