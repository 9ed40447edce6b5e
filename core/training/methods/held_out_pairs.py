"""The held-out pairs, measured with a trainer's own loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch

from core.training.evaluation.outcomes import Outcomes, outcome
from core.training.methods.pairs import Pair
from core.training.methods.training_job import TrainingJob
from core.training.methods.trl import renamed
from core.training.rollouts.generate import evaluating

OF_TOKENS = frozenset({"entropy", "token_accuracy"})
"""Metrics that are means over tokens, so that their mean over the pairs would be another number."""


class PairTrainer(Protocol):
    """What a trainer has for :class:`HeldOutPairs`."""

    def batch(self, pairs: list[Pair]) -> Any:
        """The pairs as the loss takes them."""

    def measured(self, batch: Any) -> Mapping[str, Any]:
        """The loss, as ``loss``, and the metrics of a batch, under the trainer's own names. Nothing is logged."""


class HeldOutPairs:
    """A measure: the trainer's own loss and metrics on the held-out pairs.

    Args:
        job: The run.
        pairs: The pairs, whose answers differ.

    Attributes:
        trainer: Set before the first measurement.
    """

    trainer: PairTrainer

    def __init__(self, job: TrainingJob, pairs: list[Pair]) -> None:
        self.job, self.pairs = job, pairs
        self.outcomes = Outcomes(job.run, job.config.training.seed)

    def __call__(self, when: str, step: int) -> bool:
        """Measure pair by pair, so that padding changes nothing, and report the means. Without pairs, no row."""
        seen: list[dict[str, float]] = []
        with evaluating(self.job.loaded.model), torch.no_grad():
            for pair in self.pairs:
                if self.job.status.stop_asked:
                    return False
                seen.append(renamed(self.trainer.measured(self.trainer.batch([pair]))))
        if seen:
            means = {name: sum(one[name] for one in seen) / len(seen) for name in seen[0] if name not in OF_TOKENS}
            preferred = self.outcomes.measured(when, step, [outcome(one["reward_margin"]) for one in seen])
            self.job.reporter.row("evaluation", step, {"when": when, **means, **preferred})
        return True
