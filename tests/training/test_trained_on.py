"""Supervised fine-tuning on chosen messages: the trained tokens, their weights, and what the length limit cuts."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import torch

from core.config import RunConfig, dump_given, parse
from core.config.training import TrainOn
from core.data import uploads
from core.data.spans import texts_of
from core.data.trained_on import weighted
from core.job import JobState
from core.job_dir import JobDir
from core.model import Device
from core.settings import Home
from core.training.job.status import Status
from core.training.method_rows import encode, prepare
from core.training.methods.loop import IGNORED, WEIGHTS, Example
from core.training.methods.sft_rows import NOTHING_TRAINED, TrainingRows, template_of, training_rows
from core.training.models.load import load_for_training
from tests.training.worker_runs import SFT, changed, make_run, rows, work

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

CPU = Device("cpu", "cpu", 1 << 34, 1 << 33, False)


def talk(number: int) -> list[dict[str, Any]]:
    """Two turns."""
    return [
        {"role": "user", "content": f"What is {number} + 1?"},
        {"role": "assistant", "content": f"It is {number + 1}."},
        {"role": "user", "content": "And twice?"},
        {"role": "assistant", "content": f"{2 * number + 2}, twice as much."},
    ]


def dataset(models: Home, found: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """An uploaded dataset of these rows."""
    data = "\n".join(map(json.dumps, found)).encode()
    info = uploads.store(io.BytesIO(data), "rows.jsonl", models.uploads, 1 << 20)
    columns = {"instruction_field": "messages", "response_field": "messages"}
    return {"source": f"upload:{info.id}", "system_prompt": "", **columns, **fields}


def config(models: Home, found: list[dict[str, Any]], fields: dict[str, Any] | None = None, **values: Any) -> RunConfig:
    """One step over all rows, without held-out rows."""
    whole = changed(
        SFT, training__batch_size=2, training__gradient_accumulation_steps=2, training__max_steps=1,
        training__max_sequence_length=128, evaluation__holdout_fraction=0, **values,
    )  # fmt: skip
    return parse({**whole, "dataset": dataset(models, found, **(fields or {}))})


def prepared(run: JobDir, whole: RunConfig, models: Home) -> tuple[Any, TrainingRows]:
    """A fresh model, and the run's training rows."""
    loaded = load_for_training(whole, CPU, models)
    data = prepare(whole, loaded.tokenizer, run, models, Status(run))
    return loaded, training_rows(data.train, whole, loaded.tokenizer)


def learned(example: Example, tokenizer: Any) -> str:
    return str(tokenizer.decode([label for label in example.labels if label != IGNORED]))


def by_hand(model: Any, examples: list[Example], loss: str) -> float:
    """Token by token, one row at a time, without batches and padding."""
    total = weight = 0.0
    model.eval()
    for one in examples:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([one.ids])).logits[0].double()
        for place in range(1, len(one.ids)):
            if one.labels[place] != IGNORED:
                probability = torch.softmax(logits[place - 1], 0)[one.ids[place]].item()
                factor = probability if loss == "dft" else 1.0
                total -= one.values[WEIGHTS][place] * factor * float(torch.tensor(probability).log())
                weight += one.values[WEIGHTS][place]
    return total / weight


@pytest.mark.parametrize("loss", ["nll", "dft"])
def test_weights_multiply_the_loss_of_their_tokens(models: Home, monkeypatch: pytest.MonkeyPatch, loss: str) -> None:
    """The first step's loss is the weighted mean over all of its tokens, in batches of different lengths."""
    weights = ([0, 0.5, 0, 2], [0, 1, 0, 0], [0.25, 0, 0, 3], [0, 0, 0, 1])
    found = [{"messages": talk(10**place), "w": one} for place, one in enumerate(weights)]
    whole = config(
        models, found, {"columns": {"weights": "w"}}, training__train_on="weights", sft__loss_type=loss,
    )  # fmt: skip
    given = dump_given(whole)
    run = make_run(models, f"weights-{loss}", given)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    (row,) = rows(run, "training")
    loaded, made = prepared(make_run(models, f"hand-{loss}", given), whole, models)
    assert made.are_weighted
    assert len(made.examples) == 4
    assert row["loss"] == pytest.approx(by_hand(loaded.model, made.examples, loss), rel=1e-4)
    assert row["token_accuracy"] >= 0
    # Not what the same tokens give without weights.
    flat = [Example(one.ids, one.labels, {WEIGHTS: [1.0] * len(one.ids)}) for one in made.examples]
    assert row["loss"] != pytest.approx(by_hand(loaded.model, flat, loss), rel=1e-3)


