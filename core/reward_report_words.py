"""A report on a reward model in words; see :mod:`core.reward_report`."""

from __future__ import annotations

from core.reward_report import Correlation, RewardReport, Share
from core.statistics import decimals

TRICKS = {
    "shuffled": "Shuffled words score at least as high as the better answer",
    "empty": "An empty answer scores at least as high as the better one",
    "flattered": "Flattery raises the better answer's score",
    "rejected_flattered": "Flattery puts a worse answer ahead of the better one",
}
"""How each trick fools the model."""


def in_words(found: RewardReport) -> tuple[tuple[str, str], ...]:
    """The figures of a report as (name, value), for the model card, the page and the terminal."""
    lines = [
        ("The better answer scores higher", share_words(found.accuracy)),
        ("Expected calibration error", f"{decimals(found.calibration_error)} (0 is best)"),
        ("Correlation of score and length (Spearman)", correlation_words(found.length.spearman)),
        ("Correlation of score and length (Pearson)", correlation_words(found.length.pearson)),
    ]
    if found.length.longer_wins and found.length.longer_better:
        lines += [
            ("The longer answer scores higher", share_words(found.length.longer_wins)),
            ("The longer answer is the better one", share_words(found.length.longer_better)),
        ]
    return (
        *lines,
        *((TRICKS.get(one.key, one.key), share_words(one.fooled)) for one in found.tricks),
        ("Scores of held-out answers", f"mean {decimals(found.mean)}, standard deviation {decimals(found.deviation)}"),
    )


def share_words(found: Share) -> str:
    """A share with its interval.

    >>> from core.reward_report import share_of
    >>> share_words(share_of(46, 50))
    '92% (46 of 50; 95% interval 81% to 98%)'
    >>> share_words(share_of(1, 4, ties=1))
    '38% (1.5 of 4; 95% interval 1% to 93%)'
    """
    count = decimals(found.share * found.of, 0 if float(found.share * found.of).is_integer() else 1)
    low, high = decimals(100 * found.low, 0), decimals(100 * found.high, 0)
    return f"{decimals(100 * found.share, 0)}% ({count} of {found.of}; 95% interval {low}% to {high}%)"


def correlation_words(found: Correlation | None) -> str:
    """A correlation with its interval."""
    if found is None:
        return "none, because all answers have the same length or score"
    return f"{decimals(found.value)} (95% interval {decimals(found.low)} to {decimals(found.high)})"
