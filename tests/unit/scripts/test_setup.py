"""Setup reports missing tools at once, repeats only what is needed, and gives advice on failure."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import setup_checks
import setup_node
from setup_steps import Console, Step, StepFailed
from vendor import sprite

from core.settings import PROJECT

RUN = ("vendor.py", "demo_model.py")
"""Scripts that setup starts, or whose text determines whether a step is due."""


def check(path: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the setup's machine check in a copy of the scripts without anything installed."""
    scripts = path / "scripts"
    scripts.mkdir()
    (path / "static").mkdir()
    for file in (*(PROJECT / "scripts").glob("setup*.py"), *(PROJECT / "scripts" / name for name in RUN)):
        (scripts / file.name).write_bytes(file.read_bytes())
    command = [sys.executable, str(scripts / "setup.py"), "--check", *options]
    return subprocess.run(command, env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, check=False)


def test_a_missing_compiler_is_reported_within_a_second_with_the_command(tmp_path: Path) -> None:
    """Nothing is created before the compiler check."""
    empty = tmp_path / "bin"
    empty.mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = check(tmp_path, PATH=str(empty))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert answer.returncode == 1
    assert "C++ compiler" in answer.stderr
    assert "apt-get install -y g++" in answer.stderr
    assert not (tmp_path / ".venv").exists()
    # CPU time only: on a busy machine the clock shows more.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_missing_python_header_files_are_reported_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler alone cannot build what needs Python's header files."""
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    found = [one for one in setup_checks.problems(tmp_path, gpu=False, installed=False) if "header files" in one]
    assert len(found) == 1
    assert "-dev" in found[0]


def test_a_weak_sandbox_is_reported_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the installation; once installed, nothing is reported."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (line,) = setup_checks.advice()
    assert "apt-get install -y bubblewrap" in line
    (tmp_path / "bwrap").touch(mode=0o755)
    assert not list(setup_checks.advice())


def test_a_machine_with_all_that_is_needed_passes(tmp_path: Path) -> None:
    """The check changes nothing."""
    answer = check(tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    """A typo does not start an installation."""
    answer = check(tmp_path, "--rum")
    assert answer.returncode == 1
    assert "--rum" in answer.stderr


def step(tmp_path: Path, command: str, *, inputs: tuple[str, ...] = ("a",)) -> Step:
    """A step that runs one Python line."""
    return Step(
        "Trying",
        tmp_path / "stamp",
        inputs,
        lambda console: console.run([sys.executable, "-c", command]),
        "Do this instead.",
    )


def test_a_step_is_due_again_only_when_its_inputs_change(tmp_path: Path) -> None:
    """So a second start takes only seconds."""
    once = step(tmp_path, "pass")
    assert not once.done()
    with Console(tmp_path / "log") as console:
        once.run(console)
    assert once.done()
    assert not step(tmp_path, "pass", inputs=("b",)).done()


def test_a_failed_step_gives_advice_and_stays_due(tmp_path: Path) -> None:
    """The failure shows the end of the output and the advice; the log has everything."""
    failing = step(tmp_path, "print('no compiler here'); raise SystemExit(3)")
    with Console(tmp_path / "log") as console, pytest.raises(StepFailed) as failure:
        failing.run(console)
    assert failure.value.advice == "Do this instead."
    assert failure.value.tail == ["no compiler here"]
    assert not failing.done()
    assert "no compiler here" in (tmp_path / "log").read_text()


def test_an_icon_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """A wrong name in static/icons.txt fails the setup, not the page."""
    (tmp_path / "play.svg").write_text('<svg class="x"\n  width="24"\n>\n  <path d="M1 1" />\n</svg>')
    assert '<symbol id="play"' in sprite(tmp_path, ["play"])
    assert '<path d="M1 1" />' in sprite(tmp_path, ["play"])
    with pytest.raises(SystemExit, match="plaay"):
        sprite(tmp_path, ["plaay"])


@pytest.mark.parametrize(
    ("says", "taken"),
    [("v20.20.2", "own"), ("v24.1.0", "own"), ("v18.20.4", "wheel"), ("v20.9.0", "wheel"), ("garbage", "wheel")],
)
def test_the_linters_run_under_a_node_that_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, taken: str
) -> None:
    """The system's Node.js if the linters support it, otherwise the one from PyPI."""
    own = tmp_path / "bin" / "node"
    wheel = setup_node.home(tmp_path / "tools") / "bin" / "node"
    for file in (own, wheel):
        file.parent.mkdir(parents=True)
        file.write_text(f"#!/bin/sh\necho {says}\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(own.parent))
    assert setup_node.find_node(tmp_path / "tools") == (own if taken == "own" else wheel)
    wheel.unlink()
    assert setup_node.find_node(tmp_path / "tools") == (own if taken == "own" else None)
