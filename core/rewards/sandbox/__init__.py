"""Runs untrusted code: custom rewards, and programs that a model wrote."""

from __future__ import annotations

from core.rewards.sandbox.client import (
    Limits,
    Protection,
    Sandbox,
    Task,
    protection,
    shared,
)

__all__ = ["Limits", "Protection", "Sandbox", "Task", "protection", "shared"]
