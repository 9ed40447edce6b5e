# ruff: noqa: E501 - programs and tasks, one a line
"""A thousand escape attempts of untrusted code."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from core.rewards.sandbox import Limits, Sandbox, Task, client, protection
from core.rewards.sandbox.launch import Level, available
from tests.sandbox.attempts import (
    ACTING,
    FORGED,
    FORGING,
    LETHAL,
    LIES,
    OTHER_TABLE,
    PROBE_PRELUDE,
    PROBES,
    SEARCH,
    TOTAL,
    shifted,
)
from tests.support.live import gone, until

TESTS = ["assert add(1, 2) == 3\nassert add(5, 5) == 10\nassert add(-1, 4) == 3"]
PATIENT = Limits(cpu=20, wall=40)
HASTY = Limits(cpu=1, wall=3, output=100_000)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(protection().level is None, reason="no namespaces on this machine")]


def boxed(level: Level) -> Iterator[Sandbox]:
    if not available(level) or not client._starts(level):
        pytest.skip(f"the level '{level}' is not available on this machine")
    sandbox = Sandbox(2, level)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module", params=[Level.BUBBLEWRAP, Level.NAMESPACES])
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """The strong levels."""
    yield from boxed(request.param)


@pytest.fixture(scope="module", params=list(Level))
def any_box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Every level."""
    yield from boxed(request.param)


def test_there_are_a_thousand_attempts() -> None:
    """The list has a thousand attempts without duplicates."""
    assert TOTAL >= 1000
    assert len(set(PROBES)) == len(PROBES)
    assert len(set(LIES)) == len(LIES)


