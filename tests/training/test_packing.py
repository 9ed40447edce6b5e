"""Packing: rows that share a sequence do not see each other, and are learned as if they were alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from core.config import parse
from core.errors import InvalidInput
from core.job import JobState
from core.methods.sft import MIXES, PACKS, suits
from core.settings import Home
from core.training.job.status import Status
from core.training.method_rows import prepare
from core.training.methods.examples import reference_examples
from core.training.methods.loop import IGNORED, Batch, Example, cross_entropy, forward_backward
from core.training.methods.packing import PackCollator, check, columns, in_one, packs
from core.training.methods.sft import contents
from core.training.models.load import load_for_training
from tests.training.test_sft import CPU
from tests.training.worker_runs import SFT, changed, make_run, rows, work, work_until

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

PACKED = changed(
    SFT, sft__packing=True, model__lora_dropout=0.1, training__batch_size=1, training__gradient_accumulation_steps=2,
    training__max_sequence_length=128, training__max_steps=5, dataset__size=12, evaluation__holdout_fraction=0,
)  # fmt: skip
SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 256,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
OTHER_NAMES = {
    "n_layer": 2, "n_head": 4, "n_embd": 64, "num_layers": 2, "num_heads": 4, "num_local_experts": 4,
    "moe_intermediate_size": 32, "initializer_range": 0.05, "head_dim": 16,
}  # fmt: skip
"""The sizes of architectures that name them differently; set only where an architecture has the name."""
OF_TYPE: dict[str, dict[str, Any]] = {
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1, "state_size": 16},
}
CHECKED = ["bloom", "gemma3_text", "gpt2", "lfm2", "llama", "mamba", "mamba2", "mixtral", "phi3", "qwen2", "qwen3"]
"""A few of each kind. The lists in ``core/methods/sft.py`` were made by checking every architecture in them."""


def example(length: int, seed: int) -> Example:
    chance = random.Random(seed)
    ids = [chance.randrange(3, 500) for _ in range(length)]
    return Example(ids, [IGNORED] * (length // 2) + ids[length // 2 :])


def model_of(kind: str) -> Any:
    """A small random model of an architecture."""
    special = OF_TYPE.get(kind, {})
    config = AutoConfig.for_model(kind, **{**SHAPE, **special})
    for name, value in OTHER_NAMES.items():
        if hasattr(config, name) and name not in special:
            setattr(config, name, value)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("kind", CHECKED)
def test_architectures_are_listed_by_what_the_check_finds(kind: str) -> None:
    """Before a start, the lists decide; the run's own check has the last word."""
    pair = [example(20, 1), example(17, 2)]
    if kind in PACKS:
        check(model_of(kind), pair)
    else:
        assert kind in MIXES
        with pytest.raises(InvalidInput, match="mixes rows"):
            check(model_of(kind), pair)


def test_what_is_known_of_a_model_is_said_before_the_start() -> None:
    """A known leak prevents the start; an unknown architecture is checked later."""
    config = parse(PACKED)
    assert suits(config, "llama") == suits(parse(SFT), "mamba") == []
    assert [(note.field, note.level) for note in suits(config, "mamba")] == [("sft.packing", "problem")]
    assert [note.level for note in suits(config, "unheard_of")] == ["note"]


def test_packed_rows_have_the_loss_and_gradients_of_separate_ones() -> None:
    """Weighted by tokens, in a batch with padding and with rows of very different lengths."""
    model = model_of("llama")
    examples = [example(length, length) for length in (30, 4, 21, 9, 16, 2)]
    apart = forward_backward(model, [Batch.of([one], pad=0, device="cpu") for one in examples])
    wanted = {name: one.grad.clone() for name, one in model.named_parameters()}
    model.zero_grad()
    sequences = packs(examples, 48, seed=3)
    assert len(sequences) == 2
    batch = PackCollator(0)([columns(one) for one in sequences])
    assert contents(batch) == (82, 6)
    together = model(**batch, use_cache=False).loss
    together.backward()
    assert together.item() == pytest.approx(apart, abs=1e-5)
    for name, one in model.named_parameters():
        assert torch.allclose(one.grad, wanted[name], atol=1e-5), name


