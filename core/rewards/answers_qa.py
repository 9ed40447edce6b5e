"""Rewards for question answering: overlap with the reference, similar meaning, quotes from the context."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import Unavailable
from core.reward import Item, Markers, Score
from core.rewards import embedding
from core.rewards.info import Param, RewardInfo, one_of
from core.rewards.words import answer_text, overlap_f1, references, source_text, words

_ARTICLES = frozenset({"a", "an", "the"})


def token_f1(
    completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, threshold: float = 0.0
) -> Score:
    """SQuAD's F1: word overlap of the answer with the reference, without articles; the best of several references.

    Repeating a word does not help: each counts at most as often as in the reference.

    Args:
        threshold: Below it the score is 0.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"response": "the Eiffel Tower"}
    >>> token_f1("<s>Eiffel Tower</s>", "", row, markers=m)
    Score(value=1.0, why='All words match the reference.')
    >>> token_f1("<s>The Louvre</s>", "", row, markers=m)
    Score(value=0.0, why='The answer shares no words with the reference “the Eiffel Tower”.')
    >>> round(token_f1("tower tower tower tower", "", row, markers=m).value, 2)
    0.33
    """
    wanted = references(row)
    if not wanted:
        return Score(0.0, "The reference answer is empty, so there is nothing to compare with.")
    got = _bare(answer_text(completion, markers))
    value, reference = max(((overlap_f1(got, _bare(text)), text) for text in wanted), key=lambda pair: pair[0])
    if value == 1:
        return Score(1.0, "All words match the reference.")
    if not value:
        return Score(0.0, f"The answer shares no words with the reference “{reference[:60]}”.")
    told = f"Overlap with the reference “{reference[:60]}” is {value:.2f}"
    return (
        Score(value, f"{told}.") if value >= threshold else Score(0.0, f"{told}, below the minimum of {threshold:g}.")
    )


def _bare(text: str) -> list[str]:
    return [word for word in words(text) if word not in _ARTICLES]


def semantic(items: Sequence[Item], *, markers: Markers, low: float = 0.3, high: float = 0.9) -> list[Score]:
    """Semantic similarity to the reference: cosine of a small local embedding model (all-MiniLM-L6-v2).

    ``low`` and below gives 0, ``high`` and above 1, linear in between. Similar is not correct: 'is' and
    'is not' are close.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"response": "The cat sleeps on the sofa."}
    >>> texts = ("A cat is sleeping on a couch.", "Stock prices fell sharply on Monday.", "xq zz blorp")
    >>> right, wrong, garbage = semantic([Item(text, "", row) for text in texts], markers=m)
    >>> right.value > 0.6, wrong.value < 0.1, garbage.value < 0.1
    (True, True, True)
    """
    texts = [answer_text(item.completion, markers) for item in items]
    wanted = [references(item.row)[:1] for item in items]
    try:
        likeness = embedding.cosines([(text, ref[0]) for text, ref in zip(texts, wanted, strict=True) if text and ref])
    except Unavailable as error:
        return [Score(0.0, error.message)] * len(items)
    found = iter(likeness)
    scores = []
    for text, ref in zip(texts, wanted, strict=True):
        if not text or not ref:
            scores.append(
                Score(
                    0.0,
                    "The answer is empty."
                    if ref
                    else "The reference answer is empty, so there is nothing to compare with.",
                )
            )
            continue
        value = next(found)
        scores.append(
            Score(
                min(1.0, max(0.0, (value - low) / (high - low))),
                f"The similarity in meaning is {value:.2f} (1 is identical).",
            )
        )
    return scores


_QUOTE = re.compile(r"[\"“«]([^\"”»]{3,600})[\"”»]")


def cites_context(
    completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, shortest: int = 4
) -> Score:
    """The share of quotations that appear verbatim in the context. No quotation of ``shortest`` words earns 0.

    The context is the row's ``context``, ``document``, ``article`` or ``text``.

    Args:
        shortest: Words that a quotation needs to count; a single common word is no evidence.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"context": "The tower was finished in 1889 for the world's fair."}
    >>> cites_context('It says "was finished in 1889", so 1889.', "", row, markers=m)
    Score(value=1.0, why='1 of 1 quotations appear in the context.')
    >>> cites_context('It says "was opened in March 1890".', "", row, markers=m)
    Score(value=0.0, why='0 of 1 quotations appear in the context.')
    >>> cites_context('"tower" "the" "in"', "", row, markers=m)
    Score(value=0.0, why='There are no quotations of at least 4 words.')
    """
    context = " ".join(words(source_text(row, "")))
    if not context:
        return Score(0.0, "The row has no context to quote from.")
    quotes = {" ".join(words(quote)) for quote in _QUOTE.findall(completion)}
    quotes = {quote for quote in quotes if len(quote.split()) >= shortest}
    if not quotes:
        return Score(0.0, f"There are no quotations of at least {shortest} words.")
    good = sum(f" {quote} " in f" {context} " for quote in quotes)
    return Score(good / len(quotes), f"{good} of {len(quotes)} quotations appear in the context.")


INFOS = (
    RewardInfo(
        "token_f1",
        "Shared words (F1)",
        "Counts the words that the answer shares with the reference, as in SQuAD.",
        True,
        ("response",),
        (Param("threshold", "number", 0.0, "Minimum overlap", "Less overlap scores 0.", minimum=0, maximum=1),),
        token_f1,
        family="Question answering",
    ),
    RewardInfo(
        "semantic",
        "Similar meaning",
        "Compares the meaning with the reference by a small embedding model on this machine. Similar is not the same as correct: 'is' and 'is not' are close.",
        False,
        ("response",),
        (
            Param(
                "low",
                "number",
                0.3,
                "Similarity that scores 0",
                "Unrelated texts are at about 0.1.",
                minimum=-1,
                maximum=0.99,
            ),
            Param("high", "number", 0.9, "Similarity that scores 1", "Identical texts are at 1.", minimum=0, maximum=1),
        ),
        one_of(semantic),
        batch=semantic,
        family="Question answering",
        check=lambda params: (
            ("low", f"must be below high ({params['high']})") if params["low"] >= params["high"] else None
        ),
    ),
    RewardInfo(
        "cites_context",
        "Quotes from context",
        "Share of quotations that appear word for word in the row's context.",
        True,
        ("context",),
        (Param("shortest", "integer", 4, "Minimum quotation length", "In words.", minimum=1, maximum=100),),
        cites_context,
        family="Question answering",
    ),
)
