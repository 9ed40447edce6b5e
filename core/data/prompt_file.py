"""A file of prompts: lines of text, JSON Lines, or one JSON list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core.data.cells import plain, text_of
from core.data.conversation import Conversation, Message, answer_in, read_messages, read_tools, thought_in
from core.data.rows import parted_thought
from core.dataset import Row
from core.errors import InvalidInput

QUESTIONS = ("instruction", "prompt", "question", "input", "text")
ANSWERS = ("response", "reference", "answer", "output", "completion", "solution")
_ROLES = ("system", "user", "assistant", "tool")


def read_prompts(text: str, most: int) -> list[Row]:
    """The prompts of a file, in order.

    A line that is a JSON object has its question as ``instruction``, ``prompt``, ``question``, ``input`` or
    ``text``, or a whole conversation as ``messages``; a reference answer as ``response``, ``reference``,
    ``answer``, ``output``, ``completion`` or ``solution``; other columns are kept. Any other line is a
    prompt itself.

    >>> [row["instruction"] for row in read_prompts('What is 1 + 1?\\n\\n{"question": "And 2 + 2?", "answer": 4}', 10)]
    ['What is 1 + 1?', 'And 2 + 2?']

    Raises:
        InvalidInput: There is no prompt, there are too many, or an object has no question; names the line.
    """
    found = _listed(text) or [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not found:
        raise InvalidInput("This file has no questions: every line is empty.", field="text")
    if len(found) > most:
        raise InvalidInput(f"This file has {len(found):,} questions. The limit is {most:,}.", field="text")
    return [_row(item, number) for number, item in found]


def _listed(text: str) -> list[tuple[int, Any]]:
    """The items of a JSON list, numbered; empty if the text is not one."""
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
    row.pop("conversation", None)
    if "messages" in item:
        asked, said = _conversation(item, number)
        row["conversation"] = asked.json()
        row.setdefault("instruction", asked.question)
        if said is not None:
            row["response"] = parted_thought(answer_in(said), thought_in(said))[1]
    question = next((name for name in QUESTIONS if text_of(row.get(name)).strip()), None)
    if question is None:
        raise InvalidInput(
            f"Prompt {number} has no question. Name its column one of: {', '.join(QUESTIONS)}.", field="text"
        )
    row["instruction"] = text_of(row[question])
    answer = next((name for name in ANSWERS if text_of(item.get(name)).strip()), None)
    if answer is not None:
        row["response"] = text_of(item[answer])
    return row


def _conversation(item: Mapping[str, Any], number: int) -> tuple[Conversation, Message | None]:
    """The prompt, unchanged, and the final answer, which the model must not see."""
    messages = read_messages(item["messages"]) or ()
    asked = Conversation(messages, read_tools(item.get("tools")), as_is=True)
    if not asked.question or asked.unreadable or any(one["role"] not in _ROLES for one in messages):
        raise InvalidInput(
            f"Each message of prompt {number} needs a role ({', '.join(_ROLES)}) and text content, and at least one "
            "must be from the user.",
            field="text",
        )
    return asked.parted()
