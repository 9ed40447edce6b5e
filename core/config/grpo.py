"""What GRPO alone has."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.section import Section


class GrpoSection(Section):
    kl_penalty: float = Field(0.0, ge=0, le=10, title="Pull to the original (KL penalty, beta)", description="Holds the model near where it started. 0 is fastest; 0.01 to 0.1 keeps it from drifting.")
    clip_range: float = Field(0.2, gt=0, le=10, title="Clip range (epsilon)", description="How far one step may change the probability of an answer.")
    clip_range_high: float | None = Field(None, gt=0, le=10, title="Upper clip range (epsilon high)", description="A larger upper limit lets rare good answers grow faster. Empty: the same as below.")
    importance_sampling_level: Literal["token", "sequence"] = Field("token", title="Method (importance sampling level)", description="'token' is GRPO; 'sequence' is GSPO, which weighs whole answers and is steadier for long ones.")
    loss_type: Literal["dapo", "grpo", "bnpo", "dr_grpo", "cispo"] = Field("dapo", title="Loss", description="How tokens of long and short answers are weighed. DAPO treats every token alike.")
    num_iterations: int = Field(1, ge=1, le=64, title="Uses of each answer (iterations)", description="How many times each batch of answers is trained on.")
    scale_rewards: Literal["group", "batch", "none"] = Field("group", title="Reward scaling", description="Divide a group's advantages by the spread of its own rewards, of the batch's, or not at all.")
    skip_constant_groups: bool = Field(True, title="Skip groups without spread", description="Where all answers to a question earned the same there is nothing to learn from it. No time is spent on such a group.")
    dynamic_sampling: bool = Field(False, title="Ask again where there is no spread (dynamic sampling)", description="Groups without spread are replaced by answers to other questions, at most three times a step. More writing, and every step teaches something.")
    mask_truncated_completions: bool = Field(False, title="Leave out cut-off answers", description="Answers that reached the length limit are not trained on.")
