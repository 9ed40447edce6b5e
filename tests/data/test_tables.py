"""Tables written as one JSON value, lists in CSV cells, and ambiguous guesses."""

from __future__ import annotations

import doctest
import functools
import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data import literals, reading, uploads
from core.data.detect import CHOOSE, guess_fields
from core.data.ingest import AlreadyHere, BadRows, HeadingUnsure
from core.data.nested import MAX_DEPTH
from tests.data.test_formats import keep

QA = [{"question": "a?", "answer": "1"}, {"question": "b?", "answer": "2"}]


def rows(folder: Path, value: Any, name: str = "a.json") -> list[dict[str, Any]]:
    info = keep(folder, name, json.dumps(value).encode())
    return list(uploads.iter_rows(folder / info.id))


@pytest.mark.parametrize("module", ["tables", "names", "literals", "transcripts", "nested", "detect", "headings"])
def test_the_examples_in_the_docstrings_hold(module: str) -> None:
    """The doctests pass."""
    result = doctest.testmod(importlib.import_module(f"core.data.{module}"))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    "value",
    [
        {"version": "1.1", "license": "MIT", "problems": QA},
        {"train": {"question": ["a?", "b?"], "answer": ["1", "2"]}},
        {"data": {"rows": QA}},
        {"0": QA[0], "1": QA[1]},
        {"questions": ["a?", "b?"], "answers": ["1", "2"]},
    ],
)
def test_a_table_is_found_wherever_it_lies_in_the_object(tmp_path: Path, value: dict[str, Any]) -> None:
    """Under any name beside a version, by columns under a container's name, and under numbers."""
    found = rows(tmp_path, value)
    assert [list(row.values()) for row in found] == [["a?", "1"], ["b?", "2"]]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "a?", "choices": [{"text": "x"}, {"text": "y"}], "answer": "x"},
        {"messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]},
        {"question": "a?", "answer": {"value": 3}},
        {"question": "a?", "answers": ["1", "2"]},
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_one_row_alone_is_a_row(tmp_path: Path, row: dict[str, Any], name: str) -> None:
    """Its lists and objects are cells, not tables."""
    assert rows(tmp_path, row, name) == [row]


def test_lists_of_cells_are_a_table_and_lists_of_turns_are_conversations(tmp_path: Path) -> None:
    """What pandas calls orient="values", and a list of conversations without names."""
    assert rows(tmp_path, [["a?", "x"], ["b?", "y"]])[1] == {"column 1": "b?", "column 2": "y"}
    talk = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]
    assert rows(tmp_path, [talk, talk]) == [{"messages": talk}] * 2
    with pytest.raises(BadRows, match="it has 1 cell, but the table has 2 columns"):
        rows(tmp_path, [["a?", "x"], ["b?"]])


def test_squad_as_its_authors_publish_it(tmp_path: Path) -> None:
    """Articles with paragraphs with questions become a row for each question, mapped like the Hub's copy."""
    asked = {"question": "Who won?", "id": "1", "answers": [{"text": "Denver", "answer_start": 0}]}
    article = {"title": "Game", "paragraphs": [{"context": "Denver won.", "qas": [asked, {**asked, "id": "2"}]}]}
    info = keep(tmp_path, "train.json", json.dumps({"version": "2.0", "data": [article]}).encode())
    assert info.rows == 2
    assert (info.fields.response, info.fields.pattern) == ("answers", "[0].text")
    assert uploads.page(tmp_path / info.id, 1, 1)[0]["context"] == "Denver won."


def test_skipped_data_is_reported(tmp_path: Path) -> None:
    """A second split is counted and named; truncated cells of the rows API and uneven columns make a bad row."""
    info = keep(tmp_path, "a.json", json.dumps({"train": QA, "test": QA * 3}).encode())
    assert (info.rows, info.notes) == (2, ("Only the rows under 'train' were read. 'test' has 6 more.",))
    cut = {"rows": [{"row_idx": 0, "row": QA[0], "truncated_cells": ["question"]}]}
    with pytest.raises(BadRows, match="cut off some of its cells; import the dataset itself"):
        rows(tmp_path, cut)
    with pytest.raises(BadRows, match=r"differ in length \(question 2, answer 1\)"):
        rows(tmp_path, {"question": ["a?", "b?"], "answer": ["1"]})


@pytest.mark.parametrize("names", [("question", "answer"), ("questions", "answers"), ("data", "rows")])
def test_a_table_by_columns_is_held_to_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    """All columns together, whatever their names; the message says how to write it instead."""
    cells = [f"is {i} a number?" for i in range(20_000)]
    monkeypatch.setattr(reading, "MAX_TABLE", 1 << 18)
    with pytest.raises(BadRows, match="save the rows as JSON Lines"):
        rows(tmp_path, dict.fromkeys(names, cells))
    assert len(rows(tmp_path, dict.fromkeys(names, cells[:4000]))) == 4000


