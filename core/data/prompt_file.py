"""A file of prompts: lines of text, JSON Lines, or one JSON list."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.data.rows import message_text, plain, text_of
from core.dataset import Row
from core.errors import InvalidInput

QUESTIONS = ("instruction", "prompt", "question", "input", "text")
ANSWERS = ("response", "reference", "answer", "output", "completion", "solution")
_ROLES = ("system", "user", "assistant")


def read_prompts(text: str, most: int) -> list[Row]:
    """The prompts of a file, in order.

    A line that is a JSON object has its question as ``instruction``, ``prompt``, ``question``, ``input`` or
    ``text``, or a whole conversation as ``messages``; a reference answer as ``response``, ``reference``,
    ``answer``, ``output``, ``completion`` or ``solution``; further columns are kept. Any other line is a
    prompt as it stands.

    >>> [row["instruction"] for row in read_prompts('What is 1 + 1?\\n\\n{"question": "And 2 + 2?", "answer": 4}', 10)]
    ['What is 1 + 1?', 'And 2 + 2?']

    Raises:
        InvalidInput: There is no prompt, there are too many, or an object has no question; with its line.
    """
    found = _listed(text) or [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not found:
        raise InvalidInput("There is no prompt in this file: every line of it is empty.", field="text")
    if len(found) > most:
        raise InvalidInput(f"There are {len(found)} prompts in this file; at most {most} are asked.", field="text")
    return [_row(item, number) for number, item in found]


def _listed(text: str) -> list[tuple[int, Any]]:
    """The items of a JSON list, numbered; nothing where the text is none."""
    if not text.lstrip().startswith("["):
        return []
    try:
        data = json.loads(text)
    except ValueError:
        return []
    return list(enumerate(data, 1))


def _row(item: Any, number: int) -> Row:
    if isinstance(item, str):
        try:
            read = json.loads(item) if item.lstrip().startswith(("{", '"')) else item
        except ValueError:
            read = item
        item = read
    if isinstance(item, Mapping):
        return _from_object(plain(item), number)
    return {"instruction": str(item).strip()}


def _from_object(item: dict[str, Any], number: int) -> Row:
    row = dict(item)
    if "messages" in item:
        row["messages"] = _conversation(item["messages"], number)
        row.setdefault("instruction", next(m["content"] for m in reversed(row["messages"]) if m["role"] == "user"))
    question = next((name for name in QUESTIONS if text_of(row.get(name)).strip()), None)
    if question is None:
        raise InvalidInput(f"Prompt {number} has no question. Name its column {', '.join(QUESTIONS)}.", field="text")
    row["instruction"] = text_of(row[question])
    answer = next((name for name in ANSWERS if text_of(item.get(name)).strip()), None)
    if answer is not None:
        row["response"] = text_of(item[answer])
    return row


def _conversation(value: Any, number: int) -> list[dict[str, str]]:
    said = value if isinstance(value, Sequence) and not isinstance(value, str) else []
    messages = [
        {"role": str(one["role"]), "content": message_text(one["content"])}
        for one in said
        if isinstance(one, Mapping) and one.get("role") in _ROLES and "content" in one
    ]
    if len(messages) != len(said) or not any(message["role"] == "user" for message in messages):
        raise InvalidInput(
            f"The messages of prompt {number} must each have a role ({', '.join(_ROLES)}) and a content, "
            "and one must be the user's.",
            field="text",
        )
    # What the model is to write now is not given to it.
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages
