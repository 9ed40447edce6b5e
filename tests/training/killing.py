"""Kills the generating process in the middle of a round, so that tests need no timing.

Also a worker's entry point: ``python -P killing.py job <folder> <round> …`` is a worker whose child is killed in
those rounds; without a round it is killed itself, with its whole group, shortly after its fifth step.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest


def kill_in_rounds(patch: pytest.MonkeyPatch, rounds: set[int], worked: float = 0.01) -> None:
    """Kill the child during some of the requests to generate.

    Args:
        patch: Changes :class:`core.training.rollouts.llama_process.Child`.
        rounds: Which requests, counted from 1; a repeated one counts again.
        worked: Seconds of CPU time spent on the request by then.
    """
    from core.training.rollouts.llama_process import Child

    ask, line = Child.ask, Child._line
    asked: list[Child] = []
    doomed: set[Child] = set()

    def counted(child: Child, request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "generate":
            asked.append(child)
            if len(asked) in rounds:
                doomed.add(child)
        return ask(child, request)

    def ended(child: Child) -> bytes:
        if child in doomed:
            doomed.discard(child)
            _kill(child, worked)
        return line(child)

    patch.setattr(Child, "ask", counted)
    patch.setattr(Child, "_line", ended)


def _kill(child: Any, worked: float) -> None:
    process, out = psutil.Process(child.process.pid), child._out.fileno()
    before = process.cpu_times().user
    while process.cpu_times().user < before + worked and not select.select([out], [], [], 0)[0]:
        time.sleep(0.005)
    child.process.kill()
    child.process.wait()
    while os.read(out, 1 << 20):  # On a fast machine the round may be over: its result has not arrived.
        pass


def kill_after(patch: pytest.MonkeyPatch, steps: int) -> None:
    """Kill this process and its group up to a second after a training step, and before three more are done."""
    from core.job_dir import JsonlWriter

    append = JsonlWriter.append
    killer = threading.Timer(random.random(), os.killpg, (os.getpid(), signal.SIGKILL))
    done: list[Any] = []

    def counted(writer: JsonlWriter, row: dict[str, Any]) -> dict[str, Any]:
        numbered = append(writer, row)
        if row["phase"] == "training" and "loss" in row:
            done.append(row["step"])
            if len(done) == steps:
                killer.start()
            if len(done) == steps + 3:
                killer.join()
        return numbered

    patch.setattr(JsonlWriter, "append", counted)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from core.training.worker import Worker

    if sys.argv[3:]:
        kill_in_rounds(pytest.MonkeyPatch(), {int(number) for number in sys.argv[3:]})
    else:
        kill_after(pytest.MonkeyPatch(), 5)
    sys.exit(Worker(Path(sys.argv[2])).run())
