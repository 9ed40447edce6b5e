"""The preview of what is trained, on the Dataset step and over the API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from core.settings import Home
from services.container import Services
from tests.conftest import Browser
from tests.support.multipart import send_file

TEMPLATE = (
    "{% for one in messages %}<|s|>{{ one.role }}\n{{ one.content }}<|e|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|s|>assistant\n{% endif %}"
)
TALK = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "A <|e|> 🙂"},
    {"role": "user", "content": "So?"},
    {"role": "assistant", "content": "B"},
]


@pytest.fixture
def section(home: Home, client: FlaskClient) -> dict[str, Any]:
    """A dataset of conversations, and a byte-level tokenizer for the built-in model."""
    folder = home.cache / "models" / "smollm2-135m-instruct"
    alphabet = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|s|>", special=True), AddedToken("<|e|>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|e|>", "chat_template": TEMPLATE}))
    rows = [{"messages": TALK, "w": [0, 0.5, 0, 1]}, {"messages": TALK[:3], "w": [0, 1, 0]}]
    data = "\n".join(map(json.dumps, rows)).encode()
    made = send_file(client, "/api/datasets/upload", data, "talks.jsonl").get_json()
    return {
        "source": made["source"], "instruction_field": "messages", "response_field": "messages", "system_prompt": "",
        "columns": {"weights": "w"}, "solution_start": "", "solution_end": "",
    }  # fmt: skip


def config(section: dict[str, Any], **training: Any) -> dict[str, Any]:
    return {"model": {"name": "builtin:smollm2-135m-instruct"}, "dataset": section, "training": training}


def spoken(choice: dict[str, Any]) -> list[tuple[str, float]]:
    """Stretches of tokens with the same weight, without those that are not trained."""
    found: list[tuple[str, float]] = []
    before = 0.0
    for token in choice["texts"][0]["tokens"]:
        if token["weight"] and token["weight"] == before:
            found[-1] = (found[-1][0] + token["text"], before)
        elif token["weight"]:
            found.append((token["text"], token["weight"]))
        before = token["weight"]
    return found


def test_the_api_gives_every_token_its_weight_for_each_choice(client: FlaskClient, section: dict[str, Any]) -> None:
    body = {"config": config(section, train_on="weights", batch_size="unreadable"), "samples": 2}
    seen = client.post("/api/datasets/trained", json=body).get_json()
    assert seen["train_on"] == "weights"
    first, second = seen["rows"]
    answers = ["A <|e|> 🙂<|e|>", "B<|e|>"]
    assert spoken(first["last_assistant_message"]) == spoken(first["last_assistant_turn"]) == [(answers[1], 1.0)]
    assert spoken(first["all_assistant_messages"]) == [(answers[0], 1.0), (answers[1], 1.0)]
    assert [text for text, _ in spoken(first["all_messages"])] == ["Hi<|e|>", answers[0], "So?<|e|>", answers[1]]
    assert spoken(first["weights"]) == [(answers[0], 0.5), (answers[1], 1.0)]
    (whole,) = spoken(first["all_tokens"])
    tokens = first["all_tokens"]["texts"][0]["tokens"]
    # The first token is not predicted from anything. A token that only completes a character has no text.
    assert (tokens[0]["text"], tokens[0]["weight"], first["all_tokens"]["trained"]) == ("<|s|>", 0, len(tokens) - 1)
    assert whole[0].startswith("user\nHi<|e|>\n<|s|>assistant\nA <|e|> 🙂")
    assert sum(token["text"] == "" for token in tokens) == 3
    # The quoted end token is text.
    assert sum(token["text"] == "<|e|>" for token in tokens) == 4
    assert "no answer at its end" in second["last_assistant_message"]["refused"]
    assert second["last_assistant_turn"]["trained"] == 0


def test_tokens_after_the_length_limit_are_not_counted(client: FlaskClient, section: dict[str, Any]) -> None:
    body = {"config": config(section, max_sequence_length=16)}
    (row,) = client.post("/api/datasets/trained", json=body).get_json()["rows"]
    assert row["last_assistant_message"]["trained"] == 0
    assert row["all_tokens"]["tokens"] == 16
    assert row["all_tokens"]["texts"][0]["cut"] > 0


def test_plain_text_is_previewed_whole(client: FlaskClient, section: dict[str, Any]) -> None:
    """Every choice trains all of it, and the end-of-sequence token."""
    text = {"source": section["source"], "text_field": "w"}
    (row,) = client.post("/api/datasets/trained", json={"config": config(text)}).get_json()["rows"]
    assert {tuple(spoken(choice)) for choice in row.values()} == {(("0, 0.5, 0, 1]<|e|>", 1.0),)}


def test_the_step_shows_the_choices_with_text_marks_and_weights(
    browser: Browser, services: Services, section: dict[str, Any]
) -> None:
    """The chosen one is open. Trained stretches say so, with their weight, not only by their color."""
    services.wizard.load({"name": "x", "method": "sft", **config(section, train_on="weights")})
    page = browser.get("/new/dataset").text
    assert page.count('data-testid="trained-choice"') == 6
    opened = page.partition('id="trained-weights" data-testid="trained-choice" open')[2]
    assert 'class="trained shade-1"' in opened
    assert "trained with weight 0.5: " in opened
    assert page.count('data-testid="trained-choice" open') == 1
    assert "Weights from the data: a number for each message" in browser.get("/new/configuration").text


def test_other_methods_have_no_such_choice(browser: Browser, services: Services, section: dict[str, Any]) -> None:
    services.wizard.load({"name": "x", **config(section), "reward": {"type": "preset", "preset_name": "math"}})
    assert 'data-testid="trained"' not in browser.get("/new/dataset").text
    page = browser.get("/new/configuration").text
    assert "training.train_on" not in page
    assert "dataset.text_field" not in browser.get("/new/dataset").text


def test_a_refused_choice_says_why_and_a_row_without_one_is_no_error(
    browser: Browser, services: Services, section: dict[str, Any]
) -> None:
    own = {**section, "columns": {"weights": "messages"}}
    services.wizard.load({"name": "x", "method": "sft", **config(own, train_on="weights")})
    page = browser.get("/new/dataset").text
    assert "Use a number of 0 or more" in page
    assert "not possible for this row" in page


def test_plain_text_is_chosen_prepared_and_ready(
    client: FlaskClient, browser: Browser, services: Services, section: dict[str, Any]
) -> None:
    """The page offers the columns; neither question nor answer column is needed, and nothing blocks a start."""
    text = {"source": section["source"], "text_field": "w"}
    whole = {"name": "x", "method": "sft", **config(text, max_steps=1)}
    services.wizard.load(whole)
    page = browser.get("/new/dataset").text
    assert '<select id="dataset-text-field"' in page
    assert "Plain text, without a prompt:" in page
    report = client.post("/api/datasets/prepare", json={"config": whole}).get_json()
    assert report["lengths"]["prompt"]["most"] == 0
    assert report["lengths"]["reference"]["most"] == len("[0, 0.5, 0, 1]")
    found = client.post("/api/training/check", json=whole).get_json()
    assert not [one for one in found["problems"] if one["severity"] == "blocks"]
    scored = {**whole, "method": "grpo", "reward": {"type": "preset", "preset_name": "math"}}
    problems = client.post("/api/training/check", json=scored).get_json()["problems"]
    assert "dataset.text_field" in [one["field"] for one in problems if one["severity"] == "blocks"]
