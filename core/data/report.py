"""The schema of a preparation's ``report.json``, to tell a report from a damaged file."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from core.data.lengths import Histogram
from core.preferences import Preferences


class Removed(BaseModel):
    """Rows removed for one reason, with a few examples."""

    count: int
    rows: tuple[dict[str, str], ...]


class Measured(BaseModel):
    """Lengths in tokens, and how much the limits truncate."""

    prompt: Histogram
    reference: Histogram
    limits: tuple[int, int]
    max_sequence_length: int
    max_new_tokens: int
    cut_prompts: float
    cut_references: float
    cut_if_proposed: tuple[float, float]


class Asked(BaseModel):
    """The configuration sections that a report is about."""

    dataset: dict[str, Any]
    reward: dict[str, Any] = {}


class Report(BaseModel):
    """See :func:`services.datasets.preparation_child.prepare`."""

    read: int
    left_out: dict[str, int]
    removed: dict[str, Removed]
    train: int
    holdout: int
    test: int
    spare: int
    sha256: str
    unparseable: int
    lengths: Measured | None
    preferences: Preferences | None = None
    config: Asked
