"""How the suite runs: side by side on the cores that there are, each worker on its own; what it cost in the end."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil
import pytest


def pytest_configure() -> None:
    """Give each of several pytest processes its share of the cores, for itself and for all that it starts.

    A neighbour then takes no core away in the middle of a measurement, and libraries that count cores start no more
    threads than there are.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    process = psutil.Process()
    if not worker or not hasattr(process, "cpu_affinity"):
        return
    place, of = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    cores = process.cpu_affinity()
    process.cpu_affinity(cores[place % len(cores) :: of])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Seconds a folder, and what needed a second try."""
    if hasattr(config, "workerinput"):
        return
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds["/".join(Path(report.nodeid.partition("::")[0]).parts[:2])] += report.duration
    retried = {report.nodeid for report in terminalreporter.stats.get("rerun", [])}
    if len(seconds) > 1:
        terminalreporter.section("seconds a folder, of all workers together")
        for folder, spent in sorted(seconds.items(), key=lambda item: -item[1]):
            terminalreporter.write_line(f"{spent:7.0f}  {folder}")
    if retried:
        terminalreporter.write_line(f"Second try: {', '.join(sorted(retried))}", yellow=True)
