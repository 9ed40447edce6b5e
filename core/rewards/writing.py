"""Rewards for writing: readability, vocabulary, repetition. They check format, not correctness."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

from core.reward import Markers, Score
from core.rewards.info import Param, RewardInfo
from core.rewards.words import answer_text, clipped, sentences

_VOWELS = re.compile(r"[aeiouyäöüàâéèêëîïôûœæ]+")
SHORTEST = 20
"""Fewest words for which these measures are meaningful."""


def syllables(word: str) -> int:
    """Syllables of an English word, by its groups of vowels.

    >>> [syllables(word) for word in ("cat", "table", "reading", "make", "beautiful")]
    [1, 2, 2, 1, 3]
    """
    word = word.lower()
    count = len(_VOWELS.findall(word))
    if word.endswith("e") and not word.endswith(("le", "ee")) and count > 1:
        count -= 1
    return max(1, count)


def readability(
    completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, lowest: float = 50, highest: float = 80
) -> Score:
    """1 if Flesch reading ease is in the wanted range (60 to 70 is plain English), falling to 0 over 30 points outside.

    Texts under 20 words, or with less than a third distinct words, earn 0: the measure is meaningless for them.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> plain = "The boat left the harbour at dawn. A light wind filled the sail, and the crew sang. By noon they had lost sight of land."
    >>> readability(plain, "", {}, markers=m, lowest=60, highest=110).value
    1.0
    >>> dense = "Institutional multidimensional considerations necessitate comprehensive organizational reconceptualization. " * 1
    >>> readability(dense + "Interdepartmental communication methodologies facilitate collaborative implementation of strategic recommendations accordingly anyhow.", "", {}, markers=m).value
    0.0
    >>> readability("therefore " * 40, "", {}, markers=m)
    Score(value=0.0, why='The text is too repetitive to measure.')
    """
    text = answer_text(completion, markers)
    found = clipped(text)
    if len(found) < SHORTEST:
        return Score(0.0, f"{len(found)} words are too few to measure; at least {SHORTEST} are needed.")
    if len(set(found)) < len(found) / 3:
        return Score(0.0, "The text is too repetitive to measure.")
    ease = 206.835 - 1.015 * len(found) / len(sentences(text)) - 84.6 * sum(map(syllables, found)) / len(found)
    outside = max(lowest - ease, ease - highest, 0)
    return Score(max(0.0, 1 - outside / 30), f"Reading ease is {ease:.0f}; the range is {lowest:g} to {highest:g}.")


def vocabulary(
    completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, window: int = 50, wanted: float = 0.7
) -> Score:
    """Share of distinct words in each window of ``window`` words (moving type-token ratio), relative to ``wanted``.

    Independent of length, so neither padding nor brevity pays.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> rich = "Slow rivers carry silt past willow banks while herons wait, patient and grey, for silver fish to rise again at dusk."
    >>> vocabulary(rich, "", {}, markers=m, window=20).value
    1.0
    >>> poor = "the cat and the dog and the cat and the dog and the cat and the dog and the cat sat"
    >>> round(vocabulary(poor, "", {}, markers=m).value, 2)
    0.34
    >>> vocabulary("cat", "", {}, markers=m).value
    0.0
    """
    found = clipped(answer_text(completion, markers))
    if len(found) < SHORTEST:
        return Score(0.0, f"{len(found)} words are too few to measure; at least {SHORTEST} are needed.")
    size = min(window, len(found))
    shares = [len(set(found[place : place + size])) / size for place in range(len(found) - size + 1)]
    ratio = sum(shares) / len(shares)
    return Score(
        min(1.0, ratio / wanted),
        f"{ratio:.0%} of the words in passages of {size} are different; the goal is {wanted:.0%}.",
    )


def repetition(completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, size: int = 3) -> Score:
    """1 minus the share of repeated ``size``-word phrases. Use it as a gate or with a small weight. Empty earns 0.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> repetition("one two three four five six", "", {}, markers=m)
    Score(value=1.0, why='0% of the 3-word phrases are repeated.')
    >>> round(repetition("I think so. I think so. I think so.", "", {}, markers=m).value, 2)
    0.43
    >>> round(repetition("therefore " * 40, "", {}, markers=m).value, 2)
    0.03
    """
    text = completion.strip()
    found = clipped(text)
    if not found:
        return Score(0.0, "The answer is empty.")
    groups = [tuple(found[place : place + size]) for place in range(max(1, len(found) - size + 1))]
    share = 1 - len(set(groups)) / len(groups)
    # One word without spaces can be repetitive too: 'aaaa…' compresses to nothing.
    packed = len(zlib.compress(text.encode()[:20_000])) / len(text.encode()[:20_000])
    if len(text) > 200 and packed < 0.1:
        share = max(share, 0.95)
    return Score(1 - share, f"{share:.0%} of the {size}-word phrases are repeated.")


INFOS = (
    RewardInfo(
        "readability",
        "Readability",
        "Flesch reading ease within a range, for English. 60–70: easy; below 30: very difficult.",
        False,
        (),
        (
            Param(
                "lowest",
                "number",
                50,
                "Minimum reading ease",
                "0 is very difficult, 100 very easy.",
                minimum=-100,
                maximum=120,
            ),
            Param(
                "highest",
                "number",
                80,
                "Maximum reading ease",
                "0 is very difficult, 100 very easy.",
                minimum=-100,
                maximum=206,
            ),
        ),
        readability,
        family="Writing",
        check=lambda params: (
            ("lowest", f"must not be above highest ({params['highest']:g})")
            if params["lowest"] > params["highest"]
            else None
        ),
    ),
    RewardInfo(
        "vocabulary",
        "Vocabulary",
        "Share of different words in each passage, independent of text length.",
        False,
        (),
        (
            Param("window", "integer", 50, "Passage length", "In words.", minimum=10, maximum=1000),
            Param(
                "wanted",
                "number",
                0.7,
                "Share for full score",
                "Good prose has 0.7 to 0.8 in 50 words.",
                minimum=0.05,
                maximum=1,
            ),
        ),
        vocabulary,
        family="Writing",
    ),
    RewardInfo(
        "repetition",
        "No repetition",
        "Penalizes repeated phrases.",
        False,
        (),
        (Param("size", "integer", 3, "Phrase length", "In words.", minimum=1, maximum=20),),
        repetition,
        family="Writing",
        thought=True,
    ),
)
