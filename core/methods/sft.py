"""SFT: the model learns to reproduce the answers in the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from core.learning_rate import EXAMPLES
from core.methods.by_rows import plans_by_passes, rows_a_step, suggested
from core.methods.method import JobType, Method, Note, Phase
from core.metric import Chart
from core.metric import Section as Metrics
from core.section import Section, usual

if TYPE_CHECKING:
    from core.config import RunConfig


# fmt: off
class SftSection(Section):
    """What SFT alone has."""

    loss_type: Literal["nll", "dft"] = Field("nll", title="Loss", description="Cross-entropy weights every token of an answer equally. Dynamic fine-tuning weights each token by how likely the model finds it, so that unusual examples have less influence.")
    packing: bool = Field(False, title="Packing", description="Puts several short rows into one sequence of the maximum length, which saves the time spent on padding. A step then learns from more rows. Not possible with every model; the run checks it before it starts.")
    neftune_noise_alpha: float | None = Field(None, gt=0, le=100, title="NEFTune noise (alpha)", description="Adds noise to the input embeddings during training, which can improve free-form answers. 5 is usual. Leave empty to turn it off.", json_schema_extra=usual(5, 15))
# fmt: on


PACKS = frozenset({
    "apertus", "arcee", "bitnet", "cohere", "cohere2", "diffllama", "ernie4_5", "exaone4", "gemma", "gemma2",
    "gemma3_text", "glm", "glm4", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "granite", "granitemoe", "helium",
    "hunyuan_v1_dense", "jetmoe", "llama", "llama4_text", "ministral", "mistral", "mixtral", "nemotron", "olmo",
    "olmo2", "olmo3", "persimmon", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "seed_oss", "smollm3", "stablelm",
    "starcoder2",
})  # fmt: skip
"""Architectures, by ``model_type``, that keep packed rows apart."""
MIXES = frozenset({
    "bamba", "biogpt", "bloom", "falcon", "falcon_h1", "falcon_mamba", "gpt_oss", "granitemoehybrid", "jamba", "lfm2",
    "mamba", "mamba2", "minimax", "mpt", "nemotron_h", "opt", "qwen3_next", "recurrent_gemma", "rwkv", "xglm",
    "xlstm",
})  # fmt: skip
"""Architectures that mix them, because of a state, a convolution, or positions that are not restarted."""


def packs(config: RunConfig) -> bool:
    """Whether rows share sequences."""
    return config.own(SftSection).packing


def suits(config: RunConfig, model_type: str) -> list[Note]:
    """Whether a model can be trained on packed rows, as far as its architecture is known."""
    if not packs(config) or model_type in PACKS:
        return []
    if model_type in MIXES:
        message = f"Models of this type ({model_type}) mix rows that share a sequence. Turn packing off."
        return [Note("sft.packing", "problem", message)]
    message = "It is not known whether this model keeps packed rows apart. The run checks it before the first step."
    return [Note("sft.packing", "note", message)]


def suggest(source: str, on_gpu: bool) -> dict[str, dict[str, Any]]:
    """Sections that suit a dataset's source and this machine."""
    return suggested("sft", on_gpu, gpu_batch=8, longest=256 if source == "generated:arithmetic" else 512)


def variant(section: Mapping[str, Any]) -> str:
    """One name, whatever its settings."""
    return "SFT"


def facts(config: RunConfig) -> Sequence[tuple[str, Any]]:
    """For the model card."""
    section = config.own(SftSection)
    noise = () if section.neftune_noise_alpha is None else (("NEFTune alpha", section.neftune_noise_alpha),)
    packed = (("Packing", "several rows in one sequence"),) if section.packing else ()
    chosen = "plain_text" if config.dataset.text_field else config.training.train_on
    on = (("Trained on", chosen.replace("_", " ")),) if chosen != "last_assistant_message" else ()
    return (("Loss", SFT.choices["loss_type"][section.loss_type]), *on, *noise, *packed)


SFT = Method(
    key="sft",
    title="Learning from examples",
    term="SFT",
    sentence="The model learns to answer the way your examples do (supervised fine-tuning).",
    given="Examples of good answers",
    section=SftSection,
    section_name="sft",
    section_title="SFT",
    shows=(
        "model.*",
        "dataset.*",
        "evaluation.*",
        *(
            f"training.{name}"
            for name in (
                "num_epochs",
                "max_steps",
                "batch_size",
                "gradient_accumulation_steps",
                "learning_rate",
                "warmup_steps",
                "weight_decay",
                "adam_beta1",
                "adam_beta2",
                "max_grad_norm",
                "lr_scheduler_type",
                "optim",
                "max_sequence_length",
                "gradient_checkpointing",
                "save_steps",
                "keep_checkpoints",
                "seed",
            )
        ),
    ),
    also=("dataset.text_field", "dataset.columns", "training.train_on"),
    columns=("instruction", "response"),
    job_type=JobType.SL,
    needs=(),
    phases=(Phase("training", "Training"), Phase("evaluation", "Held-out loss", "evaluation.holdout_fraction")),
    metrics=(
        "loss",
        "perplexity",
        "loss_change",
        "loss_change_low",
        "loss_change_high",
        "loss_rise",
        "loss_rise_low",
        "loss_rise_high",
        "token_accuracy",
        "entropy",
        "epoch",
        "grad_norm",
        "learning_rate",
        "step_time",
        "samples",
        "tokens",
        "tokens_per_second",
        "rows",
    ),
    rows_a_step=rows_a_step,
    rates=EXAMPLES,
    packs=packs,
    suits=suits,
    suggest=suggest,
    plans=plans_by_passes(suggest),
    variant=variant,
    facts=facts,
    tags=("sft",),
    reads={
        "loss": {
            "chart": Chart(
                Metrics.LEARNING,
                "Lower is better. Points are held-out rows, which the model never trains on. If they rise while the "
                "line still falls, the model is overfitting.",
                wide=True,
            )
        },
        "tokens": {
            "term": "tokens per step",
            "plain": "Tokens that a step was trained on",
            "text": "Questions and answers together, without padding.",
        },
        "tokens_per_second": {
            "plain": "Training speed",
            "text": "How many tokens the model is trained on per second. Questions count, padding does not.",
        },
    },
    choices={"loss_type": {"nll": "Cross-entropy", "dft": "Dynamic fine-tuning (DFT)"}},
)
