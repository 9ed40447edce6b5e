"""What was found when an exported model was compared with the model that was trained."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Verdict(StrEnum):
    """What a comparison came to."""

    FAITHFUL = "faithful"
    """It behaves like the model that was trained."""
    LOSES_QUALITY = "loses_quality"
    """It is the trained model, and rounding its numbers has changed what it says."""
    BROKEN = "broken"
    """It is not the model that was trained, or it is asked or stopped in another way. Not to be used."""
    NOT_CHECKED = "not_checked"
    """Nothing was compared; the reason says why."""


class FidelityReport(BaseModel):
    """One exported model beside the trained one, on the same held-out prompts.

    Attributes:
        subject: What was checked: ``merged``, ``adapter``, or a quantization such as ``Q4_K_M``.
        verdict: What it came to.
        reason: One plain sentence: how much is lost, or what differs first.
        prompts: Held-out prompts that both answered.
        positions: Tokens of reference answers at which both models' next-token probabilities were compared.
        same_prompt_ids: Share of prompts whose token ids are the same in both, template and special tokens included.
        first_difference: Where the first prompt that differs does so, in words; empty where none does.
        top1_agreement: Share of positions at which both models' likeliest token is the same.
        mean_kl: Mean KL(trained ‖ exported) over positions, in nats a token.
        base_kl: Mean KL(base ‖ exported): near 0 where the adapter is missing. None where the base was not measured.
        adapter_kl: Mean KL(trained ‖ base): how much the training changed. None as above.
        exact_match: Share of greedy answers that are the same token for token.
        stops: Share of the exported model's greedy answers that end with an end token.
        stops_trained: The same of the trained model's.
        reward_trained, reward_exported: Mean reward of the greedy answers; None without a reward.
        reward_drop: Trained less exported; ``reward_drop_low`` and ``_high`` bound it (paired bootstrap, 95 %).
        better_choice: A quantization that would not lose, as the reason says it; empty where none is needed or known.
        seconds: How long the check took.
    """

    model_config = ConfigDict(frozen=True)

    subject: str
    verdict: Verdict
    reason: str
    prompts: int = 0
    positions: int = 0
    same_prompt_ids: float | None = None
    first_difference: str = ""
    top1_agreement: float | None = None
    mean_kl: float | None = None
    base_kl: float | None = None
    adapter_kl: float | None = None
    exact_match: float | None = None
    stops: float | None = None
    stops_trained: float | None = None
    reward_trained: float | None = None
    reward_exported: float | None = None
    reward_drop: float | None = None
    reward_drop_low: float | None = None
    reward_drop_high: float | None = None
    better_choice: str = ""
    seconds: float = 0.0
