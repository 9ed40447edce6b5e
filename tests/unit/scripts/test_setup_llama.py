"""Compiling llama.cpp: without AMX, never from a differently compiled wheel, and tested at once."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import setup
import setup_llama
from setup_checks import c_compiler
from setup_steps import Console

from core.settings import PROJECT

AMX = ("__AMX_TILE__", "__AMX_INT8__", "__AMX_BF16__")


@pytest.fixture(autouse=True)
def _x86(monkeypatch: pytest.MonkeyPatch) -> None:
    """The x86 code is tested everywhere; this machine's own settings are ignored."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for name in ("CMAKE_ARGS", "CFLAGS", "CXXFLAGS", "CC", "CXX", "BUILDING_IMAGE", "PIP_NO_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)


def compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, *, knows: bool) -> None:
    """The machine's only compilers, which accept or reject the flags."""
    for name in ("cc", "c++"):
        script = folder / name
        script.write_text(f"#!/bin/sh\nexit {int(not knows)}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_amx_is_left_out_and_a_persons_own_flags_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they take precedence."""
    compiler(tmp_path, monkeypatch, knows=True)
    monkeypatch.setenv("CFLAGS", "-O1 -mamx-tile")
    assert setup_llama.environment() == {
        "CFLAGS": f"{setup_llama.WITHOUT_AMX} -O1 -mamx-tile", "CXXFLAGS": setup_llama.WITHOUT_AMX,
    }  # fmt: skip


def test_a_compiler_or_a_processor_that_knows_no_amx_gets_no_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would break the compilation."""
    compiler(tmp_path, monkeypatch, knows=False)
    assert setup_llama.environment() == {}
    compiler(tmp_path, monkeypatch, knows=True)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert setup_llama.environment() == {}
    assert setup_llama.inputs() == ("", "", "", "")


@pytest.mark.skipif(platform.machine() not in setup_llama.X86, reason="only x86 has AMX")
def test_with_the_flags_the_compiler_sees_no_amx() -> None:
    """Even if a ``-march`` with AMX follows them, as in llama.cpp's own build."""
    program = c_compiler()
    if program is None or not setup_llama.accepts(program, "c"):
        pytest.skip("no compiler on this machine supports AMX")

    def defined(*flags: str) -> list[str]:
        command = [*program.split(), *flags, "-march=sapphirerapids", "-dM", "-E", "-x", "c", os.devnull]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [name for name in AMX if name in text]

    assert defined() == list(AMX)
    assert defined(*setup_llama.WITHOUT_AMX.split()) == []


class Pip:
    """Records pip's arguments."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.env: dict[str, str] = {}

    def __call__(self, _: Any, *arguments: Any, env: dict[str, str] | None = None) -> None:
        self.told.append(tuple(map(str, arguments)))
        self.env = env or {}

    @property
    def cache(self) -> str:
        """The wheel cache in use; empty for none."""
        last = self.told[-1]
        assert "--force-reinstall" in last
        assert ("--no-cache-dir" in last) != ("--cache-dir" in last)
        return last[last.index("--cache-dir") + 1] if "--cache-dir" in last else ""


def compiled(*, fresh: bool = False) -> Pip:
    pip = Pip()
    console: Any = None
    setup_llama.compile_llama(console, pip, PROJECT / ".venv", setup.REQUIREMENTS, fresh=fresh)
    return pip


def test_a_wheel_is_taken_only_where_it_was_compiled_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other flags, compiler or processor: another cache. The same again: the same cache."""
    first = compiled()
    assert setup_llama.WITHOUT_AMX in first.env["CXXFLAGS"] or not setup_llama.accepts("c++", "c++")
    seen = {first.cache}
    assert compiled().cache == first.cache
    assert "tunesmith-" in first.cache
    monkeypatch.setenv("CXXFLAGS", "-O1")
    seen.add(compiled().cache)
    monkeypatch.setattr(setup_llama, "processor", lambda: "flags: fpu amx_tile")
    seen.add(compiled().cache)
    monkeypatch.setattr(setup_llama, "version", lambda _: "gcc 99")
    seen.add(compiled().cache)
    monkeypatch.setattr(setup_llama, "WITHOUT_AMX", "-O2")
    seen.add(compiled().cache)
    assert len(seen) == 5


def test_no_cache_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a user's own build, a forced recompilation, or a disabled pip cache."""
    assert compiled(fresh=True).cache == ""
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    assert compiled().cache == ""
    monkeypatch.delenv("PIP_NO_CACHE_DIR")
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_CUDA=on")
    assert compiled().cache == ""


def titles() -> list[str]:
    return [step.title for step in setup.make_steps(gpu=False, test=False)]


def test_the_flags_make_a_compilation_due_and_an_image_is_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image may run on another processor than the one that builds it: it is tested on first use."""
    step = next(one for one in setup.make_steps(gpu=False, test=False) if one.title.startswith("Compiling"))
    assert setup_llama.WITHOUT_AMX in step.inputs
    assert any("Testing llama.cpp" in title for title in titles())
    monkeypatch.setenv("BUILDING_IMAGE", "1")
    assert not any("Testing llama.cpp" in title for title in titles())
    assert "BUILDING_IMAGE=1" in (PROJECT / "Dockerfile").read_text()


@pytest.mark.parametrize(("heals", "compiled_again"), [(0, 0), (1, 1), (2, 1)])
def test_what_crashes_is_compiled_again_once(tmp_path: Path, heals: int, compiled_again: int) -> None:
    """A wheel or folder from another machine is fixed; what cannot be fixed is reported, and setup continues."""
    entry = tmp_path / setup_llama.ENTRY
    entry.parent.mkdir(parents=True)
    health = tmp_path / "health"
    health.write_text("0")
    entry.write_text(
        f"import sys; from pathlib import Path\nbad = int(Path({str(health)!r}).read_text()) < {heals}\n"
        "print('Crashes on: Q4_0.' if bad else 'Works.'); sys.exit(bad)\n"
    )
    again: list[str] = []

    def compile_again() -> None:
        again.append("compiled")
        health.write_text(str(len(again)))

    with Console(tmp_path / "log") as console:
        setup_llama.try_llama(console, Path(sys.executable), tmp_path, compile_again)
    assert len(again) == compiled_again
    assert ("Crashes on: Q4_0." in (tmp_path / "log").read_text().splitlines()[-1]) == (heals == 2)
