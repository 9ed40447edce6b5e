"""From raw rows to mapped rows, and the held-out split."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from core.config import DatasetSection, EvaluationSection, SourceFields
from core.data.cells import text_of
from core.data.conversation import (
    Conversation,
    Message,
    answer_in,
    read_messages,
    read_reply,
    read_tools,
    text_in,
    thought_in,
)
from core.data.extract import Extraction
from core.data.names import CHOICES, folded
from core.data.preferences import NO_ANSWER, NO_RATING, pair_columns, preference, unusable_pair
from core.dataset import Row, Shape
from core.errors import InvalidInput
from core.reward import THOUGHTS

NO_QUESTION = "the question is empty"
NO_TEXT = "the text is empty"
NOT_TEXT = "a message contains something other than text, such as an image"
NOT_EXTRACTED = "no answer was found in the answer column"


def turns(value: Any) -> list[tuple[str, str]] | None:
    """(role, text) pairs of a cell with a conversation, or None if it is not one.

    >>> turns([{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}])
    [('user', '2+2?'), ('assistant', '4')]
    """
    found = read_messages(value)
    return None if found is None else [(message["role"], text_in(message)) for message in found]


def map_row(raw: Mapping[str, Any], dataset: SourceFields, *, whole: bool = False) -> Row:
    """One row by its mapped names: ``instruction``, ``response`` and every other column under its own name.

    Args:
        raw: The row as in the file.
        dataset: Its mapping. With a ``text_field``, the row has no question, and ``response`` is its text.
        whole: Whether ``conversation`` also keeps the final messages, which are the reply. ``response`` is only the
            text of the answer, without calls, roles and weights.

    A conversation in the question column is kept under ``conversation``, without its final answer; ``instruction`` is
    its last question. If the answer column is the same one, the final answer is the reference. An unmapped column
    that is itself called ``instruction`` or ``response`` is replaced. If a rule extracts the answer from a longer
    text, or the answer contains reasoning, ``full_response`` keeps the reasoning for the warm-up.

    Pairs also have ``chosen`` and ``rejected``, both as text with their reasoning; the reference is the better one.
    ``unranked`` says why neither is better, where there is a winner column.
    Ratings have ``label``: true, false, or None if it is unreadable; and ``rated``: the answer with its reasoning.
    """
    answer_column = pair_columns(raw, dataset)[0] if dataset.shape is Shape.PAIRS else dataset.response_field
    mapped = {dataset.instruction_field, answer_column}
    row = {name: value for name, value in raw.items() if name not in mapped}
    row |= {name: raw.get(column) for name, column in dataset.columns.items()}
    if isinstance(row.get("conversation"), Mapping):
        del row["conversation"]
    if dataset.text_field:
        row.pop(dataset.text_field, None)
        return row | {"instruction": "", "response": text_of(raw.get(dataset.text_field))}
    for name in ("rated", "unranked"):  # they say what was read, see below
        row.pop(name, None)
    asked, said = _asked(raw, row, dataset)
    row["instruction"] = _question(raw, dataset, asked.question.strip())
    asked = asked.asking(row["instruction"]) if dataset.instruction_template else asked
    same = answer_column == dataset.instruction_field and read_messages(raw.get(answer_column))
    given = said if same else raw.get(answer_column) if answer_column else None
    if whole:
        asked = replace(asked, reply=_reply(asked, said, None if same else given))
    if whole or not asked.one_question:
        row["conversation"] = asked.json()
    return row | _reference(given, dataset) | preference(raw, dataset)


def is_text(row: Mapping[str, Any]) -> bool:
    """Whether a mapped row is plain text to continue: it has no question, which every other row has."""
    return row.get("instruction") == "" and "conversation" not in row


def _reply(asked: Conversation, said: Message | None, given: Any) -> tuple[Message, ...]:
    """The messages after the prompt: the final one of the conversation, or those of the answer column.

    An answer column with a whole conversation repeats the prompt.
    """
    messages = read_messages([given] if isinstance(given, Mapping) and "role" in given else given)
    if messages is None and (text := text_of(given)):
        messages = ({"role": "assistant", "content": text},)
    found = messages or ()
    if [(one["role"], text_in(one)) for one in found[: len(asked.messages)]] == [
        (one["role"], text_in(one)) for one in asked.messages
    ]:
        found = found[len(asked.messages) :]
    return (*((said,) if said else ()), *found)


def _asked(raw: Mapping[str, Any], row: Row, dataset: SourceFields) -> tuple[Conversation, Message | None]:
    """The prompt with the previous turns, and the final answer if the row has one."""
    cell = raw.get(dataset.instruction_field)
    messages = read_messages(cell)
    tools = read_tools(row.get("tools") or row.get("functions"))
    system = row.get("system")
    told = ({"role": "system", "content": system},) if isinstance(system, str) and system.strip() else ()
    if messages is None:
        asked = {"role": "user", "content": text_of(cell).strip()}
        # Rows with a question and an answer have always been read without this column.
        return Conversation((*(told if dataset.shape is not Shape.EXAMPLES else ()), asked), tools), None
    if messages[0]["role"] != "system":
        messages = (*told, *messages)
    return Conversation(messages, tools).parted()


def _reference(given: Any, dataset: SourceFields) -> Row:
    """``response``, and ``full_response`` if there is reasoning."""
    messages = read_reply(given)
    if messages is not None:
        said = next((one for one in reversed(messages) if one["role"] == "assistant"), None)
        given = answer_in(said) if said else ""
        thought, answer = parted_thought(given, thought_in(said) if said else "")
    else:
        thought, answer = parted_thought(text_of(given))
    if dataset.extraction == "none":
        return {"response": answer} | ({"full_response": thought} if thought else {})
    rule = Extraction(dataset.extraction, dataset.extraction_pattern)
    found = rule(given if dataset.extraction == "json_path" else answer) or ""
    return {"response": found, "full_response": "\n\n".join(filter(None, (thought, answer)))}


def parted_thought(text: str, thought: str = "") -> tuple[str, str]:
    """The reasoning before an answer, or the separately stored one, and the answer itself.

    >>> parted_thought("<think>\\n2 + 2\\n</think>\\n\\n4"), parted_thought("4", "2 + 2"), parted_thought("4")
    (('2 + 2', '4'), ('2 + 2', '4'), ('', '4'))
    """
    text = text.strip()
    for start, end in THOUGHTS:
        if text.startswith(start) and end in text:
            thought, _, text = text.removeprefix(start).partition(end)
    return thought.strip(), text.strip()


_COLUMN = re.compile(r"\{([^{}]{1,200})\}")


def _question(raw: Mapping[str, Any], dataset: SourceFields, asked: str) -> str:
    """The question, built with the template if there is one; empty without a question column."""
    if not dataset.instruction_template or not asked:
        return asked

    def cell(match: re.Match[str]) -> str:
        name = match[1]
        if name == dataset.instruction_field:
            return asked
        return choices(raw[name], lettered=folded(name) in CHOICES) if name in raw else match[0]

    return _COLUMN.sub(cell, dataset.instruction_template).strip()


def choices(value: Any, *, lettered: bool = False) -> str:
    """A cell in a question: a list of choices becomes one line each, lettered if it has no labels.

    >>> choices({"text": ["red", "blue"], "label": ["A", "B"]})
    'A) red\\nB) blue'
    >>> choices(["A)125", "B)150"], lettered=True)
    'A)125\\nB)150'
    >>> choices(["red", "blue"], lettered=True)
    'A) red\\nB) blue'
    """
    if isinstance(value, Mapping) and isinstance(value.get("text"), list) and isinstance(value.get("label"), list):
        pairs = zip(value["label"], value["text"], strict=False)
        return "\n".join(f"{text_of(label)}) {text_of(text)}" for label, text in pairs)
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        lines = [text_of(item) for item in value]
        if lettered and len(lines) <= len(ascii_uppercase) and not all(map(_LABELLED.match, lines)):
            lines = [f"{letter}) {line}" for letter, line in zip(ascii_uppercase, lines, strict=False)]
        return "\n".join(lines)
    return _cell(value, "user")


_LABELLED = re.compile(r"\s*[(\[]?[A-Za-z0-9]{1,2}[)\].:]")


def _cell(value: Any, role: str) -> str:
    talk = turns(value)
    if talk is None:
        return text_of(value).strip()
    return next((text for speaker, text in reversed(talk) if speaker == role), "").strip()


def check_columns(columns: Iterable[str], dataset: SourceFields) -> None:
    """Reject a mapping to a missing column.

    Raises:
        InvalidInput: With the field's path and the available columns.
    """
    known = list(columns)
    # Pairs have their answers in columns of their own.
    pairs = ("chosen_field", "rejected_field", "winner_field")
    answers = pairs if dataset.shape is Shape.PAIRS else ("response_field", "label_field")
    used = ("text_field",) if dataset.text_field else ("instruction_field", *answers)
    wanted = [(field, getattr(dataset, field)) for field in used]
    for field, name in [*wanted, *((f"columns.{name}", column) for name, column in dataset.columns.items())]:
        if name and name not in known:
            raise InvalidInput(
                f"The dataset has no column {name!r}. Its columns: {', '.join(known) or 'none'}.",
                field=f"dataset.{field}",
            )


def map_rows(
    rows: Iterable[Mapping[str, Any]], dataset: SourceFields, *, whole: bool = False
) -> tuple[list[Row], dict[str, int]]:
    """Map every row, leaving out those without a question or a reference that is needed.

    Args:
        rows: From :func:`core.data.sources.load_rows`. A mixture's rows are already mapped.
        dataset: Its mapping; ``max_samples`` counts kept rows.
        whole: As in :func:`map_row`. A row then needs an assistant message; its answer may be a function call.

    Returns:
        The mapped rows, and the number left out for each reason.

    Raises:
        InvalidInput: A mapped column is missing, or no row is left.
    """
    kept: list[Row] = []
    left_out: Counter[str] = Counter()
    columns: dict[str, None] = {}
    mixed = isinstance(dataset, DatasetSection) and bool(dataset.mix)
    Extraction(dataset.extraction, dataset.extraction_pattern).check()
    for raw in rows:
        columns.update(dict.fromkeys(raw))
        row = dict(raw) if mixed else map_row(raw, dataset, whole=whole)
        reason = None if mixed else _unusable(row, dataset, whole)
        if reason:
            left_out[reason] += 1
        else:
            kept.append(row)
        if len(kept) == dataset.max_samples:
            break
    if not mixed:
        check_columns(columns, dataset)
    if not kept:
        why = "; ".join(f"{count} rows: {reason}" for reason, count in left_out.items()) or "it is empty"
        raise InvalidInput(
            f"No row of this dataset can be used ({why}). Choose other columns.",
            field=f"dataset.{'text' if dataset.text_field else 'instruction'}_field",
        )
    return kept, dict(left_out)


def _unusable(row: Row, dataset: SourceFields, whole: bool) -> str | None:
    if dataset.text_field:
        return None if row["response"].strip() else NO_TEXT
    talk = Conversation.of_row(row)
    if talk is not None and talk.unreadable:
        return NOT_TEXT
    if not row["instruction"]:
        return NO_QUESTION
    if dataset.shape is Shape.PAIRS:
        return unusable_pair(row)
    if dataset.shape is Shape.RATINGS and row["label"] is None:
        return NO_RATING
    if whole and talk is not None:
        return None if any(one["role"] == "assistant" for one in talk.complete().messages) else NO_ANSWER
    if dataset.response_field and not row["response"]:
        # Rewards with their own checker, such as reasoning-gym's, may need no reference.
        if row.get("reasoning_gym"):
            return None
        return NOT_EXTRACTED if row.get("full_response") else NO_ANSWER
    return None


def asked_text(row: Mapping[str, Any]) -> str:
    """The full prompt text of a mapped row, or the text of one without a question, for finding near duplicates."""
    talk = Conversation.of_row(row)
    return talk.text if talk else str(row["instruction"] or row["response"])


def content_hash(row: Mapping[str, Any]) -> str:
    """Hash of a mapped row's question and answer, independent of file and order.

    Previous turns are included. The worse answer and the rating are not: pairs with the same better answer, and
    ratings that contradict each other, belong in the same split. Nor is the reply: it is the answer, and a row must not
    change splits with what is trained on.
    """
    talk = Conversation.of_row(row)
    alone = talk is None or (talk.one_question and not talk.as_is)
    told = [] if talk is None or alone else [replace(talk, reply=()).json()]
    text = json.dumps([row["instruction"], row["response"], *told], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Split:
    """Rows by purpose; no row, and no two equal rows, are in two splits.

    Attributes:
        train: For training.
        holdout: Evaluated during training, at most ``max_rows``.
        test: Kept for a test after training.
        spare: Held out beyond ``max_rows``: neither trained on nor scored, so that no row changes splits when a
            dataset grows.
    """

    train: list[Row]
    holdout: list[Row]
    test: list[Row]
    spare: list[Row]


def split_rows(rows: list[Row], evaluation: EvaluationSection, seed: int) -> Split:
    """Assign every row to a split by its content and the seed alone.

    Each row is hashed to a number from 0 to 1. The lowest are for the test, those above them are held out. Rows that
    are added later do not move others. If no row happens to be held out, as with a few dozen rows, the lowest one is.
    """
    test_below = evaluation.test_fraction
    held_below = test_below + evaluation.holdout_fraction
    sides: dict[str, list[tuple[float, Row]]] = {"train": [], "holdout": [], "test": []}
    for row in rows:
        place = _place(row, seed)
        side = "test" if place < test_below else "holdout" if place < held_below else "train"
        sides[side].append((place, row))
    _not_empty(sides, evaluation)
    limit = sorted(place for place, _ in sides["holdout"])[: evaluation.max_rows]
    scored = set(limit)
    return Split(
        train=[row for _, row in sides["train"]],
        holdout=[row for place, row in sides["holdout"] if place in scored][: evaluation.max_rows],
        test=[row for _, row in sides["test"]],
        spare=[row for place, row in sides["holdout"] if place not in scored],
    )


def _not_empty(sides: dict[str, list[tuple[float, Row]]], evaluation: EvaluationSection) -> None:
    """Move rows if a required split came out empty."""
    if not sides["train"]:
        other = "holdout" if sides["holdout"] else "test"
        last = max((place for place, _ in sides[other]), default=None)
        _move(sides, other, "train", last)
    places = {place for place, _ in sides["train"]}
    if evaluation.holdout_fraction and not sides["holdout"] and len(places) > 1:
        _move(sides, "train", "holdout", min(places))


def _move(sides: dict[str, list[tuple[float, Row]]], source: str, target: str, place: float | None) -> None:
    sides[target] += [pair for pair in sides[source] if pair[0] == place]
    sides[source] = [pair for pair in sides[source] if pair[0] != place]


def _place(row: Row, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{content_hash(row)}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def split_holdout(rows: list[Row], evaluation: EvaluationSection, seed: int) -> tuple[list[Row], list[Row]]:
    """Training and held-out rows. See :func:`split_rows`."""
    split = split_rows(rows, evaluation, seed)
    return split.train, split.holdout
