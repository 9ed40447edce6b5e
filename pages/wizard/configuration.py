"""Step 3: how long and how strongly it learns."""

from __future__ import annotations

from dataclasses import dataclass

from core.readiness import Severity
from pages.wizard.frame import Frame, frame
from pages.wizard.groups import groups
from services.container import Services
from services.forms.fields import FieldGroup
from services.wizard.draft import Section
from services.wizard.steps import STEP
from services.words import num


@dataclass(frozen=True)
class ConfigurationStep:
    """Step 3."""

    frame: Frame
    checks: str
    problems: int
    groups: tuple[FieldGroup, ...]
    per_step: str


def configuration_step(services: Services) -> ConfigurationStep:
    """Step 3."""
    snapshot = services.snapshots.take()
    draft, review = snapshot.draft, snapshot.review
    problems = sum(problem.severity is Severity.BLOCKS for problem in review.of(STEP["configuration"]))
    shown_groups = groups(draft, review.remarks)
    return ConfigurationStep(
        frame(services, "configuration", snapshot),
        # Only of boxes that are shown: one that is named here and not sent is switched off.
        " ".join(field.path for group in shown_groups for field in group.fields if field.kind == "check"),
        problems,
        shown_groups,
        _per_step(draft.training),
    )


def _per_step(training: Section) -> str:
    try:
        answers = training.whole("batch_size", 1) * training.whole("gradient_accumulation_steps", 8)
        group = training.whole("num_generations", 8)
    except (TypeError, ValueError):
        return "as many answers as the numbers above say, once they can be read"
    return f"{answers} answers to {num(answers / group)} question{'' if answers == group else 's'}"
