"""The warm-up before reinforcement learning."""

from __future__ import annotations

from pydantic import Field

from core.section import Section


class PreTrainingSection(Section):
    enabled: bool = Field(False, title="Warm up first (SFT)", description="Learn from reference answers by imitation before reinforcement learning starts. Without it a small model may never hit the format, and the reward stays at 0.")
    epochs: float = Field(1, gt=0, le=100, title="Passes (epochs)", description="How often each warm-up row is used.")
    max_samples: int | None = Field(64, ge=1, title="Rows", description="How many rows to warm up on. Empty for all.")
    learning_rate: float = Field(5e-5, gt=0, le=1, title="Learning rate", description="For the warm-up phase alone.")
    batch_size: int = Field(4, ge=1, le=4096, title="Rows at once (batch size)", description="For the warm-up phase alone.")
