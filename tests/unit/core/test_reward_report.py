"""What the report says of made scores."""

from __future__ import annotations

import random
from math import log

import pytest

from core.reward_report import PairScores, Trick, agreement, key_of, report, shuffled, sigmoid


def pair(key: str, chosen: float, rejected: float, **other: float | None) -> PairScores:
    values: dict[str, float | None] = {
        "chosen_tokens": 10, "rejected_tokens": 10, "shuffled": chosen - 1, "empty": rejected - 1,
        "flattered": chosen - 0.5, "rejected_flattered": rejected - 0.5,
    }  # fmt: skip
    return PairScores.model_validate({"key": key, "chosen": chosen, "rejected": rejected, **values, **other})


def trick(key: str, *pairs: PairScores) -> Trick:
    return next(one for one in report(1, pairs).tricks if one.key == key)


def test_accuracy_counts_ties_as_half_and_has_an_interval() -> None:
    """Two right, one wrong, one tie of four."""
    found = report(7, [pair("a", 1, 0), pair("b", 2, 0), pair("c", 0, 1), pair("d", 1, 1)])
    assert (found.step, found.accuracy.count, found.accuracy.of, found.accuracy.share) == (7, 2, 4, 0.625)
    assert found.accuracy.low < 0.5 < 0.625 < found.accuracy.high
    assert found.margin == pytest.approx(0.5)
    assert (found.mean, found.deviation) == pytest.approx((0.75, 0.6614), abs=1e-3)


def test_calibration_compares_what_was_predicted_with_what_was_right() -> None:
    """Sure by 85% and right in 17 of 20 is no error; right in three of 20 is one of 70 points."""
    sure = log(85 / 15)  # the sigmoid of this difference is 0.85
    good = [pair(str(n), sure, 0) if n >= 3 else pair(str(n), 0, sure) for n in range(20)]
    bad = [pair(str(n), 0, sure) if n >= 3 else pair(str(n), sure, 0) for n in range(20)]
    (found,) = report(1, good).calibration
    assert (found.low, found.high) == pytest.approx((0.8, 0.9))
    assert (found.predicted, found.right.share, found.right.of) == pytest.approx((0.85, 0.85, 20))
    assert report(1, good).calibration_error == pytest.approx(0, abs=1e-9)
    assert report(1, bad).calibration_error == pytest.approx(0.7)


def test_a_score_that_is_the_length_is_found_out() -> None:
    """Correlation 1, and every longer answer wins although half of them are worse."""
    draw = random.Random(3)
    found = []
    for number in range(40):
        first, second = draw.sample(range(5, 60), 2)
        found.append(pair(str(number), first / 10, second / 10, chosen_tokens=first, rejected_tokens=second))
    length = report(1, found).length
    assert length.spearman
    assert length.pearson
    assert (length.spearman.value, length.pearson.value) == pytest.approx((1, 1))
    assert length.longer_wins
    assert length.longer_better
    assert length.longer_wins.share == 1 > length.longer_better.share


def test_scores_that_ignore_the_length_have_an_interval_around_zero() -> None:
    draw = random.Random(5)
    found = [
        pair(str(n), draw.gauss(0, 1), draw.gauss(0, 1), chosen_tokens=draw.randint(5, 60), rejected_tokens=9)
        for n in range(60)
    ]
    spearman = report(1, found).length.spearman
    assert spearman
    assert spearman.low < 0 < spearman.high
    assert report(1, [pair("a", 1, 1), pair("b", 1, 1)]).length.spearman is None


def test_each_trick_counts_where_it_worked() -> None:
    """Scrambled and empty answers against the better one, praise against the answer without it."""
    fooled = {"shuffled": 5.0, "empty": 3.0, "flattered": 3.5, "rejected_flattered": 4.0}
    pairs = (pair("a", 3, 1, **fooled), pair("b", 3, 1), pair("c", 3, 1, shuffled=None), pair("d", 1, 3))
    assert (trick("shuffled", *pairs).fooled.count, trick("shuffled", *pairs).fooled.of) == (1, 3)
    assert trick("empty", *pairs).fooled.count == 2  # a tie, and the pair that ranks the wrong way round
    assert trick("flattered", *pairs).fooled.count == 1
    # Only where the worse answer was behind without the praise.
    assert trick("rejected_flattered", *pairs).fooled.count == 1
    assert trick("flattered", *pairs).honest == 2.5


def test_two_models_agree_as_far_as_they_rank_alike() -> None:
    """On the pairs that both were tested on."""
    first = report(1, [pair(str(n), n + 1, n) for n in range(10)])
    same = report(1, [pair(str(n), 10 * (n + 1), 10 * n) for n in range(5, 12)])
    found = agreement(first, same)
    assert found
    assert (found.same.count, found.same.of) == (5, 5)
    assert found.spearman
    assert found.spearman.value == pytest.approx(1)
    other = agreement(first, report(1, [pair(str(n), n, n + 1) for n in range(10)]))
    assert other
    assert (other.same.share, other.first.share, other.second.share) == (0, 1, 0)
    assert agreement(first, report(1, [pair("elsewhere", 1, 0)])) is None


def test_a_pair_is_known_by_its_content() -> None:
    row = {"instruction": "q", "chosen": "a", "rejected": "b", "other": 1}
    assert key_of(row) == key_of({**row, "other": 2}) != key_of({**row, "rejected": "c"})


def test_shuffled_words_are_the_same_words() -> None:
    """In another order, the same one each time."""
    text = "the sum of two and two is four"
    mixed = shuffled(text, "seed")
    assert mixed is not None
    assert mixed != text
    assert sorted(mixed.split()) == sorted(text.split())
    assert mixed == shuffled(text, "seed")


def test_probabilities_do_not_overflow() -> None:
    assert (sigmoid(-1e9), sigmoid(1e9)) == (0, 1)
