"""The list of evaluations."""

from __future__ import annotations

from dataclasses import dataclass

from services.container import Services
from services.evaluations.evaluations import EvaluationView


@dataclass(frozen=True)
class EvaluationsPage:
    """Every evaluation."""

    evaluations: tuple[EvaluationView, ...]


def evaluations_page(services: Services) -> EvaluationsPage:
    """The list."""
    return EvaluationsPage(tuple(services.evaluations.list()))
