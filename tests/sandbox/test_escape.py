"""What untrusted code cannot do, tried a thousand times."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from core.rewards.sandbox import Limits, Sandbox, Task, protection
from core.rewards.sandbox.launch import Level, available
from tests.sandbox.attempts import LETHAL, LIES, PROBE_PRELUDE, PROBES, TOTAL
from tests.support.live import gone, until

TESTS = ["assert add(1, 2) == 3\nassert add(5, 5) == 10\nassert add(-1, 4) == 3"]
PATIENT = Limits(cpu=20, wall=40)
HASTY = Limits(cpu=1, wall=3, output=100_000)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(protection().level is None, reason="no namespaces on this machine")]


@pytest.fixture(scope="module", params=[Level.BUBBLEWRAP, Level.NAMESPACES])
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if not available(request.param):
        pytest.skip(f"{request.param} is not installed")
    sandbox = Sandbox(2, request.param)
    yield sandbox
    sandbox.close()


def test_there_are_a_thousand_attempts() -> None:
    """The list below is as long as promised, and no attempt is there twice."""
    assert TOTAL >= 1000
    assert len(set(PROBES)) == len(PROBES)
    assert len(set(LIES)) == len(LIES)


def test_no_probe_reaches_the_host(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, variable, socket, process, signal, limit or kernel interface of the host can be had."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    chunks = [PROBES[i : i + 60] for i in range(0, len(PROBES), 60)]
    tasks = [
        Task("script", f"PROBES = {list(chunk)!r}\n{PROBE_PRELUDE}", {"inputs": [""]}, limits=PATIENT)
        for chunk in chunks
    ]
    for chunk, result in zip(chunks, box.run(tasks), strict=True):
        (run,) = result["results"]
        assert "error" not in run, run
        *reached, end = run["output"].splitlines()
        assert end == f"end {len(chunk)}"
        assert not [f"{chunk[int(line.split()[0])]} → {line}" for line in reached]


def test_what_ends_or_floods_a_process_costs_its_row_alone(box: Sandbox) -> None:
    """Crashes, exits, hangs, floods of memory and output: a message each, and the next program runs."""
    after = Task("script", "print(6 * 7)", {"inputs": [""]}, limits=PATIENT)
    tasks = [task for source in LETHAL for task in (Task("script", source, {"inputs": [""]}, limits=HASTY), after)]
    results = box.run(tasks)
    for result in results[1::2]:
        assert result == {"results": [{"output": "42\n"}]}
    for source, result in zip(LETHAL, results[::2], strict=True):
        run = result["results"][0] if "results" in result else result
        assert len(json.dumps(run)) < 200_000, source


def test_the_same_in_a_reward_fails_its_row_with_a_message(box: Sandbox) -> None:
    """An own reward that hangs, crashes or exits on one row scores the others."""
    source = "def reward(completion, prompt, row):\n    exec(completion, {})\n    return 1.0\n"
    tasks = [
        Task(
            "rewards",
            source,
            {"items": [{"completion": text, "prompt": "", "row": {}} for text in (bad, "1 + 1")]},
            limits=Limits(cpu=1, wall=15, output=100_000),  # The second row must come through on a slow machine.
        )
        for bad in LETHAL[:30]
    ]
    for bad, result in zip(LETHAL[:30], box.run(tasks), strict=True):
        assert result["results"][1] == {"value": ["f", "1.0"]}, bad


def test_no_wrong_program_passes(box: Sandbox) -> None:
    """Replaced built-ins, objects equal to everything, forged messages, exits: none makes a wrong sum right."""
    tasks = [Task("tests", source, hidden={"tests": TESTS}, limits=HASTY) for source in LIES]
    for source, result in zip(LIES, box.run(tasks), strict=True):
        assert "error" in result or result["passed"] < result["total"], source


def test_a_right_program_passes_after_all_that(box: Sandbox) -> None:
    """The sandbox is as good as new after a thousand attempts."""
    assert box.run([Task("tests", "def add(a, b):\n    return a + b", hidden={"tests": TESTS}, limits=PATIENT)]) == [
        {"passed": 3, "total": 3, "messages": []}
    ]


def test_expected_values_are_nowhere_in_the_program_s_memory(box: Sandbox) -> None:
    """A program that searches its own memory for the tests finds nothing, also in the leavings of earlier tasks."""
    secret = "assert add('needle-in-the-hay', '') == 'needle-in-the-hay'"
    searching = """
import gc
needle = 'needle-in-' + 'the-hay'
own = globals()
left = [o for o in gc.get_objects() if isinstance(o, (dict, list, tuple)) and o is not own and needle in str(o)[:9999]]
def add(a, b): return None
"""
    task = Task("tests", searching, hidden={"tests": [secret, "assert len(left) <= 1"]}, limits=PATIENT)
    for result in box.run([task] * 4):
        assert result["total"] == 2
        assert result["passed"] == 1, result


def test_nothing_is_left_behind(box: Sandbox) -> None:
    """After closing, no process of the sandbox lives on."""
    box.run([Task("script", "print(1)", {"inputs": [""]})])
    pids = [guest._process.pid for guest in box._guests]
    box.close()
    until(lambda: [pid for pid in pids if not gone(pid)], lambda left: left == [])
