"""Reward models: what TRL computes from the same pairs, what is saved, where the score is read, and the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    set_seed,
)
from trl import RewardConfig, RewardTrainer

from core.config import parse
from core.data.conversation import Conversation
from core.job import JobState
from core.job_dir import JobDir, read_json, whole_lines
from core.settings import Home
from core.training.arguments import lora_arguments
from core.training.models.load import load_tokenizer
from core.training.models.score import forward, score_at_the_end, scores, text_ids
from core.training.models.scorer import load_scorer
from tests.training.reward_runs import CPU, report_of, reward_run
from tests.training.worker_runs import (
    REAL,
    launch,
    make_run,
    rows,
    wait_for,
    work,
    work_until,
)

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

ASKED = Conversation(({"role": "user", "content": "What is 2 + 2?"},))


def loaded(home: Home, run: JobDir) -> tuple[Any, Any]:
    """Base and adapter, as a script of another program loads them."""
    base = AutoModelForSequenceClassification.from_pretrained(home.cache / "models" / "tiny", num_labels=1)
    model = PeftModel.from_pretrained(base, str(run.adapter)).eval()
    tokenizer = AutoTokenizer.from_pretrained(run.adapter)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


@pytest.mark.parametrize("margins", [False, True])
def test_the_losses_are_those_of_a_bare_script(models: Home, monkeypatch: pytest.MonkeyPatch, margins: bool) -> None:
    """TRL's own trainer on the same conversations, tokenized by itself, over ten steps."""
    values: dict[str, Any] = {"training__max_steps": 10, "evaluation__holdout_fraction": 0, "training__save_steps": 10}
    extra: dict[str, Any] = {}
    if margins:
        values |= {"reward_model__margin_field": "gap", "reward_model__center_rewards_coefficient": 0.01}
        extra = {"center_rewards_coefficient": 0.01}
    config = reward_run(models, **values)
    run = make_run(models, f"reward-stock-{margins}", config)
    found = freeze(run, 40)
    assert work(run, monkeypatch, models) == JobState.COMPLETED

    whole = parse(config)
    source = str(models.cache / "models" / "tiny")
    set_seed(whole.training.seed)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1, dtype=torch.float32)
    set_seed(whole.training.seed)
    chats = [
        {
            "prompt": [{"role": "system", "content": "Add."}, {"role": "user", "content": row["instruction"]}],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
            **({"margin": row["gap"]} if margins else {}),
        }
        for row in found
    ]
    training = whole.training
    trainer = RewardTrainer(
        model=get_peft_model(model, LoraConfig(**lora_arguments(whole, (), "llama"))),
        args=RewardConfig(
            output_dir=str(run.path / "bare"), max_steps=10, per_device_train_batch_size=training.batch_size,
            gradient_accumulation_steps=training.gradient_accumulation_steps, learning_rate=training.learning_rate,
            weight_decay=training.weight_decay, max_grad_norm=training.max_grad_norm, optim="adamw_torch",
            lr_scheduler_type=training.lr_scheduler_type, warmup_steps=training.warmup_steps, seed=training.seed,
            adam_beta1=training.adam_beta1, adam_beta2=training.adam_beta2, bf16=False, use_cpu=True, logging_steps=1,
            gradient_checkpointing=False, report_to="none", save_strategy="no", disable_tqdm=True, **extra,
        ),
        train_dataset=Dataset.from_list(chats),
        processing_class=AutoTokenizer.from_pretrained(source),
    )  # fmt: skip
    # The job determines the order of the rows, so that a resume repeats it.
    seen: list[dict[str, float]] = []
    generator = torch.Generator().manual_seed(training.seed)
    order = torch.utils.data.RandomSampler(trainer.train_dataset, generator=generator)
    monkeypatch.setattr(trainer, "_get_train_sampler", lambda *_: order)
    stock = trainer.log

    def log(logs: dict[str, float], *more: Any) -> None:
        seen.append(logs)
        stock(logs, *more)

    monkeypatch.setattr(trainer, "log", log)
    trainer.train()
    seen = [logs for logs in seen if "loss" in logs]
    ours = rows(run, "training")
    assert len(ours) == 10
    for theirs, name in (("loss", "loss"), ("margin", "reward_margin"), ("accuracy", "preference_accuracy")):
        assert [logs[theirs] for logs in seen] == pytest.approx([row[name] for row in ours], abs=1e-4)
    means = [(row["reward_chosen"] + row["reward_rejected"]) / 2 for row in ours]
    assert [logs["mean_reward"] for logs in seen] == pytest.approx(means, abs=1e-4)


