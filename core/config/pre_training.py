"""Supervised warm-up before reinforcement learning."""

from __future__ import annotations

from pydantic import Field

from core.section import Section, usual


class PreTrainingSection(Section):
    enabled: bool = Field(False, title="Warm-up (SFT)", description="Trains on reference answers before reinforcement learning starts. Without it, a small model may never find the answer format, and its reward stays at 0.")
    epochs: float = Field(1, gt=0, le=100, title="Warm-up epochs", description="Passes over the warm-up rows.", json_schema_extra=usual(1, 3))
    max_samples: int | None = Field(64, ge=1, title="Warm-up rows", description="How many rows to warm up on. Leave empty to use all of them.")
    learning_rate: float = Field(5e-5, gt=0, le=1, title="Warm-up learning rate", description="Used in the warm-up only.")
    batch_size: int = Field(4, ge=1, le=4096, title="Warm-up batch size", description="Used in the warm-up only.")
