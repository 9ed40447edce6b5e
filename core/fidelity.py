"""Result of comparing an exported model with the trained model."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

UNROUNDED = ("merged", "adapter", "F32", "F16", "BF16")
"""Prefixes of subjects with 16 bits or more."""
FAITHFUL_KL = 0.02
"""Nats per token up to which an export counts as the same model. docs/fidelity.md has the measurements behind these."""
FAITHFUL_TOP1 = 0.95
"""Share of positions with the same most likely token from which on it does."""
UNROUNDED_KL = 0.1
"""Above this, 16 bits do not explain the divergence: something else is wrong."""
KEPT_WELL = 0.9
"""Share of the training's change that must be in it: 16 bits round a slight training away in part."""
KEPT_MISSING, KEPT_TWICE = 0.25, 1.5
"""Share of the training's change below which the adapter counts as missing, and above which as added twice."""
NEAR_BASE = 0.5
"""An export without the adapter is nearer to the base than this share of the distance that the training moved it."""
FEWER_STOPS = 0.05
"""Share of answers that may end at the length limit where the trained model's end by themselves."""
SAME_PROMPTS = 0.95
"""Share of prompts that must be tokenized alike: one odd character in one prompt does not break an export."""
LADDER = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16", "F32")
"""Recommendations, smallest first, if nothing larger was measured."""
BITS = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.6, "Q5_1": 6.0, "Q5_K_M": 5.7, "Q5_K_S": 5.55,
    "Q5_0": 5.5, "Q4_1": 5.0, "Q4_K_M": 4.85, "Q4_K_S": 4.6, "Q4_0": 4.55, "IQ4_NL": 4.5, "IQ4_XS": 4.3, "Q3_K_L": 4.2,
    "Q3_K_M": 3.9, "IQ3_M": 3.7, "Q3_K_S": 3.5, "IQ3_S": 3.45, "IQ3_XS": 3.3, "IQ3_XXS": 3.06, "Q2_K": 3.0,
    "IQ2_M": 2.7, "Q2_K_S": 2.6, "IQ2_S": 2.5, "IQ2_XS": 2.3, "IQ2_XXS": 2.06, "IQ1_M": 1.75, "IQ1_S": 1.56,
}  # fmt: skip
"""Bits per weight by name, of a large model: only their order is used."""


class FidelityVerdict(StrEnum):
    """The verdict of a comparison."""

    FAITHFUL = "faithful"
    """It behaves like the trained model."""
    LOSES_QUALITY = "loses_quality"
    """It is the trained model, but rounding its weights has changed its output."""
    BROKEN = "broken"
    """It is not the trained model, or has another prompt format or end token. Must not be used."""
    UNVERIFIED = "unverified"
    """llama.cpp crashed on this machine, so the file is unverified. It is kept, to be verified later."""
    NOT_CHECKED = "not_checked"
    """Nothing was compared; the reason says why."""


class FidelityReport(BaseModel):
    """One exported model compared with the trained one, on the same held-out prompts.

    Attributes:
        subject: What was checked: ``merged``, ``adapter``, or a quantization such as ``Q4_K_M``.
        verdict: The verdict.
        reason: One plain sentence: how much is lost, or what differs first.
        prompts: Held-out prompts that both answered.
        positions: Tokens of reference answers at which both models' next-token probabilities were compared.
        same_prompt_ids: Share of prompts whose token ids are the same in both, template and special tokens included:
            of the questions or of the further conversations, whichever is smaller.
        first_difference: Description of the first difference between prompts; empty if there is none.
        only_spaces_differ: Whether the tokens differ only in spaces, as they may between programs.
        top1_agreement: Share of positions at which both models' most likely token is the same.
        mean_kl: Mean KL(trained ‖ exported) over positions, in nats per token.
        base_kl: Mean KL(base ‖ exported): near 0 if the adapter is missing. None if the base was not measured.
        adapter_kl: Mean KL(trained ‖ base): how much the training changed. None as above.
        change_kept: Share of the training's change that is in the export: 1 where the adapter is in it, 0 where
            it is missing, 2 where it was added twice; ``change_kept_low`` and ``_high`` bound it (bootstrap, 95%).
            None if the training changed nothing.
        exact_match: Share of greedy answers that are the same token for token.
        stops: Share of the exported model's greedy answers that end with an end token.
        stops_trained: The same for the trained model.
        reward_trained, reward_exported: Mean reward of the greedy answers; None without a reward.
        reward_drop: Trained minus exported; ``reward_drop_low`` and ``_high`` bound it (paired bootstrap, 95%).
        better_choice: A quantization without quality loss; empty if none is needed or known.
        seconds: How long the check took.
    """

    model_config = ConfigDict(frozen=True)

    subject: str
    verdict: FidelityVerdict = FidelityVerdict.NOT_CHECKED
    reason: str = ""
    prompts: int = 0
    positions: int = 0
    same_prompt_ids: float | None = None
    first_difference: str = ""
    only_spaces_differ: bool = False
    top1_agreement: float | None = None
    mean_kl: float | None = None
    base_kl: float | None = None
    adapter_kl: float | None = None
    change_kept: float | None = None
    change_kept_low: float | None = None
    change_kept_high: float | None = None
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


