"""Supervised fine-tuning: what is learned, what is held out, and what TRL computes from the same rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from core.config import parse
from core.data.prompts import warm_up_target
from core.job import JobState
from core.job_dir import JobDir
from core.model import Device
from core.settings import Home
from core.training.arguments import known_to, trainer_arguments
from core.training.job.status import Status
from core.training.method_rows import prepare
from core.training.methods.examples import reference_examples
from core.training.methods.sft import sft_arguments
from core.training.methods.trl import EpochSampler
from core.training.models.load import load_for_training
from tests.training.worker_runs import SFT, changed, make_run, rows, work

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

CPU = Device("cpu", "cpu", 1 << 34, 1 << 33, False)


def freeze(run: JobDir, answers: list[str]) -> None:
    """Freeze rows as a first start does."""
    run.prepared.mkdir()
    mapped = [{"instruction": f"Question {number}?", "response": answer} for number, answer in enumerate(answers)]
    (run.prepared / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mapped))
    (run.prepared / "holdout.jsonl").write_text("")
    (run.prepared / "info.json").write_text("{}")


def test_the_loss_falls_on_rows_it_was_not_trained_on(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums share one format, and the format is learned first."""
    run = make_run(models, "sft-learns", changed(SFT, training__max_steps=20, training__save_steps=20))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    held = [row["loss"] for row in rows(run, "evaluation")]
    assert held[-1] < 0.7 * held[0]
    assert not run.completions.exists() or not run.completions.read_text()


@pytest.mark.parametrize("loss", ["nll", "dft"])
def test_the_losses_are_those_of_a_bare_script(models: Home, monkeypatch: pytest.MonkeyPatch, loss: str) -> None:
    """TRL's own trainer on the same rows, with the usual arguments."""
    config = changed(SFT, sft__loss_type=loss, training__max_steps=5, evaluation__holdout_fraction=0)
    run = make_run(models, f"sft-stock-{loss}", config)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    ours = [row["loss"] for row in rows(run, "training")]

    stock = make_run(models, f"sft-bare-{loss}", config)
    whole = parse(config)
    loaded = load_for_training(whole, CPU, models)
    data = prepare(whole, loaded.tokenizer, stock, models, Status(stock))
    examples = reference_examples(data.train, whole, loaded.tokenizer, max_length=whole.training.max_sequence_length)
    seen: list[float] = []
    arguments = {**trainer_arguments(whole, CPU, stock.checkpoints), "loss_type": loss, "save_strategy": "no"}
    trainer = SFTTrainer(
        model=loaded.model,
        args=SFTConfig(**known_to(SFTConfig, arguments)),
        train_dataset=Dataset.from_list([{"input_ids": one.ids, "labels": one.labels} for one in examples]),
        processing_class=loaded.tokenizer,
    )
    # The job determines the order of the rows, so that a resume repeats it.
    generator = torch.Generator().manual_seed(whole.training.seed)
    order = torch.utils.data.RandomSampler(trainer.train_dataset, generator=generator)
    monkeypatch.setattr(trainer, "_get_train_sampler", lambda *_: order)
    monkeypatch.setattr(trainer, "log", lambda logs, *_: seen.append(logs["loss"]) if "loss" in logs else None)
    trainer.train()
    assert seen == pytest.approx(ours, abs=1e-4)


def test_the_losses_are_those_of_stock_trl_from_the_same_text(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps over two epochs, where TRL gets text and does everything else itself: tokens, labels, batches, updates.

    Equal on both sides: the model with its adapter (same seed), float32, the rows as rendered prompt and answer, the
    shared arguments (learning rate, schedule, batch size, clipping), and the order of the rows, which the job draws
    from seed and epoch. TRL ends an answer with the end-of-sequence token; a chat template that writes more after it,
    such as a line break, would be trained to write that, too.
    """
    config = changed(SFT, training__max_steps=10, training__batch_size=2, evaluation__holdout_fraction=0)
    run = make_run(models, "sft-trl-ours", config)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    ours = [row["loss"] for row in rows(run, "training")]

    bare = make_run(models, "sft-trl-stock", config)
    whole = parse(config)
    loaded = load_for_training(whole, CPU, models)
    data = prepare(whole, loaded.tokenizer, bare, models, Status(bare))
    texts = [
        {"prompt": one.prompt, "completion": warm_up_target(one.row, whole.dataset, one.opened)} for one in data.train
    ]
    seen: list[float] = []
    arguments = {**trainer_arguments(whole, CPU, bare.checkpoints), "max_length": 96, "save_strategy": "no"}
    trainer = SFTTrainer(
        model=loaded.model, args=SFTConfig(**arguments), train_dataset=Dataset.from_list(texts),
        processing_class=loaded.tokenizer,
    )  # fmt: skip
    order = EpochSampler(torch.utils.data.RandomSampler(trainer.train_dataset), whole.training.seed)
    monkeypatch.setattr(trainer, "_get_train_sampler", lambda *_: order)
    monkeypatch.setattr(trainer, "log", lambda logs, *_: seen.append(logs["loss"]) if "loss" in logs else None)
    trainer.train()
    assert len(seen) == 10
    assert seen == pytest.approx(ours, abs=1e-4)


def test_answers_that_the_limit_cuts_are_counted(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a question that leaves no room for an answer is skipped."""
    config = changed(
        SFT, training__max_steps=1, training__max_sequence_length=64, training__batch_size=2,
        training__gradient_accumulation_steps=1, evaluation__holdout_fraction=0,
    )  # fmt: skip
    run = make_run(models, "sft-cut", config)
    freeze(run, ["short", "word " * 90, "short", "word " * 90])
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    status = run.read_status()
    assert status is not None
    assert any(note.startswith("2 of 4 answers are cut off at the maximum sequence") for note in status.notes)


def test_if_no_question_leaves_room_the_reason_is_reported(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(models, "sft-full", changed(SFT, training__max_sequence_length=16))
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status is not None
    assert "36 rows exceed the maximum sequence length: raise it." in (status.error or "")


@pytest.mark.parametrize(("targets", "loss"), [(["q_proj"], "chunked_nll"), (["q_proj", "lm_head"], "nll")])
def test_the_faster_loss_is_taken_where_the_output_layer_has_no_adapter(targets: list[str], loss: str) -> None:
    """It reads that layer's own weights."""
    config = parse(changed(SFT, model__target_modules=targets))
    assert sft_arguments(config, CPU, Path("/tmp/run"))["loss_type"] == loss


def test_noise_on_the_input_changes_what_is_learned(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """NEFTune, only in training: the first held-out loss is the same."""
    found = []
    for name, values in (("plain", {}), ("noise", {"sft__neftune_noise_alpha": 30.0})):
        run = make_run(models, f"sft-{name}", changed(SFT, training__max_steps=2, **values))
        assert work(run, monkeypatch, models) == JobState.COMPLETED
        found.append((rows(run, "evaluation")[0]["loss"], rows(run, "training")[0]["loss"]))
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]
