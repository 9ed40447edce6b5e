"""Pairs and ratings before a start: the readiness list of the API, and the dataset's report."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from tokenizers import Tokenizer, models, pre_tokenizers

from core.settings import Home
from services.datasets.preparation_child import prepare
from tests.conftest import TINY


@pytest.fixture
def tokenizer(home: Home) -> None:
    """A tokenizer that counts words."""
    made = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(home.cache / "models" / "smollm2-135m-instruct" / "tokenizer.json"))


def upload(client: FlaskClient, rows: list[dict[str, Any]]) -> str:
    form = {"file": (io.BytesIO("\n".join(map(json.dumps, rows)).encode()), "rows.jsonl")}
    return str(client.post("/api/datasets/upload", data=form).get_json()["source"])


def config(source: str, method: str, **fields: str) -> dict[str, Any]:
    training = {"batch_size": 4, "gradient_accumulation_steps": 1, "max_steps": 2, "max_sequence_length": 64}
    return {
        "name": "x", "model": TINY["model"], "method": method, "training": training,
        "dataset": {"source": source, "system_prompt": "Answer.", **fields},
        "evaluation": {"holdout_fraction": 0.2},
    }  # fmt: skip


def checked(client: FlaskClient, config: dict[str, Any]) -> dict[str, list[str]]:
    """The messages by field, with their severity first."""
    answer = client.post("/api/training/check", json=config).get_json()
    found: dict[str, list[str]] = {}
    for problem in answer["problems"]:
        found.setdefault(problem["field"], []).append(f"{problem['severity']}: {problem['message']}")
    return found


def pairs(count: int = 60) -> list[dict[str, Any]]:
    return [{"question": f"What is {n}?", "good": f"It is {n}, a number.", "bad": "No."} for n in range(count)]


PAIRS = {"chosen_field": "good", "rejected_field": "bad"}


@pytest.mark.usefixtures("tokenizer")
@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_what_is_wrong_with_pairs_is_counted(client: FlaskClient, method: str) -> None:
    """Length, contradictions, equal and empty answers, and answers that the length limit cuts."""
    rows = [
        *pairs(), {"question": "Why?", "good": "a", "bad": "b"}, {"question": "Why?", "good": "b", "bad": "a"},
        {"question": "How?", "good": "so", "bad": "so"}, {"question": "When?", "good": "now", "bad": ""},
        *({"question": f"And {n}?", "good": "short", "bad": "long " * 90} for n in range(5)),
    ]  # fmt: skip
    found = checked(client, config(upload(client, rows), method, **PAIRS))
    said = "\n".join(found["dataset.chosen_field"])
    assert "warns: The better answer is the longer one in 92% of the pairs" in said
    assert "note: 2 of the 67 pairs contradict each other" in said
    assert "note: 1 of the 69 rows cannot be used and is left out: both answers are the same." in said
    assert "note: 1 of the 69 rows cannot be used and is left out: the worse answer is empty." in said
    cut = "\n".join(found["training.max_sequence_length"])
    assert "warns: 5 of the 67 rows are longer than 64 tokens, question and answer together" in cut
    assert "The first one is 'And 0?'." in cut


def test_pairs_that_are_all_equal_are_refused(client: FlaskClient) -> None:
    """With the count, and a start is not possible."""
    whole = config(upload(client, [{"question": f"{n}?", "good": "a", "bad": "a"} for n in range(9)]), "dpo", **PAIRS)
    found = checked(client, whole)
    assert "9 rows: both answers are the same" in found["dataset.instruction_field"][0]
    assert client.post("/api/training/start", json={"config": whole}).status_code == 422


@pytest.mark.usefixtures("tokenizer")
def test_pairs_whose_questions_leave_no_room_are_refused(client: FlaskClient) -> None:
    """No answer would be left to learn from."""
    rows = [row | {"question": f"{row['question']} {'word ' * 80}"} for row in pairs()]
    found = checked(client, config(upload(client, rows), "dpo", **PAIRS))
    assert found["training.max_sequence_length"][0].startswith("blocks: 60 of the 60 rows are longer than 64 tokens")


def test_ratings_of_one_kind_are_refused_before_a_start(client: FlaskClient) -> None:
    """Counted, and no job is created."""
    rows = [{"question": f"What is {n}?", "answer": f"{n}", "ok": "up"} for n in range(40)]
    whole = config(upload(client, rows), "kto", label_field="ok")
    assert checked(client, whole)["dataset.label_field"][0].startswith("blocks: All of the 40 ratings are good.")
    refused = client.post("/api/training/start", json={"config": whole})
    assert (refused.status_code, refused.get_json()["error"]["field"]) == (422, "dataset.label_field")


def test_unbalanced_ratings_get_weights(client: FlaskClient) -> None:
    """As a fix that the page makes a button of."""
    rows = [{"question": f"What is {n}?", "answer": f"{n}", "ok": "maybe" if n == 7 else n % 4 > 0} for n in range(81)]
    whole = config(upload(client, rows), "kto", label_field="ok")
    problems = client.post("/api/training/check", json=whole).get_json()["problems"]
    (weights,) = [one for one in problems if one["field"] == "kto.undesirable_weight"]
    assert "59 are good and 21 are bad" in weights["message"]
    whole["kto"] = {name.partition(".")[2]: value for name, value in weights["fix"]["values"].items()}
    found = checked(client, whole)
    assert "kto.undesirable_weight" not in found
    assert found["dataset.label_field"][0].startswith("note: 1 of the 81 rows cannot be used")


def test_the_answer_that_is_named_first_may_be_preferred_for_its_place(client: FlaskClient) -> None:
    """Only if a column says which of two answers is better."""
    winners = ["model_b" if n % 5 == 0 else "model_a" for n in range(100)]
    rows = [{"question": f"{n}?", "a": f"{n}, yes", "b": f"{n}, sure", "winner": one} for n, one in enumerate(winners)]
    source = upload(client, rows)
    named = {"chosen_field": "a", "rejected_field": "b"}
    found = checked(client, config(source, "dpo", **named, winner_field="winner"))
    assert "The answer named first is the better one in 80% of the rows" in found["dataset.winner_field"][0]
    assert "dataset.winner_field" not in checked(client, config(source, "dpo", **named))


def test_a_winner_needs_both_answers(client: FlaskClient) -> None:
    """The configuration says so."""
    answer = client.post("/api/training/check", json=config("generated:arithmetic", "sft", winner_field="w"))
    assert "name them in chosen_field and rejected_field" in answer.get_data(as_text=True)


def test_a_datasets_report_counts_them_too(client: FlaskClient, home: Home) -> None:
    """Over all rows; the page shows the same sentences."""
    from pages.datasets.report import report_view

    whole = config(upload(client, [*pairs(), {"question": "How?", "good": "so", "bad": "so"}]), "dpo", **PAIRS)
    report = prepare(whole, str(home.root), None, None)
    assert (report["preferences"]["pairs"], report["preferences"]["longer"]) == (60, 60)
    view = report_view(report)
    assert view is not None
    words = [one.words for one in view.concerns if one.key == "preferences"]
    assert len(words) == 1
    assert words[0].startswith("The better answer is the longer one in 100% of the pairs")
