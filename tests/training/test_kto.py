"""KTO: the order of answers, what TRL computes from the same rows, held-out answers, and what it refuses."""

from __future__ import annotations

import doctest
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl import KTOConfig, KTOTrainer

from core.config import parse
from core.dataset import Shape
from core.job import JobState
from core.job_dir import JobDir
from core.methods.kto import KtoSection, balanced, balancing_weights
from core.model import Device
from core.settings import Home
from core.training.arguments import known_to, trainer_arguments
from core.training.job.status import Status
from core.training.method_rows import Item, prepare
from core.training.methods import answers as answers_module
from core.training.methods.answers import Answer, MixedOrder, both_kinds, rated
from core.training.methods.examples import end_of_turn
from core.training.methods.kto import Measured, comparisons, kto_arguments, summed_up
from core.training.methods.trl import EpochSampler
from core.training.models.load import load_for_training
from tests.training.worker_runs import SFT, changed, made_dataset, make_run, rows, work

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

CPU = Device("cpu", "cpu", 1 << 34, 1 << 33, False)


def settings(home: Home, shape: Shape = Shape.RATINGS, **values: Any) -> dict[str, Any]:
    return changed({**SFT, "method": "kto", "dataset": made_dataset(home, shape)}, **values)


def order(good: list[bool], batch: int, epoch: int = 0, seed: int = 3) -> list[int]:
    sampler = EpochSampler(MixedOrder(good, batch), seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def answer(good: bool, item: Item, change: float, drift: float | None = None) -> Measured:
    return Measured(Answer(item, [1], good, False), -2.0, change, drift)


def single(question: str = "q") -> Item:
    return Item({"instruction": question, "rated": "a", "label": True}, "", [1])


@pytest.mark.parametrize(
    ("good", "bad", "batch"), [(20, 20, 4), (30, 10, 4), (9, 1, 5), (1, 40, 8), (13, 24, 6), (2, 2, 2)]
)
def test_every_batch_has_the_share_of_good_answers(good: int, bad: int, batch: int) -> None:
    """Rounded up or down; no answer comes twice, and every one comes in some epoch."""
    kinds = [True] * good + [False] * bad
    seen = set()
    for epoch in range(20):
        places = order(kinds, batch, epoch)
        assert len(places) == len(set(places)) == (good + bad) // batch * batch
        share = batch * good / (good + bad)
        for start in range(0, len(places), batch):
            assert abs(sum(kinds[place] for place in places[start : start + batch]) - share) < 1
        seen |= set(places)
    assert seen == set(range(good + bad))


def test_an_epochs_order_depends_on_seed_and_epoch_alone() -> None:
    """So that a resumed run repeats it."""
    kinds = [place % 3 == 0 for place in range(30)]
    assert order(kinds, 5, 2) == order(kinds, 5, 2)
    assert order(kinds, 5, 2) != order(kinds, 5, 1)
    assert order(kinds, 5, 2) != order(kinds, 5, 2, seed=4)


@pytest.mark.parametrize(
    ("shape", "loss"), [(Shape.RATINGS, "kto"), (Shape.PAIRS, "kto"), (Shape.RATINGS, "apo_zero_unpaired")]
)
def test_the_rows_are_those_of_a_bare_script(
    models: Home, monkeypatch: pytest.MonkeyPatch, shape: Shape, loss: str
) -> None:
    """TRL's own trainer, tokenization included, on the same answers in the same order."""
    config = settings(
        models, shape, kto__loss_type=loss, kto__desirable_weight=1.5, training__max_steps=10,
        training__batch_size=2, training__gradient_accumulation_steps=1, evaluation__holdout_fraction=0,
    )  # fmt: skip
    run = make_run(models, f"kto-ours-{shape}-{loss}", config)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    ours = rows(run, "training")

    bare = make_run(models, f"kto-bare-{shape}-{loss}", config)
    whole = parse(config)
    loaded = load_for_training(whole, CPU, models)
    data = prepare(whole, loaded.tokenizer, bare, models, Status(bare))
    end = end_of_turn(loaded.tokenizer)
    said = [(item.prompt, text + end, good) for item in data.train for text, good in rated(item.row)]
    mixed = [said[place] for place in order([good for _, _, good in said], 2, seed=whole.training.seed)]
    arguments = {
        **trainer_arguments(whole, CPU, bare.checkpoints), "save_strategy": "no", "loss_type": loss,
        "desirable_weight": 1.5, "max_length": whole.training.max_sequence_length,
    }  # fmt: skip
    seen: list[dict[str, float]] = []
    trainer = KTOTrainer(
        model=loaded.model,
        args=KTOConfig(**known_to(KTOConfig, arguments)),
        train_dataset=Dataset.from_list(
            [dict(zip(("prompt", "completion", "label"), one, strict=True)) for one in mixed]
        ),
        processing_class=loaded.tokenizer,
    )
    log = trainer.log

    def noted(logs: dict[str, float], *rest: Any) -> None:
        log(logs, *rest)  # it adds its own numbers to the dictionary
        seen.append(logs)

    monkeypatch.setattr(trainer, "log", noted)
    trainer.train()
    theirs = [logs for logs in seen if "loss" in logs]
    names = {"loss": "loss", "rewards/margins": "reward_margin", "rewards/chosen": "reward_chosen"}
    names |= {"logps/rejected": "logps_rejected", "grad_norm": "grad_norm"} | ({"kl": "kl"} if loss == "kto" else {})
    assert len(theirs) == len(ours) == 10
    for name, mine in names.items():
        assert [row[mine] for row in ours] == pytest.approx([logs[name] for logs in theirs], abs=1e-4), name
    assert any(row["reward_margin"] > 0.001 for row in ours)
    assert ("kl" in ours[0]) is (loss == "kto")


def test_a_resume_in_a_later_epoch_repeats_its_order(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of the second half equal those of the run that was not stopped."""
    config = settings(
        models, dataset__max_samples=12, training__max_steps=8, training__batch_size=4,
        training__gradient_accumulation_steps=1, training__save_steps=7, evaluation__holdout_fraction=0,
    )  # fmt: skip
    run = make_run(models, "kto-later", config)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    before = rows(run, "training")[-1]
    assert (before["step"], before["epoch"]) == (8, pytest.approx(8 / 3))
    shutil.rmtree(run.checkpoints / "checkpoint-8")
    Status(run).update(state=JobState.STOPPED, checkpoint_step=7)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    again = rows(run, "training")[-1]
    assert again["attempt"] > before["attempt"]
    assert [again[name] for name in ("step", "loss", "kl")] == [before[name] for name in ("step", "loss", "kl")]


def test_held_out_answers_are_ranked_and_their_loss_is_trls(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrained, half of the comparisons are won and the loss is a half; trained, good answers rank higher."""
    config = settings(
        models, Shape.PAIRS, training__max_steps=12, training__save_steps=12, training__learning_rate=0.02,
        evaluation__max_prompts=8,
    )  # fmt: skip
    run = make_run(models, "kto-held", config)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    first, *_, last = rows(run, "evaluation")
    assert (first["preference_accuracy"], first["reward_margin"], first["kl"], first["loss"]) == (0.5, 0, 0, 0.5)
    assert first["samples"] == len(json_lines(run.prepared / "holdout.jsonl"))
    assert last["preference_accuracy"] > 0.9
    assert last["reward_margin"] == pytest.approx(last["reward_chosen"] - last["reward_rejected"])
    assert last["accuracy_change"] > 0.4
    assert last["loss"] < 0.4


def json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_loss_follows_from_rewards_drift_and_weights() -> None:
    """As TRL's trainer computes it on one batch: 1 - sigmoid(beta * (change - drift)), mirrored for bad answers."""
    section = KtoSection(beta=0.5, desirable_weight=2.0)
    seen = [answer(True, single(), 3.0, 1.0), answer(False, single(), -1.0, 2.0)]
    row = summed_up(seen, section)
    good, bad = (float(1 - torch.sigmoid(torch.tensor(x))) for x in (0.5 * (3 - 1.5), 0.5 * (1.5 + 1)))
    assert row["loss"] == pytest.approx((2 * good + bad) / 2)
    assert (row["kl"], row["reward_chosen"], row["reward_rejected"]) == (1.5, 1.5, -0.5)
    assert summed_up([answer(True, single(), 1.0, -4.0)], section)["kl"] == 0
    assert not {"reward_margin", "reward_rejected"} & summed_up(seen[:1], section).keys()


def test_held_out_answers_are_compared_two_by_two() -> None:
    """A pair with itself, single ratings in their order; a tie is half, and what is left over is not compared."""
    first, second = (Item({"instruction": "q", "chosen": "a", "rejected": "b"}, "", [1]) for _ in range(2))
    pairs = [answer(True, first, 1.0), answer(False, first, 0.0), answer(True, second, 4.0), answer(False, second, 5.0)]
    assert comparisons(pairs) == [1.0, 0.0]
    rated = [answer(True, single(), change) for change in (1.0, 5.0, 9.0)]
    rated[1:1] = [answer(False, single(), change) for change in (2.0, 5.0)]
    assert comparisons(rated) == [0.0, 0.5]
    assert comparisons(rated[:1]) == []


def test_held_out_answers_of_both_kinds_are_measured() -> None:
    """Even if the first ones are all good."""
    items = [Item({"rated": "a", "label": place < 6}, "", [place]) for place in range(9)]
    assert [item.prompt_ids[0] for item in both_kinds(items, 4)] == [0, 1, 6, 7]
    assert [item.prompt_ids[0] for item in both_kinds(items, 8)] == [0, 1, 2, 3, 4, 6, 7, 8]
    assert [item.prompt_ids[0] for item in both_kinds(items[:6], 4)] == [0, 1, 2, 3]
    assert doctest.testmod(answers_module).failed == 0


@pytest.mark.parametrize(("good", "words"), [(True, "All 4 answers to train on are good"), (False, "are bad")])
def test_answers_of_one_kind_are_refused(models: Home, monkeypatch: pytest.MonkeyPatch, good: bool, words: str) -> None:
    """There is nothing to prefer."""
    config = settings(
        models, training__batch_size=2, training__gradient_accumulation_steps=1, evaluation__holdout_fraction=0,
        training__max_steps=1,
    )  # fmt: skip
    run = make_run(models, f"kto-one-kind-{good}", config)
    freeze(run, [("4", good)] * 4)
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status is not None
    assert words in (status.error or "")


def test_answers_that_the_limit_cuts_are_counted(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a note in the run."""
    config = settings(
        models, training__max_steps=1, training__max_sequence_length=64, training__batch_size=2,
        training__gradient_accumulation_steps=1, evaluation__holdout_fraction=0,
    )  # fmt: skip
    run = make_run(models, "kto-cut", config)
    freeze(run, [("short", True), ("word " * 90, False), ("short", False), ("word " * 90, True)])
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    status = run.read_status()
    assert status is not None
    assert any(note.startswith("2 of 4 answers are cut off at the maximum sequence") for note in status.notes)


def freeze(run: JobDir, said: list[tuple[str, bool]]) -> None:
    """Freeze rows as a first start does."""
    run.prepared.mkdir()
    mapped = [
        {"instruction": f"Question {number}?", "response": text, "rated": text, "label": good}
        for number, (text, good) in enumerate(said)
    ]
    (run.prepared / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mapped))
    (run.prepared / "holdout.jsonl").write_text("")
    (run.prepared / "info.json").write_text("{}")


@pytest.mark.parametrize("good", [1, 3, 50, 100, 133, 134, 400])
@pytest.mark.parametrize("bad", [1, 7, 50, 100, 999])
def test_suggested_weights_balance_the_kinds(good: int, bad: int) -> None:
    """Within the bounds that the paper gives, and only one of them is changed."""
    desirable, undesirable = balancing_weights(good, bad)
    assert balanced(desirable * good, undesirable * bad)
    assert 1.0 in (desirable, undesirable)


def test_the_settings_reach_trl(models: Home) -> None:
    """And TRL's bounds for weights are ours."""
    config = parse(settings(models, kto__beta=0.3, kto__undesirable_weight=2.0))
    found = kto_arguments(config, CPU, Path("/tmp/run"))
    assert (found["beta"], found["undesirable_weight"], found["max_length"]) == (0.3, 2.0, 96)
