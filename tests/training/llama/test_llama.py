"""llama.cpp's real self-test, here and on a processor that it crashes on."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import pytest

from core import llama
from core.errors import Unavailable
from core.export import Quantization
from core.llama import Outcome
from core.settings import Home
from core.training.gguf import file as gguf_file
from core.training.llama import selftest as llama_selftest
from core.training.rollouts.llama_process import Child, ChildDied, Fallback
from tests.training.worker_runs import crashing

pytestmark = pytest.mark.training


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home folder without a stored self-test."""
    home = Home(tmp_path)
    home.make()
    return home


def test_llama_cpp_works_here(home: Home) -> None:
    """Every tensor type, one token and many, one thread and all: this is what setup promises."""
    outcome = llama_selftest.run(home)
    assert outcome.works, outcome.words()
    assert llama.read(home) == outcome


def test_where_the_extra_buffers_crash_they_are_switched_off(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor with AMX, compiled by GCC 12: each crashing type is found, and all work without."""
    crashing(monkeypatch, "buffers")
    outcome = llama_selftest.run(home)
    assert sorted(outcome.crashed) == ["Q4_0", "Q4_1", "Q4_K", "Q5_K", "Q6_K", "Q8_0"]
    assert outcome.crashed["Q8_0"] == "SIGSEGV (signal 11) at 70 tokens on 1 thread"
    assert (outcome.works, outcome.extra_buffers) == (True, False)


def test_a_wheel_of_another_processor_is_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """'Illegal instruction' on import."""
    crashing(monkeypatch, "import")
    assert llama_selftest.run(home).unusable == "SIGILL (signal 4)"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in Q8_0."""
    files = llama_selftest.write(tmp_path_factory.mktemp("models"))
    return next(file for file in files if file.stem == "Q8_0")


@pytest.fixture
def known(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """This process's home folder, on a machine that passed the self-test."""
    monkeypatch.setenv("TUNESMITH_HOME", str(home.root))
    llama.keep(home, Outcome(fingerprint=llama.fingerprint()))
    return home


def score(model: Path, fallback: Fallback, out: Path) -> None:
    """Score several tokens in a separate process."""
    with closing(Child(model, 1, lambda: False, extra_buffers=fallback.extra_buffers)) as child:
        child.ask({"op": "score", "sequences": [[1, 2, 3]], "cells": 64, "out": str(out)})


def outcome_of(home: Home) -> Outcome:
    found = llama.read(home)
    assert found is not None
    return found


def test_a_crash_is_tried_again_without_the_extra_buffers(
    model: Path, known: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works, nothing is reported, and they stay off on this machine."""
    crashing(monkeypatch, "buffers")
    fallback = Fallback()
    fallback.guarded(lambda: score(model, fallback, tmp_path / "logits.npy"))
    assert (tmp_path / "logits.npy").is_file()
    assert outcome_of(known).learned == "SIGSEGV (signal 11)"
    assert not Fallback().extra_buffers


def test_a_crash_either_way_says_nothing_about_the_machine(
    model: Path, known: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be the cause."""
    crashing(monkeypatch, "always")
    fallback = Fallback()
    with pytest.raises(ChildDied) as death:
        fallback.guarded(lambda: score(model, fallback, tmp_path / "logits.npy"))
    assert death.value.code == -signal.SIGSEGV
    assert outcome_of(known).extra_buffers


def test_where_it_cannot_be_used_no_process_is_started(model: Path, known: Home, tmp_path: Path) -> None:
    """The result of the self-test is reported instead."""
    llama.keep(known, Outcome(fingerprint=llama.fingerprint(), unusable="SIGILL (signal 4)"))
    fallback = Fallback()
    with pytest.raises(ChildDied, match=r"does not work on this machine \(SIGILL") as death:
        fallback.guarded(lambda: score(model, fallback, tmp_path / "logits.npy"))
    assert death.value.code is None


def test_a_quantizer_that_crashes_is_tried_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second crash is reported, with a remedy if the processor is the cause."""
    script = tmp_path / "child.py"
    script.write_text(
        "import os, sys\nfrom pathlib import Path\n"
        "tries = Path(sys.argv[2] + '.tries')\ntries.open('a').write('x')\n"
        "if len(tries.read_text()) <= int(Path(sys.argv[1]).read_text()):\n    os.kill(os.getpid(), 4)\n"
    )
    monkeypatch.setattr(gguf_file, "CHILD", script)
    crashes = tmp_path / "crashes"
    crashes.write_text("1")
    gguf_file.quantize(crashes, tmp_path / "one", Quantization.Q8_0, lambda: False)
    crashes.write_text("2")
    with pytest.raises(Unavailable, match=r"SIGILL.*make llama"):
        gguf_file.quantize(crashes, tmp_path / "two", Quantization.Q8_0, lambda: False)
