"""Shared by methods that read every row once in a pass: rows of a step, suggestions and plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.plan import Plan, Situation, by_passes

if TYPE_CHECKING:
    from core.config import RunConfig

ACCURACY = (
    "preference_accuracy",
    "preference_accuracy_low",
    "preference_accuracy_high",
    "accuracy_change",
    "accuracy_change_low",
    "accuracy_change_high",
)
"""Metrics of every method that learns from preferences: held-out accuracy with intervals."""


def rows_a_step(config: RunConfig) -> int:
    """A row for each place of the step."""
    return config.training.batch_size * config.training.gradient_accumulation_steps


def suggested(
    section: str, on_gpu: bool, *, gpu_batch: int, longest: int = 512, learning_rate: float | None = None
) -> dict[str, dict[str, Any]]:
    """Sections that suit this machine: on a CPU a step should take seconds.

    Args:
        section: The method's own.
        on_gpu: Whether a GPU is used, on which a step takes 16 rows.
        gpu_batch: Rows at once on a GPU; each of them may be two sequences.
        longest: The maximum sequence length on a CPU.
        learning_rate: On a CPU, if another one than that of the method's ``rates`` suits short runs.
    """
    training: dict[str, Any]
    if on_gpu:
        training = {
            "max_steps": 300,
            "batch_size": gpu_batch,
            "gradient_accumulation_steps": 16 // gpu_batch,
            "max_sequence_length": 2048,
            "optim": "adamw_8bit",
            "gradient_checkpointing": True,
        }
    else:
        training = {
            "max_steps": 40,
            "batch_size": 4,
            "gradient_accumulation_steps": 2,
            **({} if learning_rate is None else {"learning_rate": learning_rate}),
            "max_sequence_length": longest,
            "save_steps": 10,
        }
    return {"training": training, section: {}, "evaluation": {}}


def plans_by_passes(
    suggest: Callable[[str, bool], dict[str, dict[str, Any]]],
) -> Callable[[Situation], tuple[Plan, ...]]:
    """The ``plans`` of a method with these suggestions: by passes over the rows."""
    return lambda situation: by_passes(situation, suggest(situation.source, situation.on_gpu)["training"])
