"""DPO and ORPO: the losses, the reference, bad pairs, and what TRL computes from the same rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from math import log
from typing import Any, get_args

import pytest
import torch
from datasets import Dataset
from torch.utils.data import RandomSampler
from transformers import TrainerCallback
from trl import DPOConfig

from core.config import RunConfig, parse
from core.data.prompts import conversation
from core.dataset import Shape
from core.job import JobState
from core.job_dir import JobDir
from core.methods.dpo import Loss
from core.model import Device
from core.settings import Home
from core.training.arguments import known_to, trainer_arguments
from core.training.job.reporter import Reporter
from core.training.job.status import Status
from core.training.method_rows import prepare
from core.training.methods import dpo
from core.training.methods.pairs import training_pairs
from core.training.methods.training_job import TrainingJob
from core.training.models.load import load_base, load_for_training, source_of
from tests.training.worker_runs import SFT, changed, made_dataset, make_run, rows, work, work_until

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

CPU = Device("cpu", "cpu", 1 << 34, 1 << 33, False)
TEMPLATE = (
    "{% for one in messages %}<|im_start|>{{ one.role }}\n{{ one.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML without the line break after an answer, which our rows do not have."""


def config_of(home: Home, method: str, **values: Any) -> dict[str, Any]:
    """The small run on pairs."""
    return changed({**SFT, "method": method, "dataset": made_dataset(home, Shape.PAIRS)}, **values)


def job_of(home: Home, name: str, config: dict[str, Any]) -> TrainingJob:
    """A job as the worker makes it."""
    run, whole = make_run(home, name, config), parse(config)
    status, loaded = Status(run), load_for_training(whole, CPU, home)
    data = prepare(whole, loaded.tokenizer, run, home, status)
    return TrainingJob(whole, run, home, CPU, loaded, data, status, Reporter(run, 1))


def trainer_of(job: TrainingJob) -> dpo.Trainer:
    """DPO's trainer, as :func:`dpo.train` makes it."""
    return dpo.Trainer(
        job,
        job.evaluation(lambda when, step: True),
        args=DPOConfig(**dpo.dpo_arguments(job.config, CPU, job.run.checkpoints)),
        train_dataset=Dataset.from_list([dpo.row_of(pair) for pair in training_pairs(job)]),
        processing_class=job.loaded.tokenizer,
    )


def steps(trainer: dpo.Trainer, batch: Any, count: int = 3) -> list[dict[str, float]]:
    """The loss and the metrics of some steps on the same pairs."""
    model = trainer.model
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-3)
    seen = []
    model.train()
    for _ in range(count):
        loss = trainer.compute_loss(model, dict(batch))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(
            {name: values[-1] for name, values in trainer._metrics["train"].items()} | {"loss": float(loss.detach())}
        )
    return seen


@pytest.fixture(scope="module")
def shared(models: Home) -> Iterator[TrainingJob]:
    """A job whose model each test copies."""
    job = job_of(models, "preferences-shared", config_of(models, "dpo"))
    yield job
    job.reporter.close()


def with_settings(job: TrainingJob, model: Any = None, **section: Any) -> TrainingJob:
    """The job with a copy of its model, or another one, and other settings of DPO."""
    config = parse({**SFT, "method": "dpo", "dataset": {"source": "a", **PAIRS}, "dpo": section})
    used: RunConfig = job.config.model_copy(update={"dpo": config.dpo})  # type: ignore[attr-defined]
    return replace(job, config=used, loaded=replace(job.loaded, model=deepcopy(model or job.loaded.model)))


PAIRS = {"chosen_field": "right", "rejected_field": "wrong"}
LN2 = log(2)
AT_START = {
    "sigmoid": LN2, "hinge": 1, "ipo": 25, "exo_pair": log(0.5) - (log(0.9) + log(0.1)) / 2, "nca_pair": 2 * LN2,
    "robust": LN2, "bco_pair": 2 * LN2, "sppo_hard": 50, "aot": LN2, "aot_unpaired": LN2, "apo_zero": 1, "apo_down": 1,
    "discopop": (LN2 + 1) / 2, "sigmoid_norm": LN2,
}  # fmt: skip
"""Each loss at a beta of 0.1, and a smoothing of 0.1, while the model is the reference, by its paper's formula."""


@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_loss_starts_at_its_formulas_value_and_falls(shared: TrainingJob, loss: str) -> None:
    """The metrics of the first step are those of ties, and the better answers then get ahead.

    DiscoPOP has a local minimum at a slightly negative margin, next to where every run starts.
    """
    smoothing = 0.1 if loss in {"exo_pair", "robust"} else 0
    trainer = trainer_of(with_settings(shared, loss_type=loss, label_smoothing=smoothing))
    seen = steps(trainer, trainer.batch(training_pairs(shared)[:4]))
    assert seen[0]["loss"] == pytest.approx(AT_START.get(loss, seen[0]["loss"]), abs=1e-4)
    assert seen[-1]["loss"] < seen[0]["loss"]
    assert (seen[0]["rewards/margins"], seen[0]["rewards/accuracies"]) == (0, 0.5)
    ahead = loss != "discopop"
    assert (seen[-1]["rewards/margins"] > 0) is ahead
    assert seen[-1]["rewards/accuracies"] == ahead


