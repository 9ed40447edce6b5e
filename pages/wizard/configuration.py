"""Step 3: plans, and every field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.methods import Method, Need
from core.plan import Plan
from core.readiness import Severity
from pages.wizard.frame import Frame, frame
from pages.wizard.groups import groups
from services.container import Services
from services.forms.fields import FieldGroup, Values, section_model
from services.runs.speeds import Estimate
from services.wizard.draft import Draft, Section, plans, suggest
from services.wizard.snapshot import can_be_probed
from services.wizard.steps import STEP
from services.words import num


@dataclass(frozen=True)
class PlanCard:
    """A plan: its main values and its time on this machine, '' if unknown."""

    key: str
    title: str
    text: str
    facts: tuple[str, ...]
    time: str
    chosen: bool


@dataclass(frozen=True)
class ConfigurationStep:
    """Step 3.

    Attributes:
        plans: The method's plans, if it has any.
        changed: Titles of the fields that differ from the suggestions.
        basis: The source of the times, or why there are none.
        checkable: Whether a check before training can measure them now.
        per_step: A sentence on what one step uses.
    """

    frame: Frame
    checks: str
    problems: int
    plans: tuple[PlanCard, ...]
    changed: tuple[str, ...]
    basis: str
    checkable: bool
    groups: tuple[FieldGroup, ...]
    count: int
    per_step: str


def configuration_step(services: Services) -> ConfigurationStep:
    """Step 3."""
    snapshot = services.snapshots.take()
    draft, review, chosen = snapshot.draft, snapshot.review, snapshot.draft.chosen_method
    memory, on_gpu = draft.page("configuration"), services.system.on_gpu()
    problems = sum(problem.severity is Severity.BLOCKS for problem in review.of(STEP["configuration"]))
    suggested = suggest(draft.dataset, chosen, memory, on_gpu=on_gpu)
    shown_groups = groups(draft, review.remarks, suggested)
    offered = plans(draft.dataset, chosen, memory, on_gpu=on_gpu)
    times = [snapshot.estimate(plan.values) for plan in offered]
    cards = tuple(_card(draft, plan, chosen, time) for plan, time in zip(offered, times, strict=True))
    known = next((time for time in times if time), None)
    complete = not {"model", "dataset", "reward"} & review.missing
    return ConfigurationStep(
        frame=frame(services, "configuration", snapshot),
        # Only displayed check boxes: one that is listed here and not sent counts as off.
        checks=" ".join(field.path for group in shown_groups for field in group.fields if field.kind == "check"),
        problems=problems,
        plans=cards,
        changed=tuple(
            field.short
            for group in shown_groups
            for field in group.fields
            if _value(draft.sections, field.path) != _value(suggested, field.path)
        ),
        basis=known.basis if known else _unknown(draft, chosen),
        checkable=(known is None or known.most is not None) and complete and can_be_probed(chosen),
        groups=shown_groups,
        count=sum(len(group.fields) for group in shown_groups),
        per_step=_per_step(draft.training, chosen, packs=snapshot.packs),
    )


def _card(draft: Draft, plan: Plan, chosen: Method, time: Estimate | None) -> PlanCard:
    matches = all(_value(draft.sections, path) == value for path, value in plan.values.items())
    return PlanCard(
        plan.key, plan.title, plan.text, _facts(plan.values, chosen), time.words.capitalize() if time else "", matches
    )


def _value(sections: Mapping[str, Values], path: str) -> object:
    """A field's value, or its default."""
    section, _, name = path.partition(".")
    values = sections.get(section, {})
    return values[name] if name in values else section_model(section).model_fields[name].default


def _facts(values: Mapping[str, Any], chosen: Method) -> tuple[str, ...]:
    steps = f"{values['training.max_steps']} steps"
    if Need.ROLLOUTS not in chosen.needs:
        return (steps,)
    group, longest = values["training.num_generations"], values["training.max_new_tokens"]
    return (steps, f"{group} answers per question", f"up to {longest} tokens")


def _unknown(draft: Draft, chosen: Method) -> str:
    if not (draft.model.name and draft.dataset.source):
        return "Choose a model and a dataset to see how long training takes."
    if can_be_probed(chosen):
        return (
            "No training time has been measured for this model on this machine yet. Check before training measures it."
        )
    return "No training time has been measured for this model on this machine yet. Your first run measures it."


def _per_step(training: Section, chosen: Method, *, packs: bool) -> str:
    """A sentence on what one step uses; with packing, its rows depend on their lengths."""
    rollouts = Need.ROLLOUTS in chosen.needs
    try:
        answers = training.whole("batch_size", 1) * training.whole("gradient_accumulation_steps", 8)
        group = training.whole("num_generations", 8) if rollouts else 1
    except (TypeError, ValueError):
        return ""
    if packs:
        return f"Each step: {answers} sequence{'' if answers == 1 else 's'} of packed rows."
    if not rollouts:
        return f"Each step: {answers} row{'' if answers == 1 else 's'}."
    return f"Each step: {answers} answers to {num(answers / group)} question{'' if answers == group else 's'}."
