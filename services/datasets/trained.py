"""Previews of what is trained: the tokens of the first rows with the weight of each, for every choice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from core.config import RunConfig
from core.data import rows
from core.data.cells import plain
from core.data.chat_template import WORDS as TEMPLATE_WORDS
from core.data.chat_template import read_control_tokens
from core.data.prompts import read_chat_template
from core.data.spans import NOTES
from core.data.trained_on import COLUMN, WORDS, TrainingText, weighted
from core.settings import Home
from services.datasets.prompts import ask, tokenizer_folder, tokenizer_in

CELLS = ("instruction", "response", "full_response", "conversation", COLUMN)
"""What a mapped row needs to be trained on."""
MOST_TOKENS = 2000
"""Tokens of a text in a preview."""


class Token(NamedTuple):
    """A token: its id, and the characters of the text that it adds.

    The text is empty for the further tokens of a character that has several.
    """

    id: int
    text: str


def trained_preview(home: Home, config: RunConfig, raw: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What some rows are trained on.

    Args:
        home: The data folders.
        config: A configuration of a method that trains on chosen messages.
        raw: Rows before mapping.

    Returns:
        ``train_on``, and ``rows``: for each, by choice, ``title``, ``texts``, ``trained`` (tokens with a weight above
        0), ``tokens``, ``notes``, and ``refused``: why it cannot be trained this way, or None. A text has ``tokens``
        (``id``, ``text``, ``weight``), and ``cut``: how many follow that the length limit or the preview cuts off.

    Raises:
        InvalidInput: No row can be used, or the model's tokenizer cannot be read here.
        TunesmithError: The model's files cannot be fetched.
    """
    whole = rows.map_rows(raw, config.dataset, whole=True)[0]
    folder = tokenizer_folder(home, config.model)
    tokenizer = tokenizer_in(folder / "tokenizer.json")
    template, special = read_chat_template(folder)
    request = {
        "template": config.dataset.chat_template or template,
        "special": special,
        "control": sorted(read_control_tokens(folder)),
        "begin": _begin(tokenizer, special.get("bos_token", "")),
        "dataset": config.dataset.model_dump(mode="json"),
        "rows": [{name: plain(row[name]) for name in CELLS if name in row} for row in whole],
    }
    answers = _texts(home, json.dumps(request))
    limit = config.training.max_sequence_length
    return {
        "train_on": config.training.train_on,
        "rows": [{choice: _choice(choice, one, tokenizer, limit) for choice, one in row.items()} for row in answers],
    }


@lru_cache(maxsize=32)
def _texts(home: Home, request: str) -> tuple[dict[str, Any], ...]:
    return tuple(ask(home, "trained", timeout=30, **json.loads(request)))


def _choice(choice: str, answer: Mapping[str, Any], tokenizer: Any, limit: int) -> dict[str, Any]:
    found: dict[str, Any] = {"title": next(words for key, words in WORDS.items() if key == choice), "texts": []}
    if "refused" in answer:
        return found | {"trained": 0, "tokens": 0, "notes": [], "refused": answer["refused"]}
    trained = count = 0
    for text in answer["texts"]:
        tokens, weights = weighted(TrainingText.read(text), lambda part: _tokens(tokenizer, part))
        # The first token of a text is not predicted from anything.
        kept = list(zip(tokens, [0.0, *weights[1:]], strict=True))[:limit]
        count += len(kept)
        trained += sum(weight > 0 for _, weight in kept)
        shown = [{"id": one.id, "text": one.text, "weight": weight} for one, weight in kept[:MOST_TOKENS]]
        found["texts"].append({"tokens": shown, "cut": len(tokens) - len(shown)})
    words = [{**NOTES, **TEMPLATE_WORDS}[change] for change in answer["changes"]]
    notes = [f"{one[0].upper()}{one[1:]}." for one in words]
    return found | {"trained": trained, "tokens": count, "notes": notes, "refused": None}


def _tokens(tokenizer: Any, part: str) -> list[Token]:
    """The tokens of a text with their characters, which together are the text."""
    found = tokenizer.encode(part, add_special_tokens=False)
    ends = [min(max(end, 0), len(part)) for _, end in found.offsets]
    if ends:
        ends[-1] = len(part)
    tokens, place = [], 0
    for one, end in zip(found.ids, ends, strict=True):
        # Some tokenizers leave spaces out of the positions; they belong to the token after them.
        tokens.append(Token(one, part[place:end]))
        place = max(place, end)
    return tokens


def _begin(tokenizer: Any, first: str) -> str:
    whole = tokenizer.encode("a", add_special_tokens=True).tokens
    return first if first and whole and whole[0] == first else ""
