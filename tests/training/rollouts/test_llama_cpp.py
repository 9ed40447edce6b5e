"""Rollouts by llama.cpp on the built-in model: equal to transformers, and safe if it crashes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.settings import PROJECT, Home
from core.training.gguf import adapter as gguf_adapter
from core.training.rollouts import llama_cpp
from core.training.rollouts.generate import Interrupted, Sampling, TransformersEngine
from core.training.rollouts.llama_cpp import LlamaEngine, base_gguf
from core.training.rollouts.llama_process import Child
from tests.support.live import until
from tests.training.fast_runs import adapted
from tests.training.killing import kill_in_rounds
from tests.training.worker_runs import REAL, needs_model

pytestmark = [pytest.mark.training, needs_model]
PROMPT = "<|im_start|>user\nWhat is {}?<|im_end|>\n<|im_start|>assistant\n"
SAMPLING = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any, Path]:
    """The built-in model with an adapter, its tokenizer, and its GGUF (cached between test runs)."""
    model = adapted(AutoModelForCausalLM.from_pretrained(REAL, dtype=torch.float32))
    return model, AutoTokenizer.from_pretrained(REAL), base_gguf(REAL, Home(PROJECT))


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def engine(parts: tuple[Any, Any, Path], notes: list[str], tmp_path: Path) -> Iterator[LlamaEngine]:
    made = LlamaEngine(*parts, tmp_path / "rollout", notes.append)
    yield made
    made.close()


def prompts(engine: LlamaEngine, *questions: str) -> list[list[int]]:
    return [engine.tokenizer.encode(PROMPT.format(question)) for question in questions]


def pid(engine: LlamaEngine) -> int:
    assert engine._child is not None
    return engine._child.process.pid


def test_the_same_probabilities_as_transformers(engine: LlamaEngine, notes: list[str]) -> None:
    """With a random adapter on every layer the two agree within rounding, and the adapter does matter."""
    questions = prompts(engine, "the capital of France", "3 + 4")
    before = {name: p.clone() for name, p in engine.model.named_parameters() if p.requires_grad}
    state = torch.get_rng_state()
    assert engine.check_equivalence(questions) < llama_cpp.MAX_CHECK_KL
    assert engine.by_llama
    assert notes == []
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, before[name]) for name, p in engine.model.named_parameters() if name in before)
    with torch.no_grad(), llama_cpp._random_adapter(engine.model):
        adapter = engine._trainer(questions[0])
        with engine.model.disable_adapter():
            base = engine._trainer(questions[0])
    assert llama_cpp._mean_kl([adapter], [base]) > 0.05


def test_a_wrong_mapping_is_found_and_not_used(
    engine: LlamaEngine, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the adapter arrives changed, transformers generates, and the user is told why."""
    monkeypatch.setitem(gguf_adapter.NAMES, "gate_proj", "ffn_up")
    monkeypatch.setitem(gguf_adapter.NAMES, "up_proj", "ffn_gate")
    engine.check_equivalence(prompts(engine, "the capital of France"))
    assert not engine.by_llama
    assert "transformers" in notes[0]
    assert "mean KL" in notes[0]
    assert len(engine.generate(prompts(engine, "3 + 4"), Sampling(max_new_tokens=2)).tokens[0]) <= 2