def test_the_sft_loss_is_added_with_its_weight(shared: TrainingJob) -> None:
    """RPO: the sigmoid, plus the cross-entropy of the better answers times the weight."""
    found = {}
    sections: dict[str, dict[str, Any]] = {
        "plain": {}, "both": {"sft_weight": 0.5}, "alone": {"loss_type": "sft", "sft_weight": 0.5},
    }  # fmt: skip
    for name, section in sections.items():
        trainer = trainer_of(with_settings(shared, **section))
        found[name] = steps(trainer, trainer.batch(training_pairs(shared)[:4]), 1)[0]["loss"]
    assert found["both"] == pytest.approx(found["plain"] + 0.5 * found["alone"], abs=1e-4)


def noisy(model: Any) -> Any:
    """The model with an adapter that changes what it computes, as after an earlier run."""
    generator = torch.Generator().manual_seed(5)
    for name, weight in model.named_parameters():
        if ".lora_B." in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.05
    return model


@pytest.mark.parametrize("start", ["fresh adapter", "earlier adapter", "every weight"])
def test_the_reference_is_the_model_as_it_was_at_the_start(shared: TrainingJob, models: Home, start: str) -> None:
    """Training, or loading a checkpoint, which changes the same weights, does not change it."""
    model = deepcopy(shared.loaded.model)
    if start == "every weight":
        model = load_base(source_of("builtin:tiny", models), None, dtype="float32", device=CPU, config=shared.config)
    job = with_settings(shared, noisy(model) if start == "earlier adapter" else model)
    base = without_adapter(job.loaded.model)
    trainer = trainer_of(job)
    batch = trainer.batch(training_pairs(job)[:4])
    before = reference(trainer, batch)
    assert (before == base(batch)) is (start != "earlier adapter")
    seen = steps(trainer, batch)
    assert (seen[0]["rewards/chosen"], seen[0]["rewards/rejected"]) == (0, 0)
    assert seen[-1]["rewards/margins"] > 0
    assert reference(trainer, batch) == before
    adapters = set(getattr(trainer.model, "peft_config", ()))
    assert adapters == {"fresh adapter": {"default"}, "earlier adapter": {"default", "ref"}}.get(start, set())


def reference(trainer: dpo.Trainer, batch: Any) -> list[float]:
    """The reference's log-probabilities of all answers."""
    chosen, rejected = trainer.compute_ref_log_probs(trainer.ref_model or trainer.model, dict(batch))
    return [*chosen.tolist(), *rejected.tolist()]