def test_every_row_is_packed_once_and_fits() -> None:
    """The same for the same seed; another seed mixes rows of one length differently."""
    examples = [example(2 + number % 40, number) for number in range(200)]
    first = packs(examples, 64, seed=1)
    assert all(sum(len(one.ids) for one in sequence) <= 64 for sequence in first)
    assert sorted(id(one) for sequence in first for one in sequence) == sorted(map(id, examples))
    least = sum(len(one.ids) for one in examples) / 64
    assert len(first) <= 1.05 * least
    assert packs(examples, 64, seed=1) == first != packs(examples, 64, seed=2)


def test_the_first_token_of_a_row_is_not_learned() -> None:
    """It would be predicted from another row; values per token stay with their tokens."""
    whole = in_one([Example([5, 6], [5, 6], {"weights": [1.0, 2.0]}), Example([7, 8], [7, 8], {"weights": [3.0, 4.0]})])
    assert whole == Example([5, 6, 7, 8], [IGNORED, 6, IGNORED, 8], {"weights": [1.0, 2.0, 3.0, 4.0]})


def test_padded_rows_are_counted_by_their_mask() -> None:
    """Padding is not trained on, so it is not speed either."""
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert contents({"attention_mask": mask}) == (5, 2)


def test_a_packed_run_is_resumed_exactly_and_takes_more_rows_a_step(
    models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first loss is that of the same rows unpacked; stopped in its second epoch, it continues number by number."""
    whole, halves = (make_run(models, f"packed-{name}", PACKED) for name in ("whole", "halves"))
    assert work(whole, monkeypatch, models) == JobState.COMPLETED
    assert work_until(halves, monkeypatch, models, lambda found: any(row["step"] >= 3 for row in found)) == "stopped"
    assert work(halves, monkeypatch, models) == JobState.COMPLETED
    clocks = {"row", "attempt", "time", "step_time", "tokens_per_second"}
    series = [
        [{name: value for name, value in row.items() if name not in clocks} for row in rows(run, "training")]
        for run in (whole, halves)
    ]
    assert series[0] == series[1]
    assert all(row["rows"] > 2 for row in series[0])
    # Four sequences, two a step: every second step completes an epoch.
    assert [row["epoch"] for row in series[0]] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert series[0][0]["rows"] + series[0][1]["rows"] == 12
    status = whole.read_status()
    assert status is not None
    assert any(note.startswith("Packing: 12 rows in 4 sequences") for note in status.notes)


def test_the_first_loss_is_that_of_the_unpacked_rows(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token-weighted mean over all rows, which one step takes."""
    config = changed(PACKED, model__lora_dropout=0.0, training__max_steps=1, training__batch_size=2)
    run = make_run(models, "packed-first", config)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    bare = make_run(models, "packed-bare", config)
    whole = parse(config)
    loaded = load_for_training(whole, CPU, models)
    data = prepare(whole, loaded.tokenizer, bare, models, Status(bare))
    examples = reference_examples(data.train, whole, loaded.tokenizer, max_length=128)
    batches = [Batch.of([one], pad=2, device="cpu") for one in examples]
    learned = sum(batch.learned for batch in batches)
    with torch.no_grad():
        mean = sum(float(cross_entropy(loaded.model.eval(), batch)) * batch.learned / learned for batch in batches)
    [row] = rows(run, "training")
    assert row["rows"] == len(examples)
    assert row["tokens"] == sum(len(one.ids) for one in examples)
    assert row["loss"] == pytest.approx(mean, abs=1e-4)


def test_a_model_that_mixes_rows_is_refused_before_the_first_step(
    models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its architecture is called: a llama whose positions are ignored."""
    monkeypatch.setattr("core.training.methods.packing.positions", lambda lengths: list(range(sum(lengths))))
    run = make_run(models, "packed-leak", PACKED)
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status is not None
    assert status.error_field == "sft.packing"
    assert "Turn packing off" in (status.error or "")
    assert not rows(run, "training")
