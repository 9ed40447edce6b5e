"""How the suite runs: in parallel on the available cores, with a summary of the time used."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

BUDGETS = {
    "tests/training": 1760.0, "tests/browser": 930.0, "tests/web": 840.0, "tests/unit": 390.0, "tests/data": 250.0,
    "tests/fault": 200.0, "tests/sandbox": 100.0,
}  # fmt: skip
"""Seconds that a folder's tests may take in total in a parallel run of the whole suite on two cores: twice the measured
time, because machines differ.
"""
NEW = 60.0
"""The same for other folders."""


def pytest_configure() -> None:
    """Give each pytest process its share of the cores, for itself and its children.

    Then others take no core away during a measurement, and libraries that count cores start no more
    threads than cores.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    process = psutil.Process()
    if not worker or not hasattr(process, "cpu_affinity"):
        return
    place, of = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    cores = process.cpu_affinity()
    process.cpu_affinity(cores[place % len(cores) :: of])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip full combinations of settings unless their marker is given."""
    if "full" in (config.option.markexpr or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of the whole suite in which a folder took longer than its budget."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not whole(session.config):
        return
    if over_budget(seconds_a_folder(reporter.stats)) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Seconds per folder, those over budget, and in the last line the retried tests."""
    if hasattr(config, "workerinput"):
        return
    seconds = seconds_a_folder(terminalreporter.stats)
    if len(seconds) > 1:
        terminalreporter.section("seconds a folder, of all workers together")
        for folder, spent in sorted(seconds.items(), key=lambda item: -item[1]):
            terminalreporter.write_line(f"{spent:7.0f}  {folder}")
    for sentence in over_budget(seconds) if whole(config) else ():
        terminalreporter.write_line(sentence, red=True)
    retried = sorted({report.nodeid for report in terminalreporter.stats.get("rerun", [])})
    if retried:
        parts, colour = terminalreporter.build_summary_stats_line()
        closing = [*parts, (f"second try: {', '.join(retried)}", {"yellow": True})]
        terminalreporter.build_summary_stats_line = lambda: (closing, colour)


def whole(config: pytest.Config) -> bool:
    """Whether this is a run of the whole suite, not of selected tests."""
    chosen = config.option.keyword or config.option.markexpr not in {"", "not timed"}
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen


def seconds_a_folder(stats: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """Seconds of each folder's tests, including setup."""
    seconds: dict[str, float] = defaultdict(float)
    for reports in stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds["/".join(Path(report.nodeid.partition("::")[0]).parts[:2])] += report.duration
    return seconds


def over_budget(seconds: Mapping[str, float]) -> list[str]:
    """A sentence for each folder over its budget."""
    return [
        f"{folder} took {spent:.0f} s and may take {BUDGETS.get(folder, NEW):.0f}: make it quicker, or say in "
        "tests/support/suite.py why it may take longer."
        for folder, spent in sorted(seconds.items())
        if spent > BUDGETS.get(folder, NEW)
    ]