LEARNS = "does not learn how they end"
CHOICES: dict[TrainOn, str] = {
    "last_assistant_message": "4, twice as much.<|im_end|>",
    "last_assistant_turn": "4, twice as much.<|im_end|>",
    "all_assistant_messages": "It is 2.<|im_end|>4, twice as much.<|im_end|>",
    "all_messages": "What is 1 + 1?<|im_end|>It is 2.<|im_end|>And twice?<|im_end|>4, twice as much.<|im_end|>",
    "weights": "It is 2.<|im_end|>",
}


@pytest.mark.parametrize("choice", CHOICES)
def test_a_run_trains_on_the_tokens_that_the_preview_shows(models: Home, choice: TrainOn) -> None:
    """The labels of a row, and the same tokens from the functions of the preview."""
    found = [{"messages": talk(1), "w": [0, 1, 0, 0]}] * 4
    tags = dict.fromkeys(("solution_start", "solution_end", "reasoning_start", "reasoning_end"), "")
    fields = {"columns": {"weights": "w"}, **tags}
    whole = config(models, found, fields, training__train_on=choice)
    loaded, made = prepared(make_run(models, f"choice-{choice}", dump_given(whole)), whole, models)
    tokenizer = loaded.tokenizer
    assert [learned(one, tokenizer) for one in made.examples] == [CHOICES[choice]] * 4
    assert not made.are_weighted
    again = make_run(models, f"again-{choice}", dump_given(whole))
    data = prepare(whole, tokenizer, again, models, Status(again))
    (text,) = texts_of(data.train[0].row, whole.dataset, choice, template_of(tokenizer)).texts
    ids, weights = weighted(text, lambda part: encode(part, tokenizer))
    assert ids == made.examples[0].ids
    assert [bool(weight) for weight in weights] == [label != IGNORED for label in made.examples[0].labels]


def test_rows_whose_trained_tokens_are_cut_off_are_named_and_skipped(models: Home) -> None:
    """Each reason once, with the rows' numbers; what is cut in part is counted."""
    found = [
        {"messages": talk(1)},
        {"messages": [{"role": "user", "content": "word " * 150}, *talk(2)[1:]]},
        {"messages": talk(2)[:3]},
        {"messages": [*talk(3)[:3], {"role": "assistant", "content": "word " * 150}]},
        {"messages": talk(4)},
        {"messages": talk(5)},
    ]
    whole = config(models, found, training__train_on="last_assistant_turn")
    run = make_run(models, "cut", dump_given(whole))
    _, made = prepared(run, whole, models)
    status = Status(run)
    made.note(status, whole)
    assert len(made.examples) == 4
    assert list(status.value.notes) == [
        "Training row 2 was skipped: the maximum sequence length (128) cuts off everything in them that is trained.",
        f"Training row 3 was skipped: {NOTHING_TRAINED}.",
        f"1 of 4 training texts are cut off at the maximum sequence length (128), so the model {LEARNS}. Raise it.",
    ]