def test_rows_that_were_not_reordered_are_found(
    engine: LlamaEngine, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest possible mistake in the mapping: q and k in transformers' order."""
    monkeypatch.setattr(gguf_adapter, "_permuted", lambda rows, heads: rows)
    assert engine.check_equivalence(prompts(engine, "the capital of France")) > 10 * llama_cpp.MAX_CHECK_KL
    assert not engine.by_llama
    assert len(notes) == 1


def test_greedy_answers_equal_those_of_transformers(engine: LlamaEngine) -> None:
    """Two prompts of different length at once, each as if alone."""
    asked = prompts(engine, "the capital of France", "3 + 4")
    greedy = Sampling(max_new_tokens=12, temperature=0)
    assert engine.generate(asked, greedy).tokens == TransformersEngine.generate(engine, asked, greedy).tokens


def test_the_same_seed_writes_the_same(engine: LlamaEngine) -> None:
    """Determined by torch's random state; completions beyond the slots still come back."""
    one, other = prompts(engine, "the capital of France", "3 + 4")
    asked = [one] * 4 + [other] * 4
    torch.manual_seed(1)
    first = engine.generate(asked, SAMPLING)
    torch.manual_seed(1)
    assert engine.generate(asked, SAMPLING) == first
    assert first.log_probabilities is not None
    assert [len(known) for known in first.log_probabilities] == [len(ids) for ids in first.tokens]
    assert len({tuple(ids) for ids in first.tokens}) > 2


def test_fewer_slots_than_completions(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest waits for a slot, reads its group's prompt again if needed, and is as good."""
    monkeypatch.setattr(llama_cpp, "SLOTS", 3)
    one, other = prompts(engine, "the capital of France", "3 + 4")
    asked = [one] * 4 + [other] * 4
    greedy = Sampling(max_new_tokens=6, temperature=0)
    found = engine.generate(asked, greedy).tokens
    alone = TransformersEngine.generate(engine, [one, other], greedy).tokens
    assert found == [alone[0]] * 4 + [alone[1]] * 4


def test_answers_that_begin_alike_are_each_as_if_alone(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampled at low temperature, so that they share a prefix, split, and end at different times."""
    one, other = prompts(engine, "the capital of France", "3 + 4")
    asked = [one] * 5 + [other] * 5
    little = Sampling(max_new_tokens=12, temperature=0.4)
    torch.manual_seed(1)
    together = engine.generate(asked, little).tokens
    engine.close()
    engine._folder.mkdir()
    monkeypatch.setattr(llama_cpp, "SLOTS", 1)
    engine._shape = (0, 0)
    torch.manual_seed(1)
    alone = engine.generate(asked, little).tokens
    # The last bits may decide where a draw falls between two words.
    assert sum(one == other for one, other in zip(alone, together, strict=True)) >= len(asked) - 2
    assert len({tuple(ids) for ids in together}) > 2
    assert len({ids[0] for ids in together}) < len(asked)


def test_an_end_token_ends_one_completion(engine: LlamaEngine) -> None:
    """It is part of the completion; the others go on."""
    asked = prompts(engine, "the capital of France", "3 + 4")
    greedy = Sampling(max_new_tokens=8, temperature=0)
    whole = engine.generate(asked, greedy).tokens
    engine.end_ids = {whole[0][3]}
    ended = engine.generate(asked, greedy).tokens
    assert ended[0] == whole[0][: whole[0].index(whole[0][3]) + 1]


def test_without_the_adapter_it_is_the_base(engine: LlamaEngine) -> None:
    """Disabled in the model, the adapter is off in llama.cpp too."""
    asked = prompts(engine, "the capital of France")
    greedy = Sampling(max_new_tokens=6, temperature=0)
    with engine.model.disable_adapter():
        assert engine.generate(asked, greedy).tokens == TransformersEngine.generate(engine, asked, greedy).tokens


def test_a_killed_child_is_started_again(
    engine: LlamaEngine, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with -9 in the middle of a round: the round is returned once, and unchanged."""
    asked = prompts(engine, "the capital of France") * 8
    long = Sampling(max_new_tokens=32)
    torch.manual_seed(2)
    wanted = engine.generate(asked, long).tokens
    engine.close()
    engine._folder.mkdir()
    torch.manual_seed(2)
    kill_in_rounds(monkeypatch, {1}, worked=0.3)
    found = engine.generate(asked, long).tokens
    assert engine._crashes == 1
    assert found == wanted
    assert notes == []


def test_after_two_crashes_transformers_goes_on(
    engine: LlamaEngine, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run continues, and this is reported once."""
    asked = prompts(engine, "the capital of France") * 8
    kill_in_rounds(monkeypatch, {1, 2}, worked=0.3)
    found = engine.generate(asked, Sampling(max_new_tokens=24))
    assert len(found.tokens) == 8
    assert found.log_probabilities is None
    assert not engine.by_llama
    assert len(notes) == 1
    assert "crashed twice" in notes[0]


def test_a_round_with_a_sampler_mismatch_is_written_again(
    engine: LlamaEngine, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check finds an adapter that never reached llama.cpp, before anything is rewarded."""
    asked = prompts(engine, "the capital of France") * 2
    engine.generate(asked, SAMPLING)
    with torch.no_grad():
        for name, parameter in engine.model.named_parameters():
            if "lora_B" in name:
                parameter.mul_(4)
    monkeypatch.setattr(gguf_adapter, "write", lambda *_: None)
    try:
        found = engine.generate(asked, SAMPLING)
    finally:
        with torch.no_grad():
            for name, parameter in engine.model.named_parameters():
                if "lora_B" in name:
                    parameter.div_(4)
    assert found.log_probabilities is None
    assert "generated again by transformers" in notes[0]


def test_an_engine_that_was_fallen_back_from_is_left_alone(engine: LlamaEngine, notes: list[str]) -> None:
    """The next round uses transformers, the one after that llama.cpp again; after the third failure no more."""
    asked = prompts(engine, "3 + 4")
    brief = Sampling(max_new_tokens=2)
    for time_, known in ((1, True), (2, True), (3, False)):
        engine.fall_back(0.5)
        assert engine.generate(asked, brief).log_probabilities is None
        assert (engine.generate(asked, brief).log_probabilities is not None) == known, time_
    assert "3 rounds" in notes[-1]


def test_it_is_idle_during_training(engine: LlamaEngine) -> None:
    """Between rounds the child uses no CPU time."""
    engine.generate(prompts(engine, "3 + 4"), SAMPLING)
    child = psutil.Process(pid(engine))

    def used() -> float:
        before = child.cpu_times()
        time.sleep(1)
        after = child.cpu_times()
        return after.user + after.system - before.user - before.system

    until(used, lambda seconds: seconds <= 0.02)  # Its cleanup may take a while on a busy machine.


def test_an_immediate_stop_ends_generation(
    parts: tuple[Any, Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a token, and no process is left."""
    told: list[bool] = []

    def interrupted() -> bool:
        return bool(told)

    engine = LlamaEngine(*parts, tmp_path / "rollout", lambda _: None, interrupted)
    asked = prompts(engine, "3 + 4") * 8
    engine.generate(asked, Sampling(max_new_tokens=2))
    child = pid(engine)
    ask = Child.ask

    def told_meanwhile(child: Child, request: dict[str, Any]) -> dict[str, Any]:
        told.extend([True] if request["op"] == "generate" else [])
        return ask(child, request)

    monkeypatch.setattr(Child, "ask", told_meanwhile)
    with pytest.raises(Interrupted):
        engine.generate(asked, Sampling(max_new_tokens=400))
    assert not psutil.pid_exists(child)
    engine.close()
