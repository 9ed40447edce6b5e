"""The llama.cpp self-test on this machine: run in processes that may crash, stored, and used."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from core import llama
from core.llama import Outcome, not_the_file
from core.settings import Home
from core.training.llama import selftest as llama_selftest
from core.training.llama.selftest import QUANTIZER, TYPES

CHILD = Path(__file__).parents[2] / "support" / "selftest_child.py"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home folder."""
    home = Home(tmp_path)
    home.make()
    return home


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The tiny models, made once."""
    return llama_selftest.write(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def _made_once(models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_selftest, "write", lambda _: models)


def outcome_of(home: Home, monkeypatch: pytest.MonkeyPatch, **env: str) -> Outcome:
    """The outcome of a self-test with simulated crashes; the stored outcome is the same or missing."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    outcome = llama_selftest.run(home, lambda _: None, CHILD)
    assert llama.read(home) in (outcome, None)
    return outcome


def test_where_nothing_dies_the_extra_buffers_stay_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every type and the quantizer were tried, and the models are deleted."""
    said: list[str] = []
    outcome = llama_selftest.run(home, said.append, CHILD)
    assert outcome.works
    assert outcome.extra_buffers
    assert outcome.words() == "Works with all quantizations."
    assert [line for line in said if line.startswith("[")] == [
        f"[{place}/{len(TYPES) + 1}] {name}" for place, name in enumerate((*TYPES, QUANTIZER), 1)
    ]
    assert sorted(path.name for path in home.cache.iterdir()) == ["llama.json"]
    monkeypatch.setattr(llama_selftest, "run", None)  # The outcome is stored: nothing is tried again.
    assert llama_selftest.ensure(home) == outcome


def test_a_crash_with_the_extra_buffers_switches_them_off(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """One crash does not hide the others, and everything is tried again the way it will be used."""
    outcome = outcome_of(home, monkeypatch, DIES="Q8_0 Q4_K IQ1_S")
    assert outcome.works
    assert not outcome.extra_buffers
    assert list(outcome.crashed) == ["Q8_0", "Q4_K", "IQ1_S"]
    assert outcome.crashed["Q4_K"] == "SIGSEGV (signal 11) at 70 tokens on 2 threads"
    assert "extra buffers turned off; with them it crashes on this processor (Q8_0, Q4_K, IQ1_S)" in outcome.words()


def test_types_that_crash_either_way_are_named_with_the_remedy(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are used; if switching the buffers off does not help, they stay on."""
    outcome = outcome_of(home, monkeypatch, DIES="Q8_0", DIES_ALWAYS="Q4_K")
    assert (outcome.extra_buffers, list(outcome.crashed), list(outcome.dead)) == (False, ["Q8_0", "Q4_K"], ["Q4_K"])
    assert not outcome.works
    assert "Crashes on: Q4_K." in outcome.words()
    assert "make llama" in outcome.words()
    monkeypatch.delenv("DIES")
    outcome = outcome_of(home, monkeypatch, DIES_ALWAYS="Q4_K")
    assert (outcome.extra_buffers, list(outcome.dead)) == (True, ["Q4_K"])


