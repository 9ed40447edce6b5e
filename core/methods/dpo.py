"""DPO: the model learns to prefer the better of two answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from core.dataset import Shape
from core.learning_rate import PAIRS
from core.methods.by_rows import ACCURACY, plans_by_passes, rows_a_step, suggested
from core.methods.method import JobType, Method, Need, Note, Phase
from core.methods.sft import SFT
from core.section import Section, usual

if TYPE_CHECKING:
    from core.config import RunConfig
    from core.model import Device

Loss = Literal[
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sigmoid_norm", "sft",
]  # fmt: skip
"""TRL's names."""
SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")
"""Losses that use the label smoothing."""
LOSSES = {
    "sigmoid": "Sigmoid: the original DPO",
    "hinge": "Hinge: stops at a margin (SLiC)",
    "ipo": "IPO: aims at a fixed margin",
    "exo_pair": "EXO: reverse KL divergence",
    "nca_pair": "NCA: keeps better answers likely",
    "robust": "Robust DPO: for noisy labels",
    "bco_pair": "BCO: each answer on its own",
    "sppo_hard": "SPPO: fixed target for each answer",
    "aot": "AOT: all pairs of a batch together",
    "aot_unpaired": "AOT: better and worse answers of a batch, unpaired",
    "apo_zero": "APO-zero: better answers become likelier",
    "apo_down": "APO-down: both become less likely",
    "discopop": "DiscoPOP: found by a language model",
    "sigmoid_norm": "Sigmoid per token: length does not count",
    "sft": "Cross-entropy: learns from better answers only",
}
"""Their labels on the form."""


# fmt: off
class DpoSection(Section):
    """What DPO alone has."""

    loss_type: Loss = Field("sigmoid", title="Loss", description="How preferences become a loss. Keep the original unless you have a reason: Robust DPO if some pairs are the wrong way round, sigmoid per token if the model writes longer and longer answers.")
    beta: float = Field(0.1, gt=0, le=10, title="Beta", description="How closely the model stays to how it was at the start. Lower lets it change more.", json_schema_extra=usual(0.01, 0.5))
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, title="Label smoothing", description="For Robust DPO, the share of pairs that you expect to be the wrong way round. EXO needs a small value such as 0.001; AOT can use one too.", json_schema_extra=usual(0, 0.1))
    sft_weight: float = Field(0.0, ge=0, le=10, title="Weight of the SFT loss", description="Adds the cross-entropy of the better answers to the loss (RPO). Above 0, it keeps better answers from becoming less likely.", json_schema_extra=usual(0, 1))
    ld_alpha: float | None = Field(None, ge=0, le=1, title="Length desensitization (alpha)", description="Weight of the tokens by which one answer of a pair is longer than the other, so that length counts less (LD-DPO). 0 leaves them out; empty is the same as 1.")
# fmt: on


def cross_checks(config: RunConfig) -> list[tuple[str, str]]:
    """EXO compares with the smoothed label, which must not be certain."""
    section = config.own(DpoSection)
    if section.loss_type == "exo_pair" and not section.label_smoothing:
        return [("dpo.label_smoothing", "must be above 0 with the loss 'exo_pair'; 0.001 is usual")]
    return []


def remarks(config: RunConfig, device: Device) -> list[Note]:
    """Settings that have no effect with the chosen loss, and a loss that may learn the opposite."""
    section = config.own(DpoSection)
    found = []
    if section.label_smoothing and section.loss_type not in SMOOTHED:
        found.append(("label_smoothing", f"Only has an effect with the losses {', '.join(SMOOTHED)}."))
    if section.loss_type == "robust" and not section.label_smoothing:
        found.append(("label_smoothing", "At 0, Robust DPO is the same as the original. 0.1 is usual."))
    if section.loss_type == "discopop":
        # With TRL's temperature of 0.05, the loss is lowest near a margin of -0.12 unless the margin exceeds 0.07.
        message = "From the start, this loss first moves towards the worse answers, and pairs can get stuck there. Watch the accuracy."
        found.append(("loss_type", message))
    if section.loss_type == "sft":
        message = "Has no effect with the loss 'sft', which learns from the better answers only."
        names = ("beta", "sft_weight", "ld_alpha")
        found += [(name, message) for name in names if getattr(section, name) and name in section.model_fields_set]
    return [Note(f"dpo.{name}", "note", message) for name, message in found]


def suggest(source: str, on_gpu: bool) -> dict[str, dict[str, Any]]:
    """Sections that suit a dataset's source and this machine."""
    longest = 256 if source == "generated:preferences" else 512
    return suggested("dpo", on_gpu, gpu_batch=4, longest=longest, learning_rate=5e-5)


VARIANTS = {"ipo": "IPO", "robust": "Robust DPO"}
"""Losses that have a usual name of their own."""


def variant(section: Mapping[str, Any]) -> str:
    """IPO and Robust DPO by their names; RPO is DPO with the SFT loss added."""
    loss = section.get("loss_type", "sigmoid")
    return "RPO" if loss == "sigmoid" and section.get("sft_weight") else VARIANTS.get(loss, "DPO")


def facts(config: RunConfig) -> Sequence[tuple[str, Any]]:
    """For the model card."""
    section = config.own(DpoSection)
    further = (
        ("Label smoothing", section.label_smoothing if section.loss_type in SMOOTHED else 0),
        ("Weight of the SFT loss", section.sft_weight),
        ("LD-DPO alpha", section.ld_alpha),
    )
    return (
        ("Loss", LOSSES[section.loss_type]),
        ("Beta", section.beta),
        *((name, value) for name, value in further if value not in {None, 0}),
    )


DPO = Method(
    key="dpo",
    title="Learning from preferences",
    term="DPO",
    sentence="The model learns to prefer the better of two answers (direct preference optimization).",
    given="Pairs of a better and a worse answer",
    when="The usual choice for a model that can already answer.",
    variants=("IPO", "RPO"),
    section=DpoSection,
    section_name="dpo",
    section_title="DPO",
    shows=SFT.shows,
    columns=("instruction", "chosen", "rejected"),
    shapes=(Shape.PAIRS,),
    job_type=JobType.DPO,
    needs=(Need.REFERENCE_MODEL,),
    phases=(Phase("training", "Training"), Phase("evaluation", "Held-out pairs", "evaluation.holdout_fraction")),
    metrics=(
        "loss",
        *ACCURACY,
        "reward_margin",
        "reward_chosen",
        "reward_rejected",
        "logps_chosen",
        "logps_rejected",
        "token_accuracy",
        "entropy",
        "epoch",
        "grad_norm",
        "learning_rate",
        "step_time",
        "samples",
    ),
    rows_a_step=rows_a_step,
    rates=PAIRS,
    cross_checks=cross_checks,
    remarks=remarks,
    suggest=suggest,
    plans=plans_by_passes(suggest),
    variant=variant,
    facts=facts,
    tags=("dpo",),
    choices={"loss_type": LOSSES},
    reads={
        "loss": {
            "text": "How far the model is from preferring every better answer. The original loss starts at 0.69, "
            "where no answer is preferred; the others start elsewhere.",
        },
    },
)
