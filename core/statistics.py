"""Statistics of paired scores: intervals, tests and the smallest detectable difference.

Two models answered the same prompts; only the differences within a pair count. Each function takes one sample of shape
(n,) or many samples at once of shape (m, n), which makes simulations fast.

A verdict uses two tests, because each covers the other's weakness (measured in docs/evaluation.md). With few pairs, a
bootstrap interval alone claims too much: the plain one in 15% of the cases with five. The exact sign-flip test is valid
for any n and any number of ties, but gives no interval.

scipy is used where possible; comments say what it lacks. numpy and scipy are imported on use, so that the
server can show pages without them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

LEVEL = 0.95
"""Level of an interval; a claim is wrong in at most ``1 - LEVEL`` of the cases without a difference."""
POWER = 0.8
RESAMPLES = 10_000
EXACT = 12
"""Up to this many pairs every sign pattern is enumerated."""
BLOCK = 1 << 22
"""Maximum numbers in memory while sampling."""
ROUNDING = 1e-9
"""Scores are sums of a few decimals; smaller differences count as ties."""


def decimals(value: float, places: int = 2) -> str:
    """A number with so many decimals, halves rounded away from zero: the rounding of all sentences and tables.

    What is within :data:`ROUNDING` of a half is one, so a sum of decimals is rounded like the number it stands for.

    >>> decimals(0.125), decimals(-0.625), decimals(0.1 + 0.025 - 1e-17), decimals(-0.001), decimals(12.5, 0)
    ('0.13', '-0.63', '0.13', '0.00', '13')
    """
    rounded = Decimal(repr(round(float(value), 9))).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return str(rounded or abs(rounded))


def bootstrap_mean(
    differences: Sequence[float], seed: int = 0, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The interval of a mean of paired differences.

    Args:
        differences: One for each pair, at least one.
        seed: The same seed and number of pairs draw the same resamples.

    Returns:
        Low and high. With a single pair both are its difference: its spread is unknown.

    Raises:
        ValueError: There is no pair.
    """
    import numpy as np

    low, high = bootstrap_means(np.asarray(differences, float)[None, :], seed, level=level, resamples=resamples)
    return float(low[0]), float(high[0])