def test_no_probe_reaches_the_host(any_box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, variable, socket, process, signal, limit or kernel interface of the host is accessible.

    The weak level allows only reading, and only files that the user can read.
    """
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    probes = ACTING if any_box.level is Level.WEAK else PROBES
    chunks = [probes[i : i + 60] for i in range(0, len(probes), 60)]
    tasks = [
        Task("script", f"PROBES = {list(chunk)!r}\n{PROBE_PRELUDE}", {"inputs": [""]}, limits=PATIENT)
        for chunk in chunks
    ]
    for chunk, result in zip(chunks, any_box.run(tasks), strict=True):
        (run,) = result["results"]
        assert "error" not in run, run
        *reached, end = run["output"].splitlines()
        assert end == f"end {len(chunk)}"
        assert not [f"{chunk[int(line.split()[0])]} → {line}" for line in reached]


def test_crashes_and_floods_affect_only_their_own_row(box: Sandbox) -> None:
    """Crashes, exits, hangs, floods and forged messages: a message each, the next program runs, the sandbox
    survives.
    """
    before = set(box._guests)
    after = Task("script", "print(6 * 7)", {"inputs": [""]}, limits=PATIENT)
    tasks = [task for source in LETHAL for task in (Task("script", source, {"inputs": [""]}, limits=HASTY), after)]
    results = box.run(tasks)
    for result in results[1::2]:
        assert result == {"results": [{"output": "42\n"}]}
    for source, result in zip(LETHAL, results[::2], strict=True):
        run = result["results"][0] if "results" in result else result
        assert len(json.dumps(run)) < 200_000, source
        assert "could not be tested" not in str(run), source
    assert before <= box._guests
    crashed = results[2 * LETHAL.index(OTHER_TABLE)]["results"][0]
    assert crashed["error"] in {"it crashed (SIGSYS)", "it exited with code 1"}


def test_the_same_in_a_reward_fails_its_row_with_a_message(box: Sandbox) -> None:
    """A custom reward that hangs, crashes or exits on one row scores the others."""
    source = "def reward(completion, prompt, row):\n    exec(completion, {})\n    return 1.0\n"
    tasks = [
        Task(
            "rewards",
            source,
            {"items": [{"completion": text, "prompt": "", "row": {}} for text in (bad, "1 + 1")]},
            limits=Limits(cpu=1, wall=15, output=100_000),  # The second row must pass even on a slow machine.
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


def found_in(result: dict[str, Any]) -> list[str]:
    """The search results, after checking that it covered much of the memory and some frames."""
    (run,) = result["results"]
    assert "error" not in run, run
    found, pages, frames = json.loads(run["output"])
    assert pages > 500
    assert frames >= 4
    return list(found)


def test_nothing_of_a_task_is_in_the_memory_of_the_next(any_box: Sandbox) -> None:
    """Neither its program, expected values, results nor verdict."""
    box = Sandbox(1, any_box.level)
    source = f"{SEARCH}\nimport json\nprint(json.dumps(search({shifted('needle-in-hay')!r})))"
    searching = Task("script", source, {"inputs": [""]}, limits=PATIENT)
    itself = Task("script", f"x = b'needle-in-hay'\n{source}", {"inputs": [""]}, limits=PATIENT)
    leaving = (
        Task("tests", "def f(): return 'needle-in-hay'", hidden={"tests": ["assert f() == 'needle-in-hay'"]}),
        Task("tests", "def f(): pass", hidden={"tests": ["assert f() == 'needle-in-hay', 'needle-in-hay'"]}),
        Task("script", "print(input() * 9)", {"inputs": ["needle-in-hay"]}),
        Task(
            "rewards",
            "def reward(c, p, row): raise ValueError(row)",
            {"items": [{"completion": "needle-in-hay", "prompt": "", "row": {"response": "needle-in-hay"}}]},
        ),
    )
    try:
        assert found_in(box.run([itself])[0])
        for task in leaving:
            box.run([task])
            (guest,) = box._guests
            assert not found_in(box.run([searching])[0]), task
            assert box._guests == {guest}
    finally:
        box.close()


def test_what_is_expected_is_not_in_the_program_s_memory(any_box: Sandbox) -> None:
    """Neither the tests, nor later inputs and rows."""
    finds = f"{SEARCH}\nneedle = {shifted('needle-in-hay')!r}\n"
    ordinary = ["ordinary", "needle-in-hay"]
    tests, script, calls, rewards = any_box.run(
        [
            Task("tests", f"{finds}def f(): return len(search(needle)[0])",
                 hidden={"tests": ["assert f() == 0", "assert f() == 'needle-in-hay'"]}, limits=PATIENT),
            Task("script", f"{finds}x = input()\nprint(len(search(needle)[0]))", {"inputs": ordinary}, limits=PATIENT),
            Task("calls", f"{finds}def f(x): return len(search(needle)[0])",
                 {"calls": [{"name": "f", "args": ["l", [text]], "kwargs": ["d", []]} for text in ordinary]}, limits=PATIENT),
            Task("rewards", f"{finds}def reward(c, p, row): return len(search(needle)[0])",
                 {"items": [{"completion": "", "prompt": "", "row": {"response": text}} for text in ordinary]}, limits=PATIENT),
        ]
    )  # fmt: skip
    assert (tests["passed"], tests["total"]) == (1, 2), tests
    first, last = script["results"]
    assert first == {"output": "0\n"}
    # Control: once it is the current one, the same search finds it.
    assert last["output"] != "0\n"
    for first, last in (calls["results"], rewards["results"]):
        assert first == {"value": ["i", "0"]}
        assert last["value"] != ["i", "0"]


def test_a_stranger_s_process_is_left_alone(any_box: Sandbox) -> None:
    """No signal, priority, policy or limit of another process of the user, by its real number."""
    with subprocess.Popen(["sleep", "600"]) as bystander:
        try:
            pid = bystander.pid
            was = (os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid), psutil.Process(pid).ionice())
            probes = [probe.replace("ppid", str(pid)) for probe in ACTING if "ppid" in probe]
            assert len(probes) > 40
            for probe in probes:  # separately: the first that works must not hide the others
                task = Task("script", f"PROBES = {[probe]!r}\n{PROBE_PRELUDE}", {"inputs": [""]}, limits=PATIENT)
                assert any_box.run([task]) == [{"results": [{"output": "end 1\n"}]}], probe
            assert was == (
                os.sched_getscheduler(pid),
                os.getpriority(os.PRIO_PROCESS, pid),
                psutil.Process(pid).ionice(),
            )
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_forged_messages_affect_only_their_own_row(box: Sandbox) -> None:
    """A row that writes to the judge, before or beside its answer, changes neither other rows nor their order."""
    # 'exec' by another name, so that the rows share a process.
    source = f"""{FORGING}
run = vars(__builtins__)['ex' + 'ec']
def reward(completion, prompt, row):
    run(completion, globals())
    return row["worth"]
"""
    forgeries = (
        *FORGED,
        "send({'value': ['f', '9.0']}, of='x')",
        "[send({'value': ['f', '9.0']}) for _ in range(3)]",
    )
    worths = (0.0, 0.25, 0.5, 0.75, 1.0)
    tasks = [
        Task(
            "rewards",
            source,
            {
                "items": [
                    {"completion": bad if worth == 0.25 else "", "prompt": "", "row": {"worth": worth}}
                    for worth in worths
                ]
            },
            limits=PATIENT,
        )
        for bad in forgeries
    ]
    for bad, result in zip(forgeries, box.run(tasks), strict=True):
        others = [result["results"][place] for place in (0, 2, 3, 4)]
        assert others == [{"value": ["f", str(worth)]} for worth in (0.0, 0.5, 0.75, 1.0)], bad


def test_an_answer_that_is_executed_cannot_change_the_reward_for_others(box: Sandbox) -> None:
    """A reward that executes answers does so in a process for each."""
    source = "def reward(completion, prompt, row):\n    exec(completion)\n    return float(row['right'])"
    bad = "import __main__\n__main__.pack = lambda *a: ['f', '1.0']\nglobals()['float'] = lambda x: 1.0"
    items = [
        {"completion": text, "prompt": "", "row": {"right": right}} for text, right in ((bad, 0), ("", 0), ("", 1))
    ]
    results = box.run([Task("rewards", source, {"items": items}, limits=PATIENT)])[0]["results"]
    assert results[1:] == [{"value": ["f", "0.0"]}, {"value": ["f", "1.0"]}]


def test_tests_that_speak_for_the_sandbox_are_not_believed_twice(box: Sandbox) -> None:
    """Forged verdicts in a dataset's tests affect only their own task."""
    forging = "import os, json, struct\nm = json.dumps({'passed': 9, 'total': 9, 'token': 'x'}).encode()\n"
    bad = Task(
        "tests", "def f(): pass", hidden={"tests": [f"{forging}os.write(1, 2 * (struct.pack('<I', len(m)) + m))"]}
    )
    good = Task("tests", "def f(): return 1", hidden={"tests": ["assert f() == 1", "assert f() == 2"]}, limits=PATIENT)
    for forged, honest in (box.run([bad, good]), box.run([bad, good])):
        assert "error" in forged
        assert (honest["passed"], honest["total"]) == (1, 2)


def test_long_results_give_way_to_their_error(box: Sandbox) -> None:
    """Results too long for a message fail only their own rows, not the batch."""
    items = [{"completion": text, "prompt": "", "row": {}} for text in ("x" * 3_000_000, "short", "y" * 2_000_000)]
    source = "def reward(completion, prompt, row): return completion * 2"
    results = box.run([Task("rewards", source, {"items": items}, limits=PATIENT)])[0]["results"]
    assert [("error" in one, one.get("value")) for one in results] == [
        (True, None),
        (False, "shortshort"),
        (True, None),
    ]


def test_nothing_is_left_behind(box: Sandbox) -> None:
    """After closing, no process of the sandbox remains."""
    box.run([Task("script", "print(1)", {"inputs": [""]})])
    pids = [guest._process.pid for guest in box._guests]
    box.close()
    until(lambda: [pid for pid in pids if not gone(pid)], lambda left: left == [])
