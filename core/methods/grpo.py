"""GRPO: compares answers to the same question. With an optional warm-up; GSPO is one of its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from core.learning_rate import Rate, Rates
from core.methods.method import JobType, Method, Need, Note, Phase
from core.metric import Better, Chart, Line
from core.metric import Section as Metrics
from core.plan import Plan, Situation, plans_of
from core.section import Section, usual

if TYPE_CHECKING:
    from core.config import RunConfig
    from core.model import Device


# fmt: off
class GrpoSection(Section):
    """What GRPO alone has."""

    kl_penalty: float = Field(0.0, ge=0, le=10, title="KL penalty (beta)", description="Keeps the model close to the base model. 0 is fastest; 0.01 to 0.1 limits drift.", json_schema_extra=usual(0, 0.1))
    clip_range: float = Field(0.2, gt=0, le=10, title="Clip range (epsilon)", description="How much one step may change the probability of a token. GSPO, which compares whole answers, uses about 0.0003.")
    clip_range_high: float | None = Field(None, gt=0, le=10, title="Upper clip range (epsilon high)", description="A higher upper limit lets rare good answers grow faster. The DAPO paper uses 0.28, CISPO about 5. Leave empty to use the clip range.")
    importance_sampling_level: Literal["token", "sequence"] = Field("token", title="Importance sampling", description="Per token is GRPO. Per answer is GSPO, which is more stable for long answers.")
    loss_type: Literal["dapo", "grpo", "bnpo", "dr_grpo", "cispo"] = Field("dapo", title="Loss", description="How tokens of long and short answers are weighted. DAPO treats every token equally.")
    num_iterations: int = Field(1, ge=1, le=64, title="Iterations per batch", description="How many updates each batch of answers is used for.", json_schema_extra=usual(1, 4))
    scale_rewards: Literal["group", "batch", "none"] = Field("group", title="Reward scaling", description="Whether score differences are divided by their standard deviation, within each question or across the batch.")
    skip_constant_groups: bool = Field(True, title="Skip questions with identical scores", description="If all answers to a question score the same, there is nothing to learn from it. Skipping it saves time.")
    dynamic_sampling: bool = Field(False, title="Resample when all scores are equal (dynamic sampling)", description="Replaces questions whose answers all score the same with other questions, up to three times per step. Takes longer, but every step has something to learn from.")
    mask_truncated_completions: bool = Field(False, title="Ignore cut-off answers", description="Answers that reached the maximum length are not trained on.")
# fmt: on


RATES = Rates(full=Rate(1e-6, 5e-7, 5e-6), lora=Rate(2e-5, 1e-5, 2e-4))
"""TRL's default for all weights; DeepSeek-R1 used 3e-6. For LoRA, ten times TRL's default to ten times that of SFT:
rewards are noisy, but a run is short, and what the built-in tasks need was measured (:func:`suggest`)."""


def rows_a_step(config: RunConfig) -> int:
    """A question for each whole group of the step's answers."""
    training = config.training
    return training.batch_size * training.gradient_accumulation_steps // training.num_generations


def cross_checks(config: RunConfig) -> list[tuple[str, str]]:
    """A batch must hold whole groups, and the upper clip range must not be below the lower one."""
    grpo = config.grpo
    problems = whole_groups(config)
    if grpo.clip_range_high is not None and grpo.clip_range_high < grpo.clip_range:
        problems.append(("grpo.clip_range_high", f"must be empty or at least clip_range ({grpo.clip_range})"))
    return problems


def whole_groups(config: RunConfig) -> list[tuple[str, str]]:
    """Reject a step that would split a group: all answers to a question are compared within one step."""
    training = config.training
    per_step = training.batch_size * training.gradient_accumulation_steps
    group = training.num_generations
    if per_step % group == 0:
        return []
    nearest = max(1, round(per_step / group)) * group
    batch = training.batch_size if nearest % training.batch_size == 0 else 1
    message = (
        f"batch_size × gradient_accumulation_steps is {per_step}, which is not a multiple of "
        f"num_generations ({group}). "
        f"Make it {nearest}, for example batch_size = {batch} and "
        f"gradient_accumulation_steps = {nearest // batch}"
    )
    return [("training.num_generations", message)]


def remarks(config: RunConfig, device: Device) -> list[Note]:
    """Settings of GRPO that have no effect on this device or with these other settings."""
    grpo, notes = config.grpo, []
    if device.kind == "cuda" and "skip_constant_groups" in grpo.model_fields_set:
        message = "Only has an effect on a CPU. On a GPU, other optimizations are faster."
        notes.append(Note("grpo.skip_constant_groups", "note", message))
    if grpo.num_iterations == 1:
        # Each batch of completions is used for one optimizer step, so new and old policy are the same.
        message = "Has no effect while num_iterations is 1. Clipping starts with the second iteration."
        notes += [
            Note(f"grpo.{name}", "note", message)
            for name in ("clip_range", "clip_range_high")
            if name in grpo.model_fields_set and getattr(grpo, name) is not None
        ]
    return notes


