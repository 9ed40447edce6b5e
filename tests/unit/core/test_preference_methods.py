"""What DPO and ORPO say about their settings."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from core.config import RunConfig, parse
from core.errors import InvalidConfig
from core.methods.dpo import DPO, LOSSES, SMOOTHED, Loss
from core.methods.orpo import ORPO
from core.model import Device

CPU = Device("cpu", "cpu", 1 << 34, 1 << 33, False)


def config(method: str = "dpo", **section: Any) -> RunConfig:
    pairs = {"source": "a/b", "chosen_field": "better", "rejected_field": "worse"}
    return parse({"name": "x", "model": {"name": "m"}, "method": method, "dataset": pairs, method: section})


def notes(**section: Any) -> dict[str, str]:
    """The remarks on DPO's settings, by field."""
    return {note.field: note.message for note in DPO.remarks(config(**section), CPU)}


def test_every_loss_has_a_label() -> None:
    """The form shows it, not TRL's name."""
    assert set(LOSSES) == set(get_args(Loss))
    assert len(set(LOSSES.values())) == len(LOSSES)
    assert set(SMOOTHED) < set(LOSSES)


def test_exo_needs_a_label_that_is_not_certain() -> None:
    """TRL would refuse it after the model was loaded."""
    with pytest.raises(InvalidConfig, match=r"label_smoothing: must be above 0 .* 0\.001 is usual"):
        config(loss_type="exo_pair")
    assert notes(loss_type="exo_pair", label_smoothing=0.001) == {}


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ({"label_smoothing": 0.1}, {"dpo.label_smoothing"}),
        ({"label_smoothing": 0.1, "loss_type": "aot"}, set()),
        ({"loss_type": "robust"}, {"dpo.label_smoothing"}),
        ({"loss_type": "robust", "label_smoothing": 0.1}, set()),
        (
            {"loss_type": "sft", "beta": 0.2, "sft_weight": 1, "ld_alpha": 0.5},
            {"dpo.beta", "dpo.sft_weight", "dpo.ld_alpha"},
        ),
        ({"loss_type": "discopop"}, {"dpo.loss_type"}),
        ({"loss_type": "sft"}, set()),
        ({"sft_weight": 1, "ld_alpha": 0}, set()),
    ],
)  # fmt: skip
def test_settings_without_effect_and_a_misleading_loss_get_a_note(section: dict[str, Any], fields: set[str]) -> None:
    """Those that the chosen loss does not use, and Robust DPO without anything to be robust against.

    Settings that a user did not set are not mentioned.
    """
    assert set(notes(**section)) == fields


@pytest.mark.parametrize(
    ("section", "term"),
    [
        ({}, "DPO"),
        ({"loss_type": "ipo"}, "IPO"),
        ({"loss_type": "robust"}, "Robust DPO"),
        ({"sft_weight": 0.2}, "RPO"),
        ({"loss_type": "hinge", "sft_weight": 0.2}, "DPO"),
    ],
)
def test_a_known_variant_is_called_by_its_name(section: dict[str, Any], term: str) -> None:
    """From the section as it is stored, which may lack fields."""
    assert DPO.variant(section) == term


def test_the_model_card_names_what_was_used() -> None:
    """Settings that are off or without effect are left out."""
    assert list(DPO.facts(config())) == [("Loss", LOSSES["sigmoid"]), ("Beta", 0.1)]
    told = config(loss_type="robust", label_smoothing=0.1, sft_weight=0.5, ld_alpha=0.25)
    assert dict(DPO.facts(told)) == {
        "Loss": LOSSES["robust"], "Beta": 0.1, "Label smoothing": 0.1, "Weight of the SFT loss": 0.5,
        "LD-DPO alpha": 0.25,
    }  # fmt: skip
    assert list(ORPO.facts(config("orpo", beta=0.25))) == [("Lambda", 0.25)]


def test_orpo_compares_nothing_with_the_start() -> None:
    """Its rewards are log-probabilities, and no text says otherwise."""
    described = {one.key: one for one in ORPO.described}
    assert "per token" in described["reward_chosen"].text
    assert all("at the start, times beta" not in one.text for one in described.values())