def bootstrap_means(
    samples: Any, seed: int = 0, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> tuple[Any, Any]:
    """:func:`bootstrap_mean` of many samples: shape (m, n) in, low and high of shape (m,) out.

    scipy's percentile interval at a level that is widened for few pairs (Hesterberg 2015), which scipy does not do:
    the plain one takes the spread of n values for that of n - 1 and a normal quantile for Student's.
    """
    import numpy as np
    from scipy.special import ndtr
    from scipy.stats import bootstrap

    values = np.asarray(samples, float)
    pairs = values.shape[1]
    if pairs == 0:
        raise ValueError("There is no pair to compare.")
    if pairs == 1:
        return values[:, 0], values[:, 0]
    tail = float(ndtr(-math.sqrt(pairs / (pairs - 1)) * student((1 + level) / 2, pairs - 1)))
    interval = bootstrap(
        (values,),
        np.mean,
        axis=1,
        method="percentile",
        confidence_level=1 - 2 * tail,
        n_resamples=resamples,
        batch=max(1, BLOCK // values.size),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return interval.low, interval.high


def share_interval(right: int, count: int, ties: int = 0, *, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson); a bootstrap's is empty if all or none were right.

    Args:
        right: How many were right, not counting ties.
        count: Of how many, at least one.
        ties: Each may have gone either way, so the interval reaches from all of them wrong to all of them right.

    >>> [round(bound, 3) for bound in share_interval(46, 50)]
    [0.808, 0.978]
    >>> share_interval(0, 4, ties=4)
    (0.0, 1.0)
    """
    from scipy.stats import binomtest

    low = binomtest(right, count).proportion_ci(level, method="exact").low
    high = binomtest(right + ties, count).proportion_ci(level, method="exact").high
    return float(low), float(high)


def weighted_change(
    differences: Sequence[float], weights: Sequence[float], seed: int = 0, *, level: float = LEVEL
) -> tuple[float, float, float]:
    """The change of a mean over all tokens of some rows, and its interval over rows.

    A mean over tokens is a ratio, the sum over rows of their losses by that of their tokens. Its spread over resampled
    rows is that of the mean of its linearization (Cochran 1977, section 6.3): a row's part in the change, beyond what
    its tokens alone would contribute.

    Args:
        differences: For each row, the sum over its tokens after minus before; at least one row.
        weights: Its tokens, above 0.
        seed: As in :func:`bootstrap_mean`.

    Returns:
        The change per token, and the interval's low and high.

    >>> weighted_change([2.0, 4.0, 1.0], [2, 4, 1])
    (1.0, 1.0, 1.0)
    """
    change, mean = sum(differences) / sum(weights), sum(weights) / len(weights)
    parts = [
        change + (difference - change * weight) / mean for difference, weight in zip(differences, weights, strict=True)
    ]
    low, high = bootstrap_mean(parts, seed, level=level)
    return change, low, high


def sign_flip(differences: Sequence[float], seed: int = 0, *, resamples: int = RESAMPLES) -> float:
    """How often chance alone moves the mean this far from 0 (two-sided p-value).

    For two equal models each difference is equally likely to have either sign. This is the only assumption: the test is
    exact for any number of pairs, any shape of the scores, and ties.
    """
    import numpy as np

    return float(sign_flips(np.asarray(differences, float)[None, :], seed, resamples=resamples)[0])


def sign_flips(samples: Any, seed: int = 0, *, resamples: int = RESAMPLES) -> Any:
    """:func:`sign_flip` of many samples: shape (m, n) in, p-values of shape (m,) out.

    Not ``scipy.stats.permutation_test``: it compares sums with a tolerance relative to the observed sum, so that what
    decimals leave of a tie counts as a difference, and it is ten times slower with 5,000 pairs.
    """
    import numpy as np

    values = np.asarray(samples, float)
    pairs = values.shape[1]
    reached = np.abs(values.sum(axis=1)) - ROUNDING * max(1.0, float(np.abs(values).sum(axis=1).max(initial=0.0)))
    if pairs <= EXACT:
        patterns = 1 - 2 * ((np.arange(1 << pairs)[:, None] >> np.arange(pairs)) & 1)
        return (np.abs(patterns @ values.T) >= reached).mean(axis=0)
    flipped = np.abs(_flipped_sums(values, seed, resamples - 1))
    # The observed pattern counts as well; without it the test would claim too often.
    return (1 + (flipped >= reached).sum(axis=0)) / resamples


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact test: the two-sided p-value of pairs that only one model got right.

    Args:
        only_first: Pairs that only the first got right.
        only_second: Pairs that only the second got right.
    """
    from scipy.stats import binomtest

    changed = only_first + only_second
    # Without changed pairs there is no evidence; scipy needs at least one.
    return float(binomtest(only_first, changed).pvalue) if changed else 1.0


def smallest_effect(differences: Sequence[float], *, power: float = POWER, level: float = LEVEL) -> float | None:
    """The smallest mean difference that this many pairs would have shown in ``power`` of the cases.

    From the spread of the differences, and from how many pairs must change at all before either test can
    be significant: if most pairs are tied, that is the larger of the two.

    Returns:
        In units of the score; None if no difference could have been shown: fewer than six pairs, or
        no pair that differs.
    """
    import numpy as np

    values = np.asarray(differences, float)
    pairs, moved = len(values), np.abs(values)[np.abs(values) > ROUNDING]
    if pairs < fewest_changes(level) or not len(moved):
        return None
    quantiles = student((1 + level) / 2, pairs - 1) + student(power, pairs - 1)
    by_spread = quantiles * float(values.std(ddof=1)) / math.sqrt(pairs)
    return max(by_spread, smallest_share(pairs, power=power, level=level) * float(moved.mean()))


def smallest_share(pairs: int, *, power: float = POWER, level: float = LEVEL) -> float:
    """The smallest share of pairs that must change, all one way, to be shown in ``power`` of the cases."""
    from scipy.special import bdtri

    needed = fewest_changes(level)
    # Fewer changes than needed may use up the remaining power; with too few pairs all would have to change.
    return float(bdtri(needed - 1, pairs, 1 - power)) if pairs >= needed else 1.0


def fewest_changes(level: float = LEVEL) -> int:
    """How many pairs must change, all one way, before chance is ruled out at ``level``: 6 at 95%."""
    return math.ceil(1 + math.log2(1 / (1 - level)) - ROUNDING)


def student(probability: float, freedom: int) -> float:
    """A quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def _flipped_sums(values: Any, seed: int, resamples: int) -> Any:
    """Sums of every sample under random signs, block by block: shape (resamples, m)."""
    import numpy as np

    random, pairs = np.random.default_rng(seed), values.shape[1]
    block = max(1, BLOCK // pairs)
    counts = (min(block, resamples - start) for start in range(0, resamples, block))
    return np.concatenate([(random.integers(0, 2, (count, pairs)) * 2.0 - 1.0) @ values.T for count in counts])
