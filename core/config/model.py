"""The model that learns, and its adapter."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.section import Section

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class ModelSection(Section):
    name: str = Field(
        min_length=1, max_length=500, title="Model",
        description="A model of the Hub such as Qwen/Qwen3-0.6B, a folder on this machine, or the built-in one.",
    )
    revision: str | None = Field(None, title="Revision", description="A branch, tag or commit of the Hub model; empty for the newest.")
    adapter: Literal["lora", "none"] = Field("lora", title="Adapter", description="'lora' trains a small adapter beside the model; 'none' would train the whole model.")
    lora_rank: int = Field(16, ge=1, le=1024, title="Adapter size (LoRA rank)", description="How much the adapter can learn. 8 to 32 fits most tasks; more costs memory.")
    lora_alpha: int = Field(32, ge=1, le=4096, title="Adapter strength (LoRA alpha)", description="How strongly the adapter is applied. Twice the rank is usual.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, title="Adapter dropout (LoRA dropout)", description="Share of adapter inputs switched off at random. 0 is fastest and usual for reinforcement learning.")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field("all-linear", title="Adapted layers (target modules)", description="Which layers get an adapter. All linear layers learn best.")
    use_rslora: bool = Field(False, title="Rank-stabilised adapter (rsLoRA)", description="Scales the adapter by the square root of its rank; helps above rank 64.")
    load_in_4bit: bool = Field(False, title="Load in 4 bit (quantization)", description="Needs about a quarter of the memory. Only with an NVIDIA GPU.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", title="Number format (dtype)", description="Auto takes bfloat16 on a GPU that has it and float32 on a CPU, where it is faster.")
