"""Rewards for summaries: overlap with a reference, coverage, and copied passages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from core.reward import Markers, Score
from core.rewards.info import Param, RewardInfo
from core.rewards.words import answer_text, clipped, longest_common, references, source_text, words

_COMMON = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "if",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "for",
        "with",
        "from",
        "as",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "he",
        "she",
        "they",
        "them",
        "his",
        "her",
        "their",
        "we",
        "you",
        "i",
        "our",
        "your",
        "not",
        "no",
        "so",
        "than",
        "then",
        "there",
        "which",
        "who",
        "whom",
        "what",
        "when",
        "where",
        "how",
        "has",
        "have",
        "had",
        "do",
        "does",
        "did",
        "will",
        "would",
        "can",
        "could",
        "may",
        "might",
        "must",
        "should",
        "into",
        "over",
        "under",
        "out",
        "up",
        "down",
        "about",
        "after",
        "before",
        "also",
        "more",
        "most",
    ]
)


def rouge_l(completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers) -> Score:
    """ROUGE-L: F1 of the longest common subsequence of words with the reference; the best of several references.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"response": "The dog chased the cat across the garden."}
    >>> rouge_l("The dog chased a cat across the garden.", "", row, markers=m)
    Score(value=0.875, why='ROUGE-L with the reference is 0.88.')
    >>> rouge_l("Prices rose in March.", "", row, markers=m)
    Score(value=0.0, why='ROUGE-L with the reference is 0.00.')
    >>> round(rouge_l("the the the the the the the the", "", row, markers=m).value, 2)
    0.38
    """
    got, wanted = clipped(answer_text(completion, markers), 1000), [clipped(text, 1000) for text in references(row)]
    if not wanted:
        return Score(0.0, "The reference answer is empty, so there is nothing to compare with.")
    value = max(_lcs_f1(got, text) for text in wanted)
    return Score(value, f"ROUGE-L with the reference is {value:.2f}.")


def _lcs_f1(got: list[str], wanted: list[str]) -> float:
    shared = longest_common(got, wanted)
    return 2 * shared / (len(got) + len(wanted)) if shared else 0.0


def coverage(
    completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, terms: int = 10, longest: float = 0.5
) -> Score:
    """The share of the source's main terms (its most frequent content words, names and numbers) that the answer names.

    An answer longer than ``longest`` of the source earns proportionally less: repeating the source is no summary.

    Args:
        terms: Number of terms.
        longest: Length relative to the source at which the score begins to fall.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> text = "Bees dance. The dance of bees tells where flowers are. Bees smell flowers. Flowers feed bees in summer gardens."
    >>> round(coverage("Bees dance to tell of flowers.", "", {"context": text}, markers=m, terms=3).value, 2)
    1.0
    >>> coverage("Cars drive fast.", "", {"context": text}, markers=m, terms=3).value
    0.0
    >>> coverage("", "", {"context": text}, markers=m).value
    0.0
    """
    source, got = clipped(source_text(row, prompt)), clipped(answer_text(completion, markers))
    counted = Counter(word for word in source if word not in _COMMON and (len(word) > 3 or word.isdigit()))
    main = [word for word, _ in counted.most_common(terms)]
    if not main:
        return Score(0.0, "The row has no source text to cover.")
    named = [word for word in main if word in set(got)]
    too_long = max(1.0, len(got) / max(1.0, longest * len(source)))
    missing = [word for word in main if word not in named][:3]
    told = f"{len(named)} of {len(main)} key terms are mentioned" + (
        f"; missing: {', '.join(missing)}" if missing else ""
    )
    return Score(
        len(named) / len(main) / too_long, f"{told}{'; the answer is too long for a summary' if too_long > 1 else ''}."
    )


def own_words(completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, run: int = 8) -> Score:
    """1 minus the share of the answer's words that are in runs of ``run`` words copied from the source.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"context": "The council voted on Monday to close the old bridge for two years of repair."}
    >>> own_words("A bridge will shut for repair.", "", row, markers=m)
    Score(value=1.0, why='0 of 6 words are copied in passages of 8 or more.')
    >>> own_words("The council voted on Monday to close the old bridge.", "", row, markers=m)
    Score(value=0.0, why='10 of 10 words are copied in passages of 8 or more.')
    >>> own_words("", "", row, markers=m)
    Score(value=0.0, why='The answer is empty.')
    """
    source, got = clipped(source_text(row, prompt)), clipped(answer_text(completion, markers))
    if not got:
        return Score(0.0, "The answer is empty.")
    runs = {tuple(source[place : place + run]) for place in range(len(source) - run + 1)}
    copied = [False] * len(got)
    for place in range(len(got) - run + 1):
        if tuple(got[place : place + run]) in runs:
            copied[place : place + run] = [True] * run
    return Score(
        1 - sum(copied) / len(got), f"{sum(copied)} of {len(got)} words are copied in passages of {run} or more."
    )


def budget(completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, share: float = 0.3) -> Score:
    """1 for an answer of at most ``share`` of the source's words, falling to 0 at twice that. Empty earns 0.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> row = {"context": "word " * 100}
    >>> budget("word " * 30, "", row, markers=m).value, budget("word " * 60, "", row, markers=m).value, budget("", "", row, markers=m).value
    (1.0, 0.0, 0.0)
    """
    allowed = max(1.0, share * len(words(source_text(row, prompt))))
    count = len(words(answer_text(completion, markers)))
    value = 0.0 if not count else min(1.0, max(0.0, 2 - count / allowed))
    return Score(value, f"{count} words; the budget is {allowed:.0f}.")


INFOS = (
    RewardInfo(
        "rouge_l",
        "Similar wording (ROUGE-L)",
        "Longest common sequence of words with a reference summary. Similar is not the same as correct.",
        False,
        ("response",),
        (),
        rouge_l,
        family="Summaries",
    ),
    RewardInfo(
        "coverage",
        "Covers key terms",
        "Share of the source's key terms that the answer mentions. Does not check what it says about them.",
        False,
        (),
        (
            Param(
                "terms",
                "integer",
                10,
                "Terms",
                "How many of the source's most frequent content words to look for.",
                minimum=1,
                maximum=100,
            ),
            Param(
                "longest",
                "number",
                0.5,
                "Maximum length",
                "Answers longer than this share of the source score less.",
                minimum=0.01,
                maximum=10,
            ),
        ),
        coverage,
        family="Summaries",
    ),
    RewardInfo(
        "own_words",
        "In its own words",
        "Penalizes long passages copied from the source.",
        False,
        (),
        (
            Param(
                "run", "integer", 8, "Copied words", "This many words in a row count as copied.", minimum=3, maximum=100
            ),
        ),
        own_words,
        family="Summaries",
    ),
    RewardInfo(
        "budget",
        "Length budget",
        "Checks that the answer is short compared with its source.",
        False,
        (),
        (
            Param(
                "share",
                "number",
                0.3,
                "Share of the source",
                "Full score up to this share of the source's words.",
                minimum=0.01,
                maximum=10,
            ),
        ),
        budget,
        family="Summaries",
    ),
)