def judged(report: FidelityReport) -> FidelityReport:
    """The report with verdict and reason, from the measurements."""
    broken = _broken(report)
    if broken:
        return report.model_copy(update={"verdict": FidelityVerdict.BROKEN, "reason": broken})
    losses = _losses(report)
    if losses:
        reason = f"It answers differently from the trained model: {'; '.join(losses)}."
        return report.model_copy(update={"verdict": FidelityVerdict.LOSES_QUALITY, "reason": reason})
    return report.model_copy(update={"verdict": FidelityVerdict.FAITHFUL, "reason": _praise(report)})


def _broken(report: FidelityReport) -> str:
    """What is wrong with it, or ''. What users would notice first comes first."""
    same = 1.0 if report.same_prompt_ids is None or report.only_spaces_differ else report.same_prompt_ids
    if same < SAME_PROMPTS:
        return f"Prompts differ from those of the trained model. {report.first_difference}"
    if _lacks_adapter(report):
        return (
            f"The trained weights are missing: it contains {_percent(report.change_kept)} of what training changed, "
            f"and it is closer to the base model (KL divergence {_nats(report.base_kl)}) than to the trained one "
            f"({_nats(report.mean_kl)})."
        )
    if report.subject.startswith(UNROUNDED) and (report.change_kept_low or 0) > KEPT_TWICE:
        times = f"{report.change_kept:.1f} times"
        return f"The trained weights were added more than once: the training's change is in it {times}."
    if report.subject.startswith(UNROUNDED) and (report.mean_kl or 0) > UNROUNDED_KL:
        return (
            f"Its probabilities differ too much from the trained model's (KL divergence {_nats(report.mean_kl)}). "
            "Rounding to 16 bits does not explain this."
        )
    return ""


def _lacks_adapter(report: FidelityReport) -> bool:
    """Whether the base model was exported.

    Coarse rounding of a slight training moves a model further than the training did, and partly against it:
    Q2_K then keeps half or nothing of the change by this measure. So the export must also be near the base.
    """
    if report.change_kept_high is None or report.base_kl is None or not report.adapter_kl:
        return False
    return report.change_kept_high < KEPT_MISSING and report.base_kl < NEAR_BASE * report.adapter_kl


def _losses(report: FidelityReport) -> list[str]:
    found = []
    if report.top1_agreement is not None and report.top1_agreement < FAITHFUL_TOP1:
        found.append(f"its most likely next word differs in {_percent(1 - report.top1_agreement)} of positions")
    elif report.mean_kl is not None and report.mean_kl > FAITHFUL_KL:
        found.append(f"its probabilities differ (KL divergence {_nats(report.mean_kl)} per token)")
    if report.change_kept_high is not None and report.change_kept_high < KEPT_WELL:
        found.append(f"{_percent(report.change_kept)} of what the training changed is left after quantization")
    if (
        report.stops is not None
        and report.stops_trained is not None
        and report.stops < report.stops_trained - FEWER_STOPS
    ):
        found.append(
            f"{_percent(report.stops)} of its answers end on their own, compared with "
            f"{_percent(report.stops_trained)} of the trained model's"
        )
    if (report.reward_drop_low or 0) > 0 and report.reward_drop is not None:
        found.append(
            f"its reward is {report.reward_drop:.3f} lower ({report.reward_drop_low:.3f} to "
            f"{report.reward_drop_high:.3f}, 95% interval)"
        )
    elif found and report.reward_drop is not None:
        found.append(
            "its reward is not significantly lower "
            f"(drop {report.reward_drop_low:.3f} to {report.reward_drop_high:.3f}, 95% interval)"
        )
    if report.same_prompt_ids is not None and report.same_prompt_ids < 1:
        found.append(f"it reads some prompts differently ({report.first_difference})")
    return found


def _praise(report: FidelityReport) -> str:
    return (
        f"It behaves like the trained model: {_percent(report.exact_match)} of {report.prompts} answers are identical, "
        f"and its probabilities hardly differ (KL divergence {_nats(report.mean_kl)} per token)."
    )


def with_better_choice(report: FidelityReport, others: Sequence[FidelityReport]) -> FidelityReport:
    """Say of one that loses quality which quantization would not; may be asked again when more were measured.

    Args:
        report: Of a GGUF or a merged model.
        others: Reports of the same model's other quantizations, as far as they were made.
    """
    if report.verdict != FidelityVerdict.LOSES_QUALITY or report.subject not in {*BITS, "merged"}:
        return report
    lost = judged(report).reason
    if report.subject == "merged":
        reason = f"{lost} A GGUF in F32 is not rounded."
        return report.model_copy(update={"better_choice": "F32", "reason": reason})
    size = BITS[report.subject]
    larger = sorted((one for one in others if BITS.get(one.subject, 0) > size), key=lambda one: BITS[one.subject])
    kept = next((one.subject for one in larger if one.verdict == FidelityVerdict.FAITHFUL), "")
    if kept:
        words = f"{kept} does not lose quality."
    else:
        tried = {one.subject for one in larger if one.verdict != FidelityVerdict.UNVERIFIED}
        kept = next((name for name in LADDER if BITS[name] > size and name not in tried), "")
        words = f"{kept} may lose less, but was not checked." if kept else ""
    return report.model_copy(update={"better_choice": kept, "reason": f"{lost} {words}".strip()})


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None else f"{round(100 * share)}%"


def _nats(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2g}"