def test_cells_with_lists_are_decided_once_for_the_column(tmp_path: Path) -> None:
    """A single plain text anywhere makes the column text; numbers in lists stay as written."""
    lines = ["question,choices,notes,answer"]
    lines += [f"""q{i}?,"['{i}', '2', '3']","[{i}, 2]",{i}""" for i in range(2100)]
    plain = "\n".join([*lines, """last?,"['1', '2']",see [1],1"""]).encode()
    info = keep(tmp_path, "a.csv", plain)
    last = list(uploads.iter_rows(tmp_path / info.id))[-2:]
    assert [row["choices"] for row in last] == [["2099", "2", "3"], ["1", "2"]]
    assert [row["notes"] for row in last] == ["[2099, 2]", "see [1]"]
    assert (info.kinds["choices"], info.kinds["notes"]) == ("list", "text")
    assert info.fields.template == "{question}\n\n{choices}"


def test_question_and_reference_stay_the_text_they_are(tmp_path: Path) -> None:
    """A reference that is JSON text is compared as text, unchanged."""
    info = keep(tmp_path, "a.csv", b'question,answer\nlist one?,"[1,2]"\nand two?,"[3,4]"\n')
    assert [row["answer"] for row in uploads.iter_rows(tmp_path / info.id)] == ["[1,2]", "[3,4]"]


@pytest.mark.parametrize(
    "value",
    [
        ["a", "it's", 'say "hi"', "", "line\nend", "back\\slash", "é 你"],
        [1, -2.5, 1e9, True, None],
        [["a"], {"b": [1, {"c": "d"}]}],
        {"text": ["x", "y"], "label": ["A", "B"]},
        [],
    ],
)
def test_what_python_json_and_numpy_print_is_read_back(value: Any) -> None:
    """The same value from each way of writing it."""
    assert literals.structured(repr(value)) == value
    assert literals.structured(json.dumps(value)) == value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        assert literals.structured(str(np.array(value, dtype=object))) == value
        assert literals.structured(repr({"text": np.array(value, dtype=object)})) == {"text": value}


@pytest.mark.parametrize(
    "text",
    [
        "[see below]", "[1] and [2]", "[1", "{}}", "['a' + 'b']", "[__import__('os')]", "{1, 2}", "[a]", "()", "(1, 2)",
        "['unclosed]", "[1 2 3]x", "[..., 'a']", "[1,,2]", "{'a' 1}", "{'a': 1 'b': 2}", "['a''b']",
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "[" * 100_000 + "'a'" + "]" * 100_000, "['" + "a" * (1 << 20) + "']",
    ],
)  # fmt: skip
def test_other_texts_are_texts(text: str) -> None:
    """Nothing is evaluated or partly read, nothing too deep or too long."""
    assert literals.structured(text) is None


@pytest.mark.parametrize(
    ("row", "question", "answer", "asks"),
    [
        ({"question": "a?", "thinking": "so", "correct_answer": "b"}, "question", "correct_answer", False),
        ({"question": "a?", "choices": ["x", "y"], "answerKey": "B"}, "question", "answerKey", False),
        ({"question": "a?", "reasoning": "long " * 50, "Final Answer": "b"}, "question", "Final Answer", False),
        ({"rationale": "long " * 50, "question": "a?", "correct": "B", "options": ["A)1", "B)2"]}, "question", "correct", False),
        ({"question": "a?", "distractor1": "x", "distractor2": "y", "correct_answer": "z"}, "question", "correct_answer", False),
        ({"frage": "a?", "antwort": "b", "thema": "c"}, "frage", "antwort", False),
        ({"asked": "a?", "one": "b", "two": "c"}, "asked", None, True),
        ({"question": "a?"}, "question", None, True),
        ({"asked": "a?", "said": "b"}, "asked", "said", True),
        ({"messages": [{"role": "user", "content": "a?"}]}, "messages", None, True),
    ],
)  # fmt: skip
def test_a_guess_is_sure_or_asks(row: dict[str, Any], question: str, answer: str | None, asks: bool) -> None:
    """Reasoning, choices and wrong answers are never the answer; position does not decide between several columns."""
    guess = guess_fields([row, row])
    assert (guess.instruction, guess.response, bool(guess.ask)) == (question, answer, asks)
    assert (guess.ask == CHOOSE) == (answer is None)
    assert (guess.confidence >= 0.7) != asks


