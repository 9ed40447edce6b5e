"""Paired comparisons: no false claims beyond the level, and the stated power."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.statistics import (
    ROUNDING,
    bootstrap_mean,
    bootstrap_means,
    decimals,
    fewest_changes,
    mcnemar,
    sign_flip,
    sign_flips,
    smallest_effect,
    smallest_share,
    student,
    weighted_change,
)

REPEATS = 1000
RESAMPLES = 2000
WORDS = (0.0, 0.2, 1.2)
"""Possible scores of the preset 'arithmetic': nothing, the format, the format and the number."""


def claimed(samples: Any) -> Any:
    """Whether a difference would be claimed for each sample, as core.evaluation does it."""
    low, high = bootstrap_means(samples, resamples=RESAMPLES)
    apart = (low > ROUNDING) | (high < -ROUNDING)
    return apart & (sign_flips(samples, resamples=RESAMPLES) <= 0.05)


def moved(random: Any, share: float, effect: float, shape: tuple[int, int]) -> Any:
    """Differences of right and wrong: ``share`` of the pairs change, by ``effect`` on average."""
    up, down = (share + effect) / 2, (share - effect) / 2
    return random.choice([1.0, 0.0, -1.0], p=[up, 1 - share, down], size=shape)


def equal(kind: str, pairs: int) -> Any:
    """Many samples of differences between two equal models."""
    random, shape = np.random.default_rng(7), (REPEATS, pairs)
    if kind == "spread":
        return random.normal(size=shape)
    if kind == "rewards":
        first, second = (random.choice(WORDS, p=[0.3, 0.4, 0.3], size=shape) for _ in "ab")
        return second - first
    return moved(random, float(kind), 0.0, shape)


@pytest.mark.parametrize("kind", ["spread", "rewards", "0.5", "0.1", "0.02"])
@pytest.mark.parametrize("pairs", [500, 32, 8, 5])
def test_equal_models_are_told_apart_in_at_most_5_percent(kind: str, pairs: int) -> None:
    """With many pairs and few, with scores of every shape, and if nearly all pairs are tied."""
    rate = claimed(equal(kind, pairs)).mean()
    # Two standard errors of a 5% rate over that many repetitions.
    assert rate <= 0.05 + 2 * (0.05 * 0.95 / REPEATS) ** 0.5


@pytest.mark.parametrize("pairs", [500, 64, 16])
@pytest.mark.parametrize("share", [None, 0.5, 0.1])
def test_the_smallest_effect_is_shown_in_four_of_five_cases(pairs: int, share: float | None) -> None:
    """A real difference of the stated size is found about as often as promised."""
    random, shape = np.random.default_rng(11), (REPEATS, pairs)
    null = random.normal(size=shape) if share is None else moved(random, share, 0.0, shape)
    named = [found for sample in null[:200] if (found := smallest_effect(sample)) is not None]
    effect = float(np.median(named))
    real = null + effect if share is None else moved(random, max(share, effect), effect, shape)
    # With few pairs the spread itself is an estimate; more power than stated is not a false promise.
    assert 0.74 <= claimed(real).mean() <= (0.86 if pairs > 16 else 0.96)


def test_an_interval_of_normal_scores_is_students() -> None:
    """The bootstrap agrees with the textbook in its domain."""
    differences = np.random.default_rng(3).normal(0.3, 1, 40)
    low, high = bootstrap_mean(differences, seed=1)
    half = 2.0227 * differences.std(ddof=1) / 40**0.5
    assert (low, high) == pytest.approx((differences.mean() - half, differences.mean() + half), abs=0.03)


def test_the_same_seed_gives_the_same_interval() -> None:
    """A report always shows the same numbers."""
    differences = [0.1, -0.2, 0.3, 0.0, 0.5, 0.2]
    assert bootstrap_mean(differences, 5) == bootstrap_mean(differences, 5) != bootstrap_mean(differences, 6)


def test_few_pairs_prove_nothing() -> None:
    """Five pairs that all rise could be chance; six hardly; one has no spread, none is refused."""
    assert sign_flip([1.0] * 5) == pytest.approx(2 / 2**5)
    assert sign_flip([1.0] * 6) == pytest.approx(2 / 2**6)
    assert fewest_changes() == 6
    assert smallest_effect([1.0, 0.0, 0.0, 0.0, 0.0]) is None
    assert smallest_effect([0.0] * 100) is None
    assert bootstrap_mean([0.4]) == (0.4, 0.4)
    with pytest.raises(ValueError, match="no pair"):
        bootstrap_mean([])


def test_ties_change_nothing_of_the_exact_test() -> None:
    """Equal pairs have no sign to flip."""
    assert sign_flip([0.2, 1.0, -0.2, 1.0]) == pytest.approx(sign_flip([0.2, 0.0, 1.0, 0.0, -0.2, 1.0, 0.0]))


def test_rounding_errors_do_not_break_ties() -> None:
    """Tenths are tested like the integers behind them, although their sums are not exact."""
    tenths = [1, 2, -3, 7, -7, 12, -2, 5]
    assert sign_flip([tenth / 10 for tenth in tenths]) == sign_flip(tenths)


def test_many_flips_agree_with_all_of_them() -> None:
    """Thirteen pairs are resampled, twelve enumerated; with a tied pair both test the same."""
    twelve = np.random.default_rng(2).normal(0.4, 1, 12)
    assert sign_flip([*twelve, 0.0], resamples=20_000) == pytest.approx(sign_flip(twelve), abs=0.01)


def test_mcnemar_is_the_binomial_test() -> None:
    """Eight of nine changes in one direction: 2 · (1 + 9) / 2⁹; equal counts: no evidence."""
    assert mcnemar(1, 8) == mcnemar(8, 1) == pytest.approx(2 * (1 + 9) / 2**9)
    assert mcnemar(5, 5) == mcnemar(0, 0) == 1.0
    assert mcnemar(400, 600) < 1e-8


def test_the_smallest_share_is_what_six_changes_need() -> None:
    """Of eight pairs, six must change in four of five cases: a share of 80%."""
    share = smallest_share(8)
    assert np.random.default_rng(0).binomial(8, share, 20_000).__ge__(6).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("freedom", "quantile"), [(4, 2.776), (9, 2.262), (30, 2.042), (499, 1.965)])
def test_students_quantiles_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    """Two-sided 95 %."""
    assert student(0.975, freedom) == pytest.approx(quantile, abs=0.0005)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.125, "0.13"), (-0.625, "-0.63"), (0.875 - 1e-12, "0.88"), (-1e-12, "0.00"), (1, "1.00")]
)
def test_halves_are_rounded_alike_wherever_they_are_shown(value: float, shown: str) -> None:
    """Away from zero, including halves that are sums of decimals."""
    assert decimals(value) == shown


def test_a_change_per_token_has_an_interval_over_rows() -> None:
    """The truth is inside in about 95% of the cases, for rows whose lengths and losses go together."""
    random, inside = np.random.default_rng(5), 0
    for number in range(300):
        tokens = random.integers(2, 60, 24)
        # Longer rows improve less per token: the mean over tokens is -0.5 in the long run, that over rows is not.
        each = -0.5 - 0.02 * (31 - tokens) * 30.5 / 31 + random.normal(0, 0.4, 24)
        _, low, high = weighted_change([*(each * tokens)], [*tokens], number)
        truth = -0.5 - 0.02 * 30.5 / 31 * (31 - (np.arange(2, 60) ** 2).sum() / np.arange(2, 60).sum())
        inside += low <= truth <= high
    assert 0.9 <= inside / 300 <= 0.99


def test_a_change_per_token_is_weighted_by_tokens() -> None:
    """A row of nine tokens counts nine times; a change that all tokens share is certain."""
    change, low, high = weighted_change([-9.0, 1.0], [9, 1])
    assert change == pytest.approx(-0.8)
    assert low < change < high
    assert weighted_change([-9.0, -1.0], [9, 1]) == pytest.approx((-1.0, -1.0, -1.0))
