"""The base model and its adapter."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.lora import ALL_LINEAR, Preset
from core.section import Section, usual

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class ModelSection(Section):
    name: str = Field(
        min_length=1, max_length=500, title="Base model",
        description="A Hugging Face model such as Qwen/Qwen3-0.6B, a folder on this machine, or the built-in model.",
    )
    revision: str | None = Field(None, title="Revision", description="A branch, tag, or commit of the Hugging Face model. Leave empty for the latest.")
    adapter: Literal["lora", "none"] = Field("lora", title="What is trained", description="A LoRA adapter is a small addition to the model and needs little memory. Training every weight (full fine-tuning) can learn more and needs several times the memory.")
    continue_from: str | None = Field(None, min_length=1, max_length=1000, title="Continue from a run", description="The ID of a finished run, one of its checkpoints as <run>/checkpoint-<step>, or an adapter folder in outputs or exports. Leave empty to start from the base model.")
    merge_first: bool = Field(False, title="Merge the adapter first", description="Merges the earlier run's adapter into the base model and trains a fresh adapter, or every weight, on the result. Otherwise the same adapter is trained further.")
    lora_rank: int = Field(16, ge=1, le=1024, title="LoRA rank", description="The size of the adapter: how much it can learn. Higher takes more memory.", json_schema_extra=usual(8, 128))
    lora_alpha: int = Field(32, ge=1, le=4096, title="LoRA alpha", description="How strongly the adapter is applied. Usually twice the rank.", json_schema_extra=usual(8, 256))
    lora_dropout: float = Field(0.0, ge=0, lt=1, title="LoRA dropout", description="Share of adapter inputs switched off at random. 0 is fastest, and usual for reinforcement learning.", json_schema_extra=usual(0, 0.1))
    lora_preset: Preset = Field("all", title="Layers", description="Which layers get an adapter. All layers learn best; fewer layers make a smaller adapter.")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field("all-linear", title="Target modules", description="The names of the layers that get an adapter, for a custom choice of layers.")
    use_rslora: bool = Field(False, title="Rank-stabilized LoRA (rsLoRA)", description="Scales the adapter by the square root of its rank. Helps above rank 64.")
    use_dora: bool = Field(False, title="Weight-decomposed LoRA (DoRA)", description="Also learns the length of each row of a layer's weights. Can help at low ranks; steps take longer, and the adapter cannot be exported as a GGUF of its own.")
    load_in_4bit: bool = Field(False, title="4-bit quantization", description="Loads the base model in about a quarter of the memory. NVIDIA GPUs only.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", title="Precision", description="Automatic uses bfloat16 on a GPU that supports it and float32 on a CPU, where it is faster.")

    @property
    def layers(self) -> Preset:
        """The preset. Files from before it existed give their target modules alone, which are then a custom choice."""
        if "lora_preset" not in self.model_fields_set and self.target_modules != ALL_LINEAR:
            return "custom"
        return self.lora_preset

def adapter_fields() -> tuple[str, ...]:
    """Names of the fields that describe an adapter, which have no effect if every weight is trained."""
    return tuple(name for name in ModelSection.model_fields if name not in _OTHERS)


_OTHERS = frozenset({"name", "revision", "adapter", "continue_from", "merge_first", "load_in_4bit", "dtype"})


def weight_checks(model: ModelSection) -> list[tuple[str, str]]:
    """Find settings that contradict which weights are trained, as (field path, how to fix it)."""
    problems = []
    if model.adapter == "none" and model.load_in_4bit:
        problems.append(("model.load_in_4bit", "4-bit weights cannot be trained. Turn it off, or use adapter 'lora', which leaves them unchanged"))
    if model.adapter == "none" and model.dtype == "float16":
        problems.append(("model.dtype", "float16 is too imprecise to train every weight in. Use 'auto', 'float32' or 'bfloat16'"))
    if model.merge_first and not model.continue_from:
        problems.append(("model.merge_first", "there is no adapter to merge. Set continue_from, or leave it off"))
    return problems