def test_choices_in_columns_of_their_own_are_shown_below_the_question() -> None:
    """A, B, C, D as in C-Eval, and opa … as in MedMCQA; choices already in the question are not repeated."""
    guess = guess_fields([{"question": "a?", "A": "x", "B": "y", "C": "z", "D": "w", "answer": "B"}])
    assert guess.template == "{question}\n\nA) {A}\nB) {B}\nC) {C}\nD) {D}"
    guess = guess_fields([{"question": "a?", "opa": "x", "opb": "y", "opc": "z", "opd": "w", "cop": 2, "exp": "why"}])
    assert (guess.response, guess.template) == ("cop", "{question}\n\nA) {opa}\nB) {opb}\nC) {opc}\nD) {opd}")
    assert guess_fields([{"question": "a, b or c?", "choices": ["a", "b", "c"], "answer": "b"}]).template is None


@pytest.mark.parametrize(
    ("text", "heading"),
    [
        ("question,answer\nWhat is 1 + 1?,2\n", "yes"),
        ("Frage;Antwort\nWas ist 1 + 1?;2\n", "yes"),
        ("city,population\nOslo,700000\nRome,2800000\n", "yes"),
        (",question,answer\n0,a?,b\n", "yes"),
        ("wording,verdict\nThe food was cold and the waiter rude.,bad\nLovely evening with wonderful people.,good\n", "yes"),
        ("What colour do you like?,When?\nred,today\nblue,yesterday\n", "unsure"),
        ("What is 1 + 1?,2\nWhat is 2 + 2?,4\n", "no"),
        ("What is 1 + 1?,2\n", "no"),
        ("Great film,positive\nDull film,negative\nFine film,positive\n", "no"),
        ("cat,3,4\ndog,5,6\n", "no"),
        ("Paris,France\nRome,Italy\n", "unsure"),
        ("Hund,dog\nKatze,cat\n", "unsure"),
    ],
)  # fmt: skip
def test_the_first_line_is_a_heading_or_a_row_or_a_question(tmp_path: Path, text: str, heading: str) -> None:
    """By its cells and those below; if unclear, nothing is stored until the user has decided."""
    if heading == "unsure":
        with pytest.raises(HeadingUnsure, match="seems to have no header row"):
            keep(tmp_path, "a.csv", text.encode())
        assert list(tmp_path.iterdir()) == []
        return
    info = keep(tmp_path, "a.csv", text.encode())
    assert (info.heading, info.rows) == (heading, text.count("\n") - (heading == "yes"))


def test_the_user_decides_what_the_first_line_is(tmp_path: Path) -> None:
    """The user's choice overrides any guess; without a header, columns are numbered and the first row is kept."""
    text = b"Paris,France\nRome,Italy\n"
    rows_of = {}
    for choice in ("yes", "no"):
        info = uploads.store(io.BytesIO(text), "a.csv", tmp_path, 1 << 20, heading=choice)
        rows_of[choice] = list(uploads.iter_rows(tmp_path / info.id))
    assert rows_of["yes"] == [{"Paris": "Rome", "France": "Italy"}]
    assert rows_of["no"] == [{"column 1": "Paris", "column 2": "France"}, {"column 1": "Rome", "column 2": "Italy"}]


def test_identical_content_is_reported_and_not_stored_again(tmp_path: Path) -> None:
    """Even under another name; read differently, or stored again on request, it is another dataset."""
    text = b"Paris,France\nRome,Italy\n"
    store: Any = functools.partial(uploads.store, uploads=tmp_path, limit=1 << 20, once=True)
    first = store(io.BytesIO(text), "a.csv", heading="no")
    for options in ({"heading": "no"}, {}):
        with pytest.raises(AlreadyHere, match=r"You already have this file: a\.csv, 2 rows") as refused:
            store(io.BytesIO(text), "b.csv", **options)
        assert refused.value.info == first
    assert len(list(tmp_path.iterdir())) == 1
    second = store(io.BytesIO(text), "a.csv", heading="yes")
    third = uploads.store(io.BytesIO(text), "a.csv", tmp_path, 1 << 20, heading="no")
    assert len({first.id, second.id, third.id}) == 3
    other = store(io.BytesIO(b"question,answer\na?,b\n"), "a.csv")
    names = uploads.names(tmp_path)
    assert names[other.id] == f"a.csv ({other.sha256[:6]})" != names[first.id]
    (tmp_path / first.id / "info.json").write_text("{")
    (tmp_path / second.id / "info.json").unlink()
    assert store(io.BytesIO(b"question,answer\nc?,d\n"), "c.csv").rows == 1