def suggest(source: str, on_gpu: bool) -> dict[str, dict[str, Any]]:
    """Sections that suit a dataset's source and this machine.

    On a CPU a step must stay within a minute: short answers, one group or two, few steps. The
    arithmetic task's values are those of the recipe whose reward was seen to rise.
    """
    arithmetic = source == "generated:arithmetic"
    reward = {"type": "preset", "preset_name": "arithmetic" if arithmetic else "math"}
    if on_gpu:
        training: dict[str, Any] = {
            "max_steps": 250,
            "batch_size": 8,
            "gradient_accumulation_steps": 4,
            "max_new_tokens": 512,
            "max_sequence_length": 2048,
            "optim": "adamw_8bit",
            "gradient_checkpointing": True,
        }
        warm_up: dict[str, Any] = {"enabled": True}
        return {"training": training, "grpo": {}, "pre_training": warm_up, "evaluation": {}, "reward": reward}
    training = {
        "max_steps": 40,
        "batch_size": 8,
        "gradient_accumulation_steps": 2 if arithmetic else 1,
        "learning_rate": 1e-4,  # measured: in 40 steps the reward of the built-in tasks rises
        "max_new_tokens": 24 if arithmetic else 128,
        "max_sequence_length": 256 if arithmetic else 512,
        "save_steps": 10,
    }
    warm_up = {"enabled": True, "max_samples": 64, "learning_rate": 2e-4}
    evaluation = {"max_prompts": 16}
    return {"training": training, "grpo": {}, "pre_training": warm_up, "evaluation": evaluation, "reward": reward}


def plans(situation: Situation) -> tuple[Plan, ...]:
    """Fewer answers and steps for a try, more of both for a thorough run.

    A comparison needs several answers per question, so a try has four and the others eight; on a GPU, where answers
    are cheap, a thorough run has sixteen. Passes over a small dataset are limited: it would be memorized.
    """
    suggested = suggest(situation.source, situation.on_gpu)["training"]
    arithmetic = situation.source == "generated:arithmetic"
    lengths = (suggested["max_sequence_length"], suggested["max_new_tokens"])
    sequence, answer = lengths if arithmetic else situation.room(*lengths)
    questions = suggested["batch_size"] * suggested["gradient_accumulation_steps"] // 8
    most = (20, 250, 1000) if situation.on_gpu else (10, 40, 150)

    def values(steps: int, group: int, accumulated: int) -> dict[str, Any]:
        return {
            "training.max_steps": steps,
            "training.num_generations": group,
            "training.gradient_accumulation_steps": accumulated,
            "training.max_new_tokens": answer,
            "training.max_sequence_length": sequence,
        }

    accumulated = suggested["gradient_accumulation_steps"]
    many = (16, 2 * accumulated) if situation.on_gpu else (8, accumulated)
    return plans_of(
        values(situation.steps(2 * questions, 1, most[0]), 4, accumulated),
        values(situation.steps(questions, 3, most[1]), 8, accumulated),
        values(situation.steps(questions, 6, most[2]), *many),
    )


def variant(section: Mapping[str, Any]) -> str:
    """GSPO where whole answers are weighed, else GRPO."""
    return "GSPO" if section.get("importance_sampling_level") == "sequence" else "GRPO"


def facts(config: RunConfig) -> Sequence[tuple[str, Any]]:
    """For the model card."""
    grpo = config.grpo
    return (
        ("KL penalty (beta)", grpo.kl_penalty),
        ("Loss", f"{grpo.loss_type}, {grpo.importance_sampling_level} level"),
    )


GRPO = Method(
    key="grpo",
    title="Learning from scores",
    term="GRPO",
    sentence=(
        "The model answers each question several times and learns from the answers that score above average "
        "(group relative policy optimization)."
    ),
    given="Questions with answers that can be checked",
    when="The usual choice. GSPO, its variant for long answers, is one of its settings.",
    variants=("GSPO",),
    section=GrpoSection,
    section_name="grpo",
    section_title="GRPO and GSPO",
    shows=("model.*", "dataset.*", "training.*", "pre_training.*", "evaluation.*"),
    columns=("instruction",),
    job_type=JobType.RL,
    needs=(Need.REWARD, Need.ROLLOUTS),
    # With a KL penalty, and for the distance from the base model in every evaluation.
    may_need=(Need.REFERENCE_MODEL,),
    refers=lambda config: config.grpo.kl_penalty > 0,
    phases=(
        Phase("warm_up", "Warm-up", "pre_training.enabled"),
        Phase("training", "Training"),
        Phase("evaluation", "Final score", "evaluation.holdout_fraction"),
    ),
    metrics=(
        # The optimizer.
        "loss",
        "epoch",
        "grad_norm",
        "learning_rate",
        "step_time",
        # The policy.
        "kl",
        "entropy",
        "clip_ratio",
        "clip_ratio_low",
        "clip_ratio_high",
        "sampler_kl",
        # What the answers earned.
        "reward",
        "reward_components",
        "reward_std",
        "solved",
        "no_opinion",
        "groups_without_spread",
        "judge_requests",
        "judge_cached",
        "judge_failed",
        "judge_tokens",
        "judge_cost",
        # The answers themselves.
        "completion_length_mean",
        "completion_length_min",
        "completion_length_max",
        "cut_off",
        "samples",
        "tokens",
        "tokens_per_second",
        "time_generation",
        "time_reward",
    ),
    rows_a_step=rows_a_step,
    cross_checks=cross_checks,
    remarks=remarks,
    rates=RATES,
    suggest=suggest,
    plans=plans,
    variant=variant,
    facts=facts,
    tags=("grpo", "reinforcement-learning"),
    choices={
        "importance_sampling_level": {"token": "Per token (GRPO)", "sequence": "Per answer (GSPO)"},
        "loss_type": {"dapo": "DAPO", "grpo": "GRPO", "bnpo": "BNPO", "dr_grpo": "Dr. GRPO", "cispo": "CISPO"},
        "scale_rewards": {
            "group": "Per question",
            "batch": "Per batch",
            "none": "None",
        },
    },
    reads={
        "loss": {
            "better": Better.NEITHER,
            "tile": False,
            "line": Line(),
            "chart": Chart(
                Metrics.LOSS,
                "In the warm-up, lower is better. "
                "In training, it stays near 0 and says nothing about progress; watch the reward instead.",
            ),
        }
    },
)