def test_a_run_without_a_trained_token_is_refused_before_it_trains(
    models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [{"messages": [{"role": "user", "content": "word " * 150}, *talk(place)[1:]]} for place in range(4)]
    whole = config(models, found, training__train_on="last_assistant_turn")
    run = make_run(models, "all-cut", dump_given(whole))
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status is not None
    assert "Training rows 1, 2, 3, 4 were skipped: the maximum sequence length (128) cuts off" in (status.error or "")
    assert status.error_field == "training.max_sequence_length"
    assert not rows(run, "training")


def test_plain_text_is_learned_to_its_end(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token and the end-of-sequence token, also in the held-out loss."""
    found = [
        {"text": f"Chapter {place}. Once upon a time, there were {place} bears.", "other": 1} for place in range(30)
    ]
    fields = {"text_field": "text", "instruction_field": "question", "response_field": "answer"}
    whole = config(models, found, fields, evaluation__max_prompts=4)
    whole = parse(changed(dump_given(whole), evaluation__holdout_fraction=0.2, training__max_steps=2))
    run = make_run(models, "text", dump_given(whole))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    loaded, made = prepared(make_run(models, "text-again", dump_given(whole)), whole, models)
    one = made.examples[0]
    assert one.labels == one.ids
    assert loaded.tokenizer.decode(one.ids).startswith("Chapter ")
    assert one.ids[-1] == loaded.tokenizer.eos_token_id
    held = [row["loss"] for row in rows(run, "evaluation")]
    assert len(held) >= 2
    assert held[-1] < held[0]


def test_weighted_rows_are_held_out_with_their_weights(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight that no row has in training does not matter: the loss of a row depends on its own."""
    found = [{"messages": talk(place), "w": [0, 0.5, 0, 2]} for place in range(20)]
    whole = config(models, found, {"columns": {"weights": "w"}}, training__train_on="weights")
    whole = parse(changed(dump_given(whole), evaluation__holdout_fraction=0.3, evaluation__max_prompts=2))
    run = make_run(models, "weights-held", dump_given(whole))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    loaded = load_for_training(whole, CPU, models)
    data = prepare(whole, loaded.tokenizer, run, models, Status(run))
    made = training_rows(data.holdout[:2], whole, loaded.tokenizer)
    assert rows(run, "evaluation")[0]["loss"] == pytest.approx(by_hand(loaded.model, made.examples, "nll"), rel=1e-4)


def test_texts_and_conversations_can_be_mixed(models: Home) -> None:
    """Each row by its own source's mapping; the answer tags are only in the conversations' answers."""
    texts = dataset(models, [{"text": f"Page {place}."} for place in range(8)], text_field="text")
    talks = dataset(models, [{"messages": talk(place)} for place in range(8)])
    parts = [{name: value for name, value in one.items() if name != "system_prompt"} for one in (texts, talks)]
    tags = {"solution_start": "<S>", "solution_end": "</S>", "reasoning_start": "", "reasoning_end": ""}
    section = {"source": "mix", "mix": parts, "system_prompt": "", **tags}
    whole = parse({**changed(SFT, evaluation__holdout_fraction=0), "dataset": section})
    loaded, made = prepared(make_run(models, "mixed-rows", dump_given(whole)), whole, models)
    said = {learned(one, loaded.tokenizer) for one in made.examples}
    assert {f"Page {place}.<|im_end|>" for place in range(8)} < said
    assert {f"<S>{2 * place + 2}, twice as much.</S><|im_end|>" for place in range(8)} < said
    assert len(said) == 16


def test_weighted_rows_are_not_packed(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before the first step; without weights, the texts of a conversation are packed like other rows."""
    found = [{"messages": talk(place), "w": [0, 0.5, 0, 1]} for place in range(4)]
    fields = {"columns": {"weights": "w"}}
    whole = config(models, found, fields, training__train_on="weights", sft__packing=True)
    run = make_run(models, "weights-packed", dump_given(whole))
    assert work(run, monkeypatch, models) == JobState.FAILED
    status = run.read_status()
    assert status is not None
    assert status.error_field == "sft.packing"
    plain = config(
        models, found, fields, training__train_on="all_messages", sft__packing=True,
    )  # fmt: skip
    plain = parse(changed(dump_given(plain), training__batch_size=1, training__gradient_accumulation_steps=1))
    run = make_run(models, "talks-packed", dump_given(plain))
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    assert rows(run, "training")[0]["rows"] > 1