def test_a_library_of_another_processor_is_unusable(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It crashes before the first model: the remedy is to recompile it."""
    outcome = outcome_of(home, monkeypatch, DIES_AT_ONCE=str(int(signal.SIGILL)))
    assert outcome.unusable == "SIGILL (signal 4)"
    assert not outcome.works
    assert "make llama" in outcome.words()


def test_a_test_that_somebody_ended_has_no_outcome(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as by the OOM killer: this says nothing about llama.cpp, and the test runs again."""
    outcome_of(home, monkeypatch, DIES="Q8_0", SIGNAL=str(int(signal.SIGKILL)))
    assert llama.read(home) is None


def test_a_try_that_hangs_counts_as_a_crash(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is killed, and the rest is tried."""
    script = tmp_path / "hangs.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\n"
        "for name in (Path(file).stem for file in sys.argv[3:]):\n"
        "    print('try', name, flush=True)\n"
        "    time.sleep(600 if (sys.argv[1], name) == ('1', 'Q8_0') else 0)\n"
        "    print('done', name, flush=True)\n"
    )
    monkeypatch.setattr(llama_selftest, "PATIENCE", 2.0)
    outcome = llama_selftest.run(home, lambda _: None, script)
    assert outcome.crashed == {"Q8_0": "no answer"}
    assert not outcome.extra_buffers


def test_an_outcome_that_cannot_be_kept_ends_nothing(home: Home) -> None:
    """On a full disk, or if the path is blocked."""
    (home.cache / "llama.json").mkdir()
    llama.keep(home, Outcome(fingerprint=llama.fingerprint()))
    assert llama.read(home) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[]", b'{"fingerprint": 3}', b"null"])
def test_a_damaged_outcome_is_ignored(home: Home, damage: bytes) -> None:
    """It is tested again; nothing breaks."""
    (home.cache / "llama.json").write_bytes(damage)
    assert llama.read(home) is None


def test_an_outcome_of_another_machine_is_ignored(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another processor or another library: each makes the test due again."""
    llama.keep(home, Outcome(fingerprint=llama.fingerprint()))
    assert llama.read(home) is not None
    here = dict(llama.cpuinfo())
    monkeypatch.setattr(llama, "cpuinfo", lambda: {**here, "flags": "fpu amx_int8"})
    assert llama.read(home) is None
    monkeypatch.setattr(llama, "cpuinfo", lambda: here)
    assert llama.read(home) is not None
    monkeypatch.setattr(llama, "_libraries", lambda: [home.cache / "llama.json"])
    assert llama.read(home) is None


def test_a_crash_in_use_is_remembered(home: Home) -> None:
    """Only for a tested machine, and once."""
    llama.switch_off(home, "SIGSEGV (signal 11)")
    assert llama.read(home) is None
    llama.keep(home, Outcome(fingerprint=llama.fingerprint()))
    llama.switch_off(home, "SIGSEGV (signal 11)")
    llama.switch_off(home, "SIGILL (signal 4)")
    outcome = llama.read(home)
    assert outcome is not None
    assert (outcome.extra_buffers, outcome.learned) == (False, "SIGSEGV (signal 11)")
    assert "it crashed with them (SIGSEGV (signal 11))" in outcome.words()
    assert json.loads((home.cache / "llama.json").read_text())["learned"]


@pytest.mark.parametrize(
    ("outcome", "code", "types", "machine"),
    [
        ({}, 1, {"F16"}, ""),  # it said that it cannot read the file
        ({}, -signal.SIGABRT, {"F16"}, ""),  # a deliberate abort, with a file format known to work
        ({}, -signal.SIGSEGV, {"Q8_0", "F32"}, ""),
        ({"dead": {"Q8_0": "SIGSEGV"}}, -signal.SIGSEGV, {"Q8_0", "F32"}, "every file that contains Q8_0"),
        ({"dead": {"Q4_K": "SIGSEGV"}}, -signal.SIGSEGV, {"Q8_0", "F32"}, ""),
        ({}, -signal.SIGILL, set(), "compiled for another processor"),
        ({}, -signal.SIGKILL, {"Q8_0"}, "was killed"),
        ({"unusable": "SIGILL (signal 4)"}, None, set(), "does not work on this machine"),
        ({"unusable": "SIGILL (signal 4)"}, 1, set(), "does not work on this machine"),
    ],
)
def test_a_bad_file_is_distinguished_from_a_bad_machine(
    outcome: dict[str, object], code: int | None, types: set[str], machine: str
) -> None:
    """By the signal, and by whether the self-test crashed on the same number formats."""
    found = not_the_file(Outcome.model_validate({"fingerprint": "", **outcome}), code, types)
    assert machine in found
    assert bool(found) == bool(machine)
