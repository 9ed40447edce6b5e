"""The stored speed of a machine, and rough durations from made-up speeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import speed
from core.config import RunConfig, parse
from core.job_dir import write_json
from core.pace import FORWARD, Tokens
from core.settings import Home
from core.speed import HIGH, LOW, Speed, rough_seconds
from services.words import span
from tests.conftest import TINY

TOKENS = Tokens(prompt=10, reference=8)
BARE = Speed(machine="", loading=0.001, each_pass=0, learning=1, each_token=0, writing=2, by_llama=True)
"""One second per token trained on, two per token generated, and no overhead."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.make()
    return home


def known(**values: Any) -> Speed:
    return BARE.model_copy(update={"machine": speed.machine(), **values})


def config(method: str = "grpo", **training: Any) -> RunConfig:
    """10 steps with two questions of four answers each, without warm-up and evaluation."""
    base = {"max_steps": 10, "batch_size": 4, "gradient_accumulation_steps": 2, "max_new_tokens": 8}
    data = {**TINY, "method": method, "training": {**TINY["training"], **base, **training}}
    return parse({**data, "pre_training": {"enabled": False}, "evaluation": {"holdout_fraction": 0}})


def longest(config: RunConfig, found: Speed = BARE, parameters: float = 1.0, tokens: Tokens = TOKENS) -> float:
    """The upper end of the range, without its margin and without loading."""
    seconds = rough_seconds(found, config, parameters, 64, tokens)
    assert seconds
    return seconds[1] / HIGH - found.loading


def test_a_speed_is_kept_for_this_machine(home: Home) -> None:
    assert speed.read(home) is None
    speed.keep(home, known())
    assert speed.read(home) == known()
    speed.keep(home, known(machine="another"))
    assert speed.read(home) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"learning": 1}', b"\xff\xfe", b'{"machine": null}'], ids=repr)
def test_a_damaged_file_counts_as_none(home: Home, damage: bytes) -> None:
    (home.cache / "speed.json").write_bytes(damage)
    assert speed.read(home) is None


@pytest.mark.parametrize("values", [{"learning": -1.0}, {"writing": 0}, {"loading": "soon"}, {"more": 1}])
def test_impossible_numbers_count_as_none(home: Home, values: dict[str, Any]) -> None:
    write_json(home.cache / "speed.json", {**known().model_dump(), **values})
    assert speed.read(home) is None


def test_a_folder_in_place_of_the_file_counts_as_none(home: Home) -> None:
    (home.cache / "speed.json").mkdir()
    assert speed.read(home) is None


def test_other_versions_of_torch_and_other_cores_are_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = speed.machine()
    assert speed.machine() == here
    with monkeypatch.context() as other:
        other.setattr("importlib.metadata.version", lambda _: "0.0")
        assert speed.machine() != here
    with monkeypatch.context() as other:
        other.setattr("psutil.Process.cpu_affinity", lambda _: [0] * 99)
        assert speed.machine() != here
    with monkeypatch.context() as other:
        other.setattr("core.llama.cpuinfo", lambda: {"model name": "another"})
        assert speed.machine() != here


def test_learning_from_rows_costs_by_their_tokens() -> None:
    """8 rows of 18 tokens in each of 10 steps; longer ones are truncated at the limit."""
    assert longest(config("sft")) == pytest.approx(10 * 8 * 18)
    assert longest(config("sft"), parameters=0.5) == pytest.approx(10 * 8 * 18 / 2)
    assert longest(config("sft"), tokens=Tokens(500, 8)) == pytest.approx(10 * 8 * 128)
    assert longest(config("sft"), known(each_pass=3)) == pytest.approx(10 * (8 * 18 + 2 * 3))
    assert longest(config("sft", gradient_checkpointing=True)) == pytest.approx(10 * 8 * 18 * (1 + FORWARD))


def test_answers_are_written_and_learned_from() -> None:
    """Two prompts are read and trained on once, eight answers of 8 tokens generated and trained on."""
    written, learned = 2 * 10 * FORWARD + 8 * 8 * 2, 2 * 10 + 8 * 8
    assert longest(config()) == pytest.approx(10 * (written + learned))
    assert longest(config(share_prefixes=False)) == pytest.approx(10 * (written + 8 * 10 + 8 * 8))
    slots = longest(config(batch_size=32), known(each_token=5)) - longest(config(batch_size=32))
    assert slots == pytest.approx(10 * 2 * 8 * 5), "64 answers take two rounds"


def test_evaluations_and_warm_up_count() -> None:
    """Three evaluations of the 6 held-out rows out of 64, and 64 rows shown once in the warm-up."""
    bare = longest(config("sft"))
    held = config("sft").model_copy(update={"evaluation": parse(TINY).evaluation})
    assert longest(held) - bare == pytest.approx(3 * 6 * 18 * FORWARD)
    warm = config().model_copy(update={"pre_training": parse({**TINY, "pre_training": {"enabled": True}}).pre_training})
    assert longest(warm) - longest(config()) == pytest.approx(64 * 18)


def test_a_warm_up_teaches_the_references_length() -> None:
    """Without it, answers may be as long as the limit."""
    plain = config(max_new_tokens=32)
    warm = plain.model_copy(update={"pre_training": parse({**TINY, "pre_training": {"enabled": True}}).pre_training})
    with_it, without = (rough_seconds(BARE, one, 1.0, 64, TOKENS) for one in (warm, plain))
    assert with_it
    assert without
    shown = 64 * 18
    assert with_it[1] / HIGH - shown < without[1] / HIGH
    assert with_it[0] / LOW - shown < without[0] / LOW


def test_uncertain_durations_are_not_shown() -> None:
    """An unknown number of steps, a large model, another engine or number format, answers of any length."""
    assert rough_seconds(BARE, config("sft", max_steps=None), 1.0, None, TOKENS) is None
    assert rough_seconds(BARE, config(), 7.0, 64, TOKENS) is None
    assert rough_seconds(BARE, config(rollout_engine="transformers"), 1.0, 64, TOKENS) is None
    assert rough_seconds(known(by_llama=False), config(rollout_engine="transformers"), 1.0, 64, TOKENS) is not None
    half = config().model_copy(update={"model": parse({**TINY, "model": {**TINY["model"], "dtype": "bfloat16"}}).model})
    assert rough_seconds(BARE, half, 1.0, 64, TOKENS) is None
    long = config(max_new_tokens=512, max_sequence_length=1024)
    assert rough_seconds(BARE, long, 1.0, 64, TOKENS) is None
    assert rough_seconds(BARE, long, 1.0, 64, Tokens(10, 400)) is not None


def test_the_least_is_below_the_most() -> None:
    """Even if answers cannot differ in length."""
    found = rough_seconds(BARE, config("sft"), 1.0, 64, TOKENS)
    assert found
    assert found[1] / found[0] == pytest.approx(HIGH / LOW)


@pytest.mark.parametrize(
    ("least", "most", "words"),
    [
        (1, 2, "10 seconds"),
        (601, 1799, "10 to 30 minutes"),
        (3600 * 100, 3600 * 9000, "4 to 30 days"),
        (59, 60, "50 seconds to 1 minute"),
        (5400, 7200, "1.5 to 2 hours"),
    ],
)
def test_ranges_are_in_round_numbers(least: float, most: float, words: str) -> None:
    assert span(least, most) == words
