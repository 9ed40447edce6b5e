"""Verdicts on exports: from measurements to a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from core.fidelity import FidelityReport, FidelityVerdict, judged, with_better_choice

GOOD: dict[str, Any] = {
    "subject": "Q4_K_M", "prompts": 64, "positions": 900, "same_prompt_ids": 1.0, "top1_agreement": 0.99,
    "mean_kl": 0.004, "base_kl": 1.5, "adapter_kl": 1.4,
    "change_kept": 0.98, "change_kept_low": 0.95, "change_kept_high": 1.01,
    "exact_match": 0.9, "stops": 1.0, "stops_trained": 1.0, "reward_trained": 0.7, "reward_exported": 0.69,
    "reward_drop": 0.01, "reward_drop_low": -0.02, "reward_drop_high": 0.04,
}  # fmt: skip


def verdict(**changes: Any) -> FidelityReport:
    return judged(FidelityReport(**{**GOOD, **changes}))


def test_a_close_export_is_faithful() -> None:
    """Small distances, and a reward that is not measurably lower."""
    report = verdict()
    assert report.verdict == FidelityVerdict.FAITHFUL
    assert "90% of 64 answers" in report.reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"top1_agreement": 0.9}, "most likely next word differs in 10% of positions"),
        ({"mean_kl": 0.06}, "probabilities differ (KL divergence 0.06 per token)"),
        (
            {"reward_drop": 0.2, "reward_drop_low": 0.1, "reward_drop_high": 0.3},
            "0.200 lower (0.100 to 0.300, 95%",
        ),
        ({"same_prompt_ids": 0.98, "first_difference": "Token 3."}, "reads some prompts differently (Token 3.)"),
        (
            {"same_prompt_ids": 0.0, "only_spaces_differ": True, "first_difference": "Token 3."},
            "some prompts differently",
        ),
        ({"change_kept": 0.8, "change_kept_high": 0.82}, "80% of what the training changed is left after quantization"),
        ({"stops": 0.8}, "80% of its answers end on their own, compared with 100% of the trained model's"),
    ],
)
def test_a_loss_of_quality_is_reported(changes: dict[str, Any], words: str) -> None:
    """Each figure beyond its threshold is named; any one of them is a loss."""
    report = verdict(**changes)
    assert report.verdict == FidelityVerdict.LOSES_QUALITY
    assert words in report.reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"same_prompt_ids": 0.5, "first_difference": "Token 1 is 'a' and 'b' here."}, "Prompts differ from those"),
        (
            {"change_kept": 0.02, "change_kept_low": -0.1, "change_kept_high": 0.15, "base_kl": 0.02, "mean_kl": 1.4},
            "trained weights are missing: it contains 2%",
        ),
        (
            {"subject": "merged", "change_kept": 1.98, "change_kept_low": 1.9, "change_kept_high": 2.1},
            "added more than once",
        ),
        ({"subject": "merged", "mean_kl": 0.5}, "16 bits does not explain this"),
        ({"subject": "adapter as GGUF", "mean_kl": 0.5}, "16 bits does not explain this"),
    ],
)
def test_a_broken_export_names_the_problem(changes: dict[str, Any], words: str) -> None:
    """Not the trained model, or prompted differently: never mistaken for rounding."""
    report = verdict(**changes)
    assert report.verdict == FidelityVerdict.BROKEN
    assert words in report.reason


@pytest.mark.parametrize(
    "measured",
    [
        {"mean_kl": 0.4, "base_kl": 0.27, "adapter_kl": 0.14, "change_kept": -0.02, "change_kept_high": 0.02},
        {"mean_kl": 0.56, "base_kl": 0.52, "adapter_kl": 1.4, "change_kept": 0.48, "change_kept_high": 0.49},
    ],
)
def test_heavy_quantization_after_little_training_is_not_a_missing_adapter(measured: dict[str, Any]) -> None:
    """Rounding moves it further than training did, and partly in the opposite direction, as measured with Q2_K."""
    assert verdict(**measured, change_kept_low=measured["change_kept"]).verdict == FidelityVerdict.LOSES_QUALITY


def test_the_better_choice_is_the_smallest_that_was_measured_faithful() -> None:
    """An exported one without loss is named; otherwise the next larger one, marked as a guess."""
    loses = verdict(mean_kl=0.3)
    others = [verdict(subject="F16"), verdict(subject="Q6_K"), verdict(subject="Q5_K_M", mean_kl=0.1), loses]
    found = with_better_choice(loses, others)
    assert found.better_choice == "Q6_K"
    assert found.reason.endswith("Q6_K does not lose quality.")
    guessed = with_better_choice(loses, [loses, others[2]])
    assert guessed.better_choice == "Q6_K"
    assert guessed.reason.endswith("Q6_K may lose less, but was not checked.")
    assert with_better_choice(guessed, others).reason == found.reason
    assert with_better_choice(verdict(), others).better_choice == ""


def test_a_merged_model_with_a_loss_points_to_a_more_precise_export() -> None:
    """A small change in training is below the precision of 16-bit numbers."""
    merged = verdict(subject="merged", change_kept=0.85, change_kept_high=0.86)
    assert with_better_choice(merged, [merged]).reason.endswith("A GGUF in F32 is not rounded.")
    assert with_better_choice(verdict(mean_kl=0.05, subject="F16"), []).better_choice == "F32"