def without_adapter(model: Any) -> Callable[[Any], Any]:
    """The same log-probabilities by the bare base model, computed without TRL."""
    bare = deepcopy(model)
    bare = bare.unload() if hasattr(bare, "unload") else bare

    def found(batch: Any) -> Any:
        with torch.no_grad():
            logits = bare(batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits[:, :-1]
        picked = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
        return pytest.approx((picked * batch["completion_mask"][:, 1:]).sum(-1).tolist(), abs=1e-3)

    return found


def test_a_run_on_an_earlier_adapter_resumes_with_the_same_reference(
    models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the checkpoint's adapter, whose margins would start at 0 again."""

    def earlier(*args: Any) -> Any:
        loaded = load_for_training(*args)
        noisy(loaded.model)
        return loaded

    monkeypatch.setattr("core.training.train.load_for_training", earlier)
    config = config_of(models, "dpo", training__max_steps=4)
    whole, halves = (make_run(models, f"dpo-earlier-{name}", config) for name in ("whole", "halves"))
    assert work(whole, monkeypatch, models) == JobState.COMPLETED
    stopped = work_until(halves, monkeypatch, models, lambda found: any(row["step"] >= 2 for row in found))
    assert stopped == JobState.STOPPED
    assert work(halves, monkeypatch, models) == JobState.COMPLETED
    margins = [[row["reward_margin"] for row in rows(run)] for run in (whole, halves)]
    assert margins[0] == margins[1]
    assert margins[0][0] == 0 != margins[0][-1]


def order(trainer: Any, seed: int) -> RandomSampler:
    """The order that a job determines, so that a resume repeats it."""
    return RandomSampler(trainer.train_dataset, generator=torch.Generator().manual_seed(seed))


def messages(job: TrainingJob) -> Dataset:
    """The rows as a script without us would have them."""
    found = []
    for item in job.data.train:
        sides = {
            side: [{"role": "assistant", "content": item.row[side]}] for side in ("chosen", "rejected")
        }  # fmt: skip
        found.append({"prompt": list(conversation(item.row, job.config.dataset).messages), **sides})
    return Dataset.from_list(found)


@pytest.mark.parametrize(
    ("method", "section", "theirs"),
    [
        ("dpo", {}, {"beta": 0.1}),
        (
            "dpo",
            {"loss_type": "robust", "label_smoothing": 0.1, "beta": 0.3, "sft_weight": 0.5, "ld_alpha": 0.5},
            {
                "loss_type": ["robust", "sft"], "loss_weights": [1.0, 0.5], "label_smoothing": 0.1, "beta": 0.3,
                "ld_alpha": 0.5,
            },
        ),
        ("orpo", {"beta": 0.25}, {"beta": 0.25, "remove_unused_columns": False}),
    ],
)  # fmt: skip
def test_the_losses_are_those_of_a_bare_script(
    models: Home, monkeypatch: pytest.MonkeyPatch, method: str, section: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """TRL's own trainer on conversations with the same rows, over ten steps; only their order is made the same."""
    config = config_of(
        models, method, training__max_steps=10, training__gradient_accumulation_steps=1, training__learning_rate=1e-3,
        evaluation__holdout_fraction=0, dataset__chat_template=TEMPLATE,
    )  # fmt: skip
    name = f"bare-{method}-{len(section)}"
    run = make_run(models, name, {**config, method: section})
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    names = {"loss": "loss", "reward_margin": "rewards/margins", "logps_chosen": "logps/chosen"}
    ours = [[row[name] for name in names] for row in rows(run, "training")]

    job = job_of(models, f"{name}-stock", {**config, method: section})
    job.reporter.close()
    # Only now: the run has loaded ORPO, which silences the notice that it is experimental.
    library: Any = import_module("trl" if method == "dpo" else "trl.experimental.orpo")
    settings = getattr(library, f"{method.upper()}Config")
    arguments = {**trainer_arguments(job.config, CPU, job.run.checkpoints), **theirs, "save_strategy": "no"}
    trainer = getattr(library, f"{method.upper()}Trainer")(
        model=job.loaded.model,
        args=settings(**known_to(settings, arguments)),
        train_dataset=messages(job),
        processing_class=job.loaded.tokenizer,
    )
    seen: list[Any] = []
    rows_in_order = order(trainer, job.config.training.seed)
    monkeypatch.setattr(trainer, "_get_train_sampler", lambda *_: rows_in_order)
    trainer.add_callback(Noting(seen, list(names.values())))
    trainer.train()
    assert seen == [pytest.approx(step, abs=1e-4) for step in ours]


@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_pairs_that_differ_only_after_the_limit_are_named(
    models: Home, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """They are skipped, in training and among the held-out rows; others that are cut are counted."""
    config = config_of(models, method, training__max_steps=1, training__batch_size=2, training__max_sequence_length=64)
    run = make_run(models, f"cut-{method}", changed(config, training__gradient_accumulation_steps=1))
    long = "word " * 60
    freeze(run, [("a", "b"), (f"{long}a", f"{long}b"), ("c", long)], [(f"{long}a", f"{long}b")])
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    status = run.read_status()
    assert status is not None
    skipped = "pairs were skipped: their answers differ only after the maximum sequence length (64). Raise it. They are"
    assert list(status.notes[:2]) == [
        f"1 of 1 {skipped} the rows 'Question 0?'.", f"1 of 3 {skipped} the rows 'Question 1?'.",
    ]  # fmt: skip
    assert status.notes[2].startswith("In 1 of 2 pairs an answer is cut off at the maximum sequence length (64)")
    assert rows(run, "evaluation") == []


def test_if_no_pair_is_left_the_reason_is_reported(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the setting that would help."""
    run = make_run(models, "dpo-none", config_of(models, "dpo", training__max_sequence_length=64))
    freeze(run, [("word " * 60 + "a", "word " * 60 + "b")] * 8, [])
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status is not None
    assert status.error == (
        "There are 0 pairs to train on, but each step needs 8. Use more rows, a smaller batch, or a maximum sequence "
        "length above 64."
    )


def freeze(run: JobDir, train: list[tuple[str, str]], held: list[tuple[str, str]]) -> None:
    """Freeze pairs as a first start does."""
    run.prepared.mkdir()
    for name, found in (("train", train), ("holdout", held)):
        mapped = [
            {"instruction": f"Question {number}?", "response": better, "chosen": better, "rejected": worse}
            for number, (better, worse) in enumerate(found)
        ]
        (run.prepared / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mapped))
    (run.prepared / "info.json").write_text("{}")


class Noting(TrainerCallback):
    """Notes some numbers of every step."""

    def __init__(self, seen: list[list[float]], names: list[str]) -> None:
        self._seen, self._names = seen, names

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """A step, or the summary at the end."""
        if "loss" in logs:
            self._seen.append([logs[name] for name in self._names])
