"""Step 3: how long and how strongly it learns."""

from __future__ import annotations

from dataclasses import dataclass

from core.methods import Method, Need
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
        _per_step(draft.training, draft.chosen_method),
    )


def _per_step(training: Section, chosen: Method) -> str:
    """What one step takes, in a sentence."""
    rollouts = Need.ROLLOUTS in chosen.needs
    try:
        answers = training.whole("batch_size", 1) * training.whole("gradient_accumulation_steps", 8)
        group = training.whole("num_generations", 8) if rollouts else 1
    except (TypeError, ValueError):
        verb, noun = ("makes", "answers") if rollouts else ("takes", "rows")
        return f"A step {verb} as many {noun} as the numbers above say, once they can be read."
    if not rollouts:
        return f"A step takes {answers} row{'' if answers == 1 else 's'}."
    return f"A step makes {answers} answers to {num(answers / group)} question{'' if answers == group else 's'}."
