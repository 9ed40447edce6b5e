"""Prompts for runs without held-out rows, conversations that are only rendered, and descriptions of differences."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

GENERAL = (
    "What is 17 + 25?",
    "What is the capital of France?",
    "Name three animals that live in the sea.",
    "Write one sentence about the moon.",
    "Translate 'good morning' into German.",
    "How many days are there in a leap year?",
    "What is the opposite of 'hot'?",
    "List the first five prime numbers.",
    "Explain in two sentences why the sky is blue.",
    "Who wrote 'Romeo and Juliet'?",
    "What is 12 times 12?",
    "Give me a short recipe for pancakes.",
    "Is the number 91 a prime number?",
    "Write a Python function that adds two numbers.",
    "What does a doctor do?",
    "Which is heavier, a kilogram of iron or a kilogram of feathers?",
    "Complete: Once upon a time",
    "What is the plural of 'mouse'?",
    "Name a colour of the rainbow.",
    "A train travels 60 km in one hour. How far does it travel in three hours?",
    "Summarise in one sentence: bees visit flowers and carry pollen from one to the next.",
    "What is the largest planet of the solar system?",
    "Answer with yes or no: is water wet?",
    "Write a polite reply to an invitation that you cannot accept.",
)
"""For a model without held-out rows: short and varied."""

SYSTEM = {"role": "system", "content": "Answer in one word."}
TURNS = [
    {"role": "user", "content": "What is 2 + 3?"},
    {"role": "assistant", "content": "5"},
    {"role": "user", "content": "And twice that?"},
]
PROBES: tuple[list[dict[str, str]], ...] = (TURNS[:1], [SYSTEM, *TURNS[:1]], TURNS, [SYSTEM, *TURNS])
"""Conversations with and without a system prompt, with one turn and with two, as users of an export have them."""


def first_difference(
    text: str, other: str, ids: Sequence[int], other_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> str:
    """Describes where two renderings of one conversation first differ.

    Args:
        text, other: The trained model's rendering and the export's.
        ids, other_ids: Their tokens, which differ.
        tokenizer: Of the trained model, for the tokens' names.
    """
    pairs = enumerate(zip(ids, other_ids, strict=False))
    place = next((place for place, (a, b) in pairs if a != b), min(len(ids), len(other_ids)))
    here, there = _name(ids, place, tokenizer), _name(other_ids, place, tokenizer)
    if text == other:
        return f"Tokens differ for the same text: token {place + 1} is {here} for the trained model and {there} here."
    at = next((at for at, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    start = max(0, at - 20)
    return (
        f"Token {place + 1} is {here} in the trained model's prompt and {there} here: "
        f"{text[start : at + 40]!r} against {other[start : at + 40]!r}."
    )


def only_spaces(ids: Sequence[int], other_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizations of one text differ only in spaces.

    SentencePiece tokenizers add a space before a text, and programs differ in whether that also applies after a
    special token. The words are then the same.
    """
    return _words(ids, tokenizer) == _words(other_ids, tokenizer)


def _words(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    words = (str(token).strip("\u2581\u0120 ") for token in tokenizer.convert_ids_to_tokens(list(ids)))
    return [word for word in words if word]


def _name(ids: Sequence[int], place: int, tokenizer: PreTrainedTokenizerBase) -> str:
    if place >= len(ids):
        return "nothing more"
    return f"{tokenizer.decode([ids[place]])!r} ({ids[place]})"
