"""What a row is trained on: a weight for each message, and texts whose tokens have weights.

Pure. :mod:`core.data.spans` makes the texts; training and the preview turn them into tokens with :func:`weighted`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.config.training import TrainOn
from core.data.chat_template import T, Tokenize, continued, cut_text
from core.data.conversation import Conversation
from core.data.nested import decoded
from core.dataset import Row
from core.errors import InvalidInput

WORDS: Mapping[TrainOn, str] = {
    "last_assistant_message": "The last assistant message",
    "last_assistant_turn": "The last assistant turn: all assistant messages after the last user message",
    "all_assistant_messages": "All assistant messages",
    "all_messages": "All messages, including system, user and tool messages",
    "all_tokens": "All tokens, including what the chat template adds",
    "weights": "Weights from the data: a number for each message",
}
"""The choices of ``training.train_on`` for pages."""
COLUMN = "weights"
"""Mapped column with a number for each message of a row."""


@dataclass(frozen=True)
class TrainingText:
    """A text to train on, and which of its characters are trained with which weight.

    Attributes:
        parts: The text in parts. Each is tokenized on its own, as the continuation of the one before: a control token
            inside a message is split, and a reply begins a part, because the model writes it after a finished prompt.
        spans: ``(start, end, weight)`` in characters of the whole text, ascending, without overlap. Nothing else is
            trained.
        fresh: Number of a part that is tokenized as if nothing preceded it; None for none.
    """

    parts: tuple[str, ...]
    spans: tuple[tuple[int, int, float], ...]
    fresh: int | None = None

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def json(self) -> dict[str, Any]:
        """JSON data, for another process."""
        return {"parts": list(self.parts), "spans": [list(span) for span in self.spans], "fresh": self.fresh}

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> TrainingText:
        """The inverse of :meth:`json`."""
        spans = tuple((int(start), int(end), float(weight)) for start, end, weight in data["spans"])
        return cls(tuple(data["parts"]), spans, data["fresh"])


def weighted(text: TrainingText, tokenize: Tokenize[T]) -> tuple[list[T], list[float]]:
    """The tokens of a text and the weight of each, 0 if it is not trained.

    A token that holds characters of a span and others belongs to the span.
    """
    tokens: list[T] = []
    weights: list[float] = []
    place = 0
    for number, part in enumerate(text.parts):
        fresh = number in {0, text.fresh}
        own = list(tokenize(part)) if fresh else continued(part, tokenize)
        found = [0.0] * len(own)
        for start, end, weight in text.spans:
            begin, stop = max(start - place, 0), min(end - place, len(part))
            if begin < stop:
                first = _border(part, begin, own, tokenize, fresh)[0]
                last = _border(part, stop, own, tokenize, fresh)[1]
                found[first:last] = [weight] * (last - first)
        tokens += own
        weights += found
        place += len(part)
    return tokens, weights


def _border(part: str, place: int, own: list[T], tokenize: Tokenize[T], fresh: bool) -> tuple[int, int]:
    """The number of a part's tokens before a character, without and with one that reaches across it."""
    # Not every tokenizer reports the positions of its tokens, so the two sides are tokenized and compared with the
    # whole. A side may end in other tokens than the whole has there: spaces before a word are split differently from
    # spaces at the end of a text. If one of the sides is the same, the border is known.
    after = continued(part[place:], tokenize) if place < len(part) else []
    same_end = _common(after[::-1], own[::-1])
    if same_end == len(after):
        return (len(own) - same_end,) * 2
    before = (list(tokenize(part[:place])) if fresh else continued(part[:place], tokenize)) if place else []
    same = _common(before, own)
    return (same, same) if same == len(before) else (same, max(same, len(own) - same_end))


def _common(one: list[T], other: list[T]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def plain_text(text: str, control: frozenset[str], *, begin: str, end: str) -> TrainingText:
    """A text without a chat template, of which everything is trained.

    Args:
        text: Its control tokens are text.
        control: The tokenizer's control tokens.
        begin: The token that the tokenizer puts before a text; empty for none.
        end: The end-of-sequence token.
    """
    first, *rest = cut_text(text, control)
    parts = (begin + first, *rest)
    parts = (*parts[:-1], parts[-1] + end)
    return TrainingText(parts, ((0, sum(map(len, parts)), 1.0),))


def with_weights(conversation: Conversation, row: Row, train_on: TrainOn) -> Conversation:
    """The complete conversation of a row with a ``weight`` in each message, 0 if it is not trained.

    Args:
        conversation: The row's own, before the configuration's system prompt is added.
        row: For its column of weights.
        train_on: With ``all_tokens``, the weights mean nothing.

    Raises:
        InvalidInput: The row's weights are not one number, 0 or more, for each message.
    """
    messages = conversation.complete().messages
    roles = [one["role"] for one in messages]
    last_user = max((place for place, role in enumerate(roles) if role == "user"), default=-1)
    if train_on == "weights":
        weights = _given(row, messages)
    elif train_on == "all_messages":
        weights = [1.0] * len(roles)
    else:
        after = last_user if train_on == "last_assistant_turn" else -1
        weights = [float(role == "assistant" and place > after) for place, role in enumerate(roles)]
    marked = tuple({**one, "weight": weight} for one, weight in zip(messages, weights, strict=True))
    return replace(conversation.complete(), messages=marked)


def told(conversation: Conversation, system: str, train_on: TrainOn) -> Conversation:
    """The configuration's system prompt added, trained like the row's own or with all messages."""
    found = conversation.told(system)
    if found.messages == conversation.messages:
        return found
    first, own = found.messages[0], conversation.messages[:1]
    weight = own[0]["weight"] if own and own[0]["role"] == "system" else float(train_on == "all_messages")
    return replace(found, messages=({**first, "weight": weight}, *found.messages[1:]))


def _given(row: Row, messages: Sequence[Mapping[str, Any]]) -> list[float]:
    column = row.get(COLUMN)
    if column is None:
        # As in OpenAI's format, where only assistant messages may have a weight, and it is 1 if it is missing.
        return [_number(one.get("weight", float(one["role"] == "assistant"))) for one in messages]
    listed = decoded(column) if isinstance(column, str) else column
    if not isinstance(listed, list | tuple) or len(listed) != len(messages):
        count = f"{len(listed)} weights" if isinstance(listed, list | tuple) else "no list of weights"
        raise InvalidInput(
            f"A row has {len(messages)} messages and {count}. Give one number for each message.",
            field="dataset.columns",
        )
    return [_number(one) for one in listed]


def _number(value: Any) -> float:
    if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
        return float(value)
    raise InvalidInput(
        f"A message's weight is {value!r:.60}. Use a number of 0 or more; 0 is not trained.", field="training.train_on"
    )