def freeze(run: JobDir, count: int) -> list[dict[str, Any]]:
    """Freeze rows as a first start does."""
    run.prepared.mkdir()
    mapped = [
        {
            "instruction": f"What is {one} + 3?", "response": str(one + 3), "chosen": str(one + 3),
            "rejected": f"{one + 4} or so, I think", "gap": one % 3,
        }
        for one in range(count)
    ]  # fmt: skip
    (run.prepared / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mapped))
    (run.prepared / "holdout.jsonl").write_text("")
    (run.prepared / "info.json").write_text("{}")
    return mapped


def test_it_learns_and_reports_what_its_scores_are_worth(finished: JobDir) -> None:
    """The report's accuracy is that of the last evaluation; every held-out pair is in it once."""
    held = [row["preference_accuracy"] for row in rows(finished, "evaluation")]
    report = report_of(finished)
    assert report.step == 12
    assert report.accuracy.share == pytest.approx(held[-1])
    assert report.accuracy.share > 0.9 > held[0]
    assert (
        len(report.pairs)
        == len({pair.key for pair in report.pairs})
        == len(whole_lines(finished.prepared / "holdout.jsonl"))
    )
    assert [one.key for one in report.tricks] == ["empty", "flattered", "rejected_flattered"]  # a number has one word
    assert report.length.longer_better
    assert report.length.longer_better.share == 0


def test_the_published_adapter_gives_the_very_scores(finished: JobDir, models: Home) -> None:
    """The head is inside; the text is what the model's own template makes of the chat."""
    model, tokenizer = loaded(models, finished)
    row = whole_lines(finished.prepared / "holdout.jsonl")[0]
    chat = [
        {"role": "system", "content": "Add."}, {"role": "user", "content": row["instruction"]},
        {"role": "assistant", "content": row["chosen"]},
    ]  # fmt: skip
    ids = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"]
    again = scores(model, [ids], batch=1)[0]
    with torch.no_grad():
        plain = float(model(torch.tensor([ids])).logits[0, 0])
    assert again == plain
    assert plain == pytest.approx(report_of(finished).pairs[0].chosen, abs=1e-5)  # there, six share a batch


