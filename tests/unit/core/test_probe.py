# ruff: noqa: E501 - cases, one a line
"""What a probe's measurements mean: each verdict with the figures that lead to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.config import RunConfig, dump, parse
from core.probe import Component, Figures, Outcome, judge, proposal, shares
from tests.conftest import TINY

GOOD = Figures(
    prompts=8, samples=8, never=0.25, sometimes=0.625, always=0.125, solved=0.4, with_spread=0.6, reward=0.5, reward_spread=0.4,
    reference=1.2, wrong=0.2, components={"numeric": Component(0.4, 0.5), "format": Component(0.9, 0.1)}, cut_off=0.1, unparsed=0.1,
    memory_needed=10**9, memory_free=2 * 10**9,
)  # fmt: skip
FLAT = {"with_spread": 0.0, "reward_spread": 0.0}

CASES = {
    "figures as they should be": ({}, Outcome.WILL_LEARN, ""),
    "more memory than there is": ({"memory_needed": 3 * 10**9}, Outcome.DOES_NOT_FIT, "training.batch_size"),
    "memory not measured": ({"memory_needed": 3 * 10**9, "memory_free": 0}, Outcome.WILL_LEARN, ""),
    "the reference does not fit": ({"reference_cut_off": 0.9, "unparsed": 1.0}, Outcome.CUT_OFF, "training.max_new_tokens"),
    "answers found, most of them cut": ({"cut_off": 0.7}, Outcome.CUT_OFF, "training.max_new_tokens"),
    "rambling without an answer": (
        {"cut_off": 0.9, "unparsed": 0.9, "solved": 0.0}, Outcome.WARM_UP_FIRST, "pre_training.enabled",
    ),
    "still rambling after the warm-up": (
        {"unparsed": 0.9, "solved": 0.0, "warmed_up": True}, Outcome.WARM_UP_FIRST, "pre_training.epochs",
    ),
    "a constant reward": (
        {**FLAT, "solved": 0.0, "never": 1.0, "sometimes": 0.0, "always": 0.0, "reward": 0.5, "reference": 0.5, "wrong": 0.5},
        Outcome.REWARD_CANNOT_TELL, "reward.components",
    ),
    "parts that cancel": (
        {**FLAT, "components": {"a": Component(0.5, 0.5), "b": Component(0.5, 0.5)}}, Outcome.REWARD_CANNOT_TELL, "reward.components",
    ),
    "solved every time": (
        {**FLAT, "never": 0.0, "sometimes": 0.0, "always": 1.0, "solved": 1.0, "reward": 1.2, "components": {}},
        Outcome.TOO_EASY, "dataset.source",
    ),
    "never solved, in the right form": (
        {**FLAT, "never": 1.0, "sometimes": 0.0, "always": 0.0, "solved": 0.0, "reward": 0.2, "components": {}},
        Outcome.TOO_HARD, "dataset.source",
    ),
    "hardly any spread": (
        {"with_spread": 0.1, "never": 0.8, "sometimes": 0.1, "always": 0.1, "solved": 0.15}, Outcome.TOO_HARD, "dataset.source",
    ),
    "hardly any spread, mostly solved": (
        {"with_spread": 0.1, "never": 0.1, "sometimes": 0.1, "always": 0.8, "solved": 0.85}, Outcome.TOO_EASY, "dataset.source",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_each_case_gets_its_verdict_and_the_setting_to_change(name: str) -> None:
    """One verdict for each set of figures, with the responsible field and advice."""
    changes, outcome, field = CASES[name]
    verdict = judge(replace(GOOD, **changes))  # type: ignore[arg-type]
    assert (verdict.outcome, verdict.field) == (outcome, field)
    assert verdict.reason.endswith(".")
    assert verdict.advice.endswith(".")


def configured(**training: Any) -> RunConfig:
    return parse({**TINY, "training": {**TINY["training"], **training}})


def test_components_are_called_by_their_titles() -> None:
    """Users do not know their internal names."""
    cancelling = replace(
        GOOD, reward_spread=0.0, components={"exact": Component(0.5, 0.5), "length": Component(0.5, 0.5)}
    )
    assert "The components Same text, length differ" in judge(cancelling, {"exact": "Same text"}).reason
    assert "The components exact, length differ" in judge(cancelling).reason


@pytest.mark.parametrize(
    ("outcome", "figures", "config", "lengths", "values"),
    [
        (
            "cut_off", {"reference_cut_off": 1.0}, configured(), (256, 96),
            {"training.max_new_tokens": 96, "training.max_sequence_length": 256},
        ),
        (
            "cut_off", {"reference_cut_off": 0.0}, configured(), (256, 96),
            {"training.max_new_tokens": 16, "training.max_sequence_length": 256},
        ),
        (
            "cut_off", {"reference_cut_off": 1.0}, configured(), None,
            {"training.max_new_tokens": 16, "training.max_sequence_length": 136},
        ),
        (
            "does_not_fit", {}, configured(), None,
            {"training.batch_size": 2, "training.gradient_accumulation_steps": 2},
        ),
        (
            "does_not_fit", {}, configured(batch_size=1, gradient_accumulation_steps=4), None,
            {"training.gradient_checkpointing": True},
        ),
        ("warm_up_first", {}, configured(), None, {"pre_training.enabled": True}),
        ("too_hard", {}, configured(), None, {"pre_training.enabled": True}),
        ("too_easy", {}, configured(), None, {}),
        ("reward_cannot_tell", {}, configured(), None, {}),
        ("will_learn", {}, configured(), None, {}),
    ],
)  # fmt: skip
def test_advice_that_is_a_value_is_a_value(
    outcome: str, figures: dict[str, Any], config: RunConfig, lengths: tuple[int, int] | None, values: dict[str, Any]
) -> None:
    """The configuration with the advised value is valid."""
    assert proposal(outcome, figures, config, lengths) == values
    data = dump(config)
    for path, value in values.items():
        section, _, name = path.partition(".")
        data[section][name] = value
    parse(data)


def test_a_warm_up_that_was_too_short_is_doubled() -> None:
    config = parse({**TINY, "pre_training": {"enabled": True, "epochs": 1}})
    assert proposal("warm_up_first", {}, config, None) == {"pre_training.epochs": 2}


def test_every_verdict_can_be_reached() -> None:
    """No verdict is unreachable."""
    assert {outcome for _, outcome, _ in CASES.values()} == set(Outcome)


def test_shares_add_up() -> None:
    """Never, sometimes and always add up to 1."""
    assert sum(shares([[True], [False], [True]])) == pytest.approx(1)
