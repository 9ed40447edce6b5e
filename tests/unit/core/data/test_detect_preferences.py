"""Pairs and ratings are recognized by the names and cells of their columns."""

from __future__ import annotations

from typing import Any

import pytest

from core.config import DatasetSection
from core.data.conversation import Conversation
from core.data.detect import guess_fields
from core.data.rows import map_row

ASK, GOOD, BAD = "Name a river in Italy.", "The Po.", "The Nile."


def said(text: str, *before: tuple[str, str]) -> list[dict[str, str]]:
    turns = [*before, ("assistant", text)]
    return [{"role": role, "content": content} for role, content in turns]


PAIRS: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "py-dpo": ({"prompt": ASK, "chosen": GOOD, "rejected": BAD, "id": "1"}, ("prompt", "chosen", "rejected")),
    "orca": (
        {"system": "Be brief.", "question": ASK, "chosen": GOOD, "rejected": BAD},
        ("question", "chosen", "rejected"),
    ),
    "better and worse": ({"question": ASK, "better": GOOD, "worse": BAD}, ("question", "better", "worse")),
    "other spellings": (
        {"Prompt": ASK, "Preferred Response": GOOD, "Dispreferred Response": BAD},
        ("Prompt", "Preferred Response", "Dispreferred Response"),
    ),
    "UltraFeedback": (
        {
            "prompt": ASK, "prompt_id": "a", "messages": said(GOOD, ("user", ASK)), "score_chosen": 8.0,
            "chosen": said(GOOD, ("user", ASK)), "rejected": said(BAD, ("user", ASK)), "score_rejected": 2.0,
        },
        ("prompt", "chosen", "rejected"),
    ),
    "conversations alone": (
        {"source": "a", "chosen": said(GOOD, ("user", ASK)), "rejected": said(BAD, ("user", ASK))},
        ("chosen", "chosen", "rejected"),
    ),
    "a question that lacks earlier turns": (
        {
            "prompt": "Hello",
            "chosen": said(GOOD, ("user", "Hello"), ("assistant", "Hi"), ("user", ASK)),
            "rejected": said(BAD, ("user", "Hello"), ("assistant", "Hi"), ("user", ASK)),
        },
        ("chosen", "chosen", "rejected"),
    ),
    "transcripts": (
        {"chosen": f"\n\nHuman: {ASK}\n\nAssistant: {GOOD}", "rejected": f"\n\nHuman: {ASK}\n\nAssistant: {BAD}"},
        ("chosen", "chosen", "rejected"),
    ),
    "replies after a conversation": (
        {"messages": [{"role": "user", "content": ASK}], "chosen": said(GOOD), "rejected": said(BAD)},
        ("messages", "chosen", "rejected"),
    ),
    "ShareGPT": (
        {
            "conversations": [{"from": "human", "value": ASK}],
            "chosen": {"from": "gpt", "value": GOOD}, "rejected": {"from": "gpt", "value": BAD},
        },
        ("conversations", "chosen", "rejected"),
    ),
    "one column always better": (
        {"prompt": ASK, "response_0": BAD, "response_1": GOOD, "better_response_id": 1},
        ("prompt", "response_1", "response_0"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_recognized(name: str) -> None:
    """And the mapping gives the question and both answers."""
    row, expected = PAIRS[name]
    guess = guess_fields([row, row])
    assert (guess.instruction, guess.response, guess.rejected) == expected
    assert guess.label is None
    assert guess.confidence >= 0.9
    assert guess.instruction
    section = DatasetSection(
        source="x", instruction_field=guess.instruction, chosen_field=expected[1], rejected_field=expected[2]
    )
    mapped = map_row(row, section)
    assert (mapped["instruction"], mapped["chosen"], mapped["rejected"]) == (ASK, GOOD, BAD)


def test_a_system_column_of_pairs_is_part_of_the_prompt() -> None:
    """Rows without preferences are read as before."""
    row = PAIRS["orca"][0]
    section = DatasetSection(source="x", chosen_field="chosen", rejected_field="rejected")
    told = Conversation.of_row(map_row(row, section))
    assert told is not None
    assert told.messages == ({"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK})
    assert "conversation" not in map_row(row, DatasetSection(source="x", response_field="chosen"))


def test_a_question_of_two_columns_keeps_both() -> None:
    """As without preferences."""
    row = {"instruction": "Translate into French.", "input": "cheese", "chosen": "fromage", "rejected": "pain"}
    assert guess_fields([row]).template == "{instruction}\n\n{input}"


def test_an_unnamed_question_is_to_be_checked() -> None:
    """The names of the answers are certain, that of the question is not."""
    guess = guess_fields([{"what they wrote": "Where is it?", "better": GOOD, "worse": BAD}] * 2)
    assert (guess.instruction, guess.response, guess.rejected) == ("what they wrote", "better", "worse")
    assert guess.confidence < 0.7
    assert "what they wrote" in guess.ask


NO_PAIRS: dict[str, list[dict[str, Any]]] = {
    "which is better differs": [
        {"prompt": ASK, "response_0": GOOD, "response_1": BAD, "better_response_id": 0},
        {"prompt": ASK, "response_0": BAD, "response_1": GOOD, "better_response_id": 1},
    ],
    "nothing says which is better": [{"prompt": ASK, "response_0": GOOD, "response_1": BAD}] * 2,
    "scores": [{"question": ASK, "answer": GOOD, "chosen": 4.5, "rejected": 2.0}] * 2,
    "equal answers": [{"prompt": ASK, "chosen": GOOD, "rejected": GOOD}] * 2,
    "only one answer": [{"prompt": ASK, "chosen": GOOD}] * 2,
}


@pytest.mark.parametrize("name", NO_PAIRS)
def test_other_rows_are_no_pairs(name: str) -> None:
    """A guess that is wrong half the time would teach the worse answers."""
    assert guess_fields(NO_PAIRS[name]).rejected is None


def test_two_answers_without_a_fixed_winner_say_what_to_do() -> None:
    """Where the winner column can be read it is named; otherwise the file has to change."""
    rows = [
        {"prompt": ASK, "response_a": GOOD, "response_b": BAD, "winner": "a"},
        {"prompt": ASK, "response_a": BAD, "response_b": GOOD, "winner": "b"},
    ]
    ask = guess_fields(rows).ask
    assert "'winner' says which is better" in ask
    assert "'winner' as the winner column" in ask
    ask = guess_fields([row | {"winner": f"see note {place}"} for place, row in enumerate(rows)]).ask
    assert "one column with the better and one with the worse answers" in ask


RATINGS: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "booleans": ({"prompt": ASK, "completion": GOOD, "label": True}, ("prompt", "completion", "label")),
    "kto-mix": (
        {"prompt": [{"role": "user", "content": ASK}], "completion": said(GOOD), "label": False},
        ("prompt", "completion", "label"),
    ),
    "text": ({"question": ASK, "response": GOOD, "thumbs": "thumbs up"}, ("question", "response", "thumbs")),
    "numbers": ({"input": ASK, "completion": GOOD, "label": 1}, ("input", "completion", "label")),
    "an unusual name for the answer": (
        {"prompt": ASK, "reply": GOOD, "thumbs_up": 0},
        ("prompt", "reply", "thumbs_up"),
    ),
    "a conversation": (
        {"messages": said(GOOD, ("user", ASK)), "feedback": "good"},
        ("messages", "messages", "feedback"),
    ),
}


@pytest.mark.parametrize("name", RATINGS)
def test_ratings_are_recognized(name: str) -> None:
    """Beside the question and the answer."""
    row, expected = RATINGS[name]
    guess = guess_fields([row, row])
    assert (guess.instruction, guess.response, guess.label) == expected
    assert guess.rejected is None


@pytest.mark.parametrize(
    "row",
    [
        {"text": "Buy now", "label": 1},
        {"question": ASK, "answer": GOOD, "rating": 4},
        {"question": ASK, "answer": GOOD, "label": "river"},
        {"question": "Is it a river?", "passage": "It flows.", "answer": True},
    ],
    ids=["classification", "stars", "category", "yes or no"],
)
def test_other_labels_are_no_ratings(row: dict[str, Any]) -> None:
    """The label of a classification is the answer; stars and categories are neither good nor bad."""
    guess = guess_fields([row, row])
    assert guess.label is None
    assert guess.response in {"label", "answer"}