@pytest.mark.slow
def test_stopped_in_the_report_it_is_made_by_the_resume(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a run that was killed has the scores of one that was not."""
    config = reward_run(models, training__max_steps=4, evaluation__holdout_fraction=0.2)
    whole = make_run(models, "reward-whole", config)
    assert work(whole, monkeypatch, models) == JobState.COMPLETED
    late = make_run(models, "reward-late", config)
    ended = lambda found: any(row.get("when") == "end" for row in found)  # noqa: E731
    assert work_until(late, monkeypatch, models, ended) == JobState.STOPPED
    assert not late.reward_report.exists()
    assert work(late, monkeypatch, models) == JobState.COMPLETED
    assert read_json(late.reward_report) == read_json(whole.reward_report)

    killed = make_run(models, "reward-killed", config)
    process = launch(killed, models)
    wait_for(lambda: len(rows(killed, "training")) >= 3 or process.poll() is not None)
    process.kill()
    process.wait()
    assert not killed.reward_report.exists()
    assert work(killed, monkeypatch, models) == JobState.COMPLETED
    assert read_json(killed.reward_report) == read_json(whole.reward_report)


def test_the_report_is_about_the_step_that_is_kept(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run keeps its best adapter, and that is not the last one."""
    values = {"training__max_steps": 12, "training__save_steps": 12, "evaluation__holdout_fraction": 0.3}
    config = reward_run(models, **values, evaluation__keep_best=True, evaluation__every_steps=4)
    run = make_run(models, "reward-kept", config)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    report = report_of(run)
    assert report.step == read_json(run.kept)["step"] < 12  # type: ignore[index]  # the run keeps one
    scorer = load_scorer(run, models, CPU)
    row = whole_lines(run.prepared / "holdout.jsonl")[0]
    (again,) = scorer.scores([scorer.ids(row["instruction"], row["chosen"])])
    assert again == pytest.approx(report.pairs[0].chosen, abs=1e-5)


def test_another_model_seed_holds_out_the_same_pairs(
    finished: JobDir, models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the new weights and the order of the rows differ."""
    values = {"training__max_steps": 2, "evaluation__holdout_fraction": 0.3, "reward_model__model_seed": 99}
    run = make_run(models, "reward-seeded", reward_run(models, **values))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert {pair.key for pair in report_of(run).pairs} == {pair.key for pair in report_of(finished).pairs}
    assert rows(run, "evaluation")[0]["loss"] != rows(finished, "evaluation")[0]["loss"]


def test_the_score_is_read_at_the_last_token(models: Home, tmp_path: Path) -> None:
    """Even where a text ends with what the model pads with, alone or beside a longer text."""
    tokenizer = load_tokenizer(str(models.cache / "models" / "tiny"))
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}{% endfor %}"
    )
    torch.manual_seed(0)
    model = LlamaForSequenceClassification.from_pretrained(models.cache / "models" / "tiny", num_labels=1).eval()
    ids = text_ids(ASKED, "4", tokenizer)
    assert ids[-1] == tokenizer.pad_token_id == model.config.pad_token_id
    with torch.no_grad():
        wanted = float(model.score(model.model(torch.tensor([ids])).last_hidden_state[0, -1]))
    assert scores(model, [ids])[0] != pytest.approx(wanted, abs=1e-4)
    score_at_the_end(model, tokenizer)
    assert tokenizer.padding_side == "right"
    longer = text_ids(ASKED, "It is 4, as everyone knows.", tokenizer)
    assert scores(model, [ids])[0] == pytest.approx(wanted, abs=1e-6)
    assert scores(model, [longer, ids])[1] == pytest.approx(wanted, abs=1e-4)
    assert forward(model, [ids]).shape == (1,)


def test_a_classifier_with_two_outputs_is_refused_before_its_weights_are_read(
    models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = models.cache / "models" / "two-outputs"
    config = LlamaConfig.from_pretrained(models.cache / "models" / "tiny", num_labels=2)
    config.architectures = ["LlamaForSequenceClassification"]
    config.save_pretrained(folder)  # there are no weights to read
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(REAL / name, folder / name)
    run = make_run(models, "reward-two", reward_run(models, model__name="builtin:two-outputs"))
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status
    assert "is a classifier with 2 outputs, and a reward model has one" in str(status.error)


def test_a_margin_that_is_no_number_is_named(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(models, "reward-margin", reward_run(models, reward_model__margin_field="nowhere"))
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status
    assert "The margin column 'nowhere' of the row 'What is" in str(status.error)


def test_what_the_limit_cuts_is_the_start(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the answer, where the score is read, is kept, and the run says so."""
    values = {"training__max_steps": 1, "training__max_sequence_length": 30, "evaluation__holdout_fraction": 0}
    run = make_run(models, "reward-cut", reward_run(models, **values))
    freeze(run, 20)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    status = run.read_status()
    assert status
    assert any("the start of the conversation is cut off" in note for note in status.notes)
