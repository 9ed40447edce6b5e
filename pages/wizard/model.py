"""Step 1: the model and its adapter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import core.methods
from core.methods import Method
from pages.wizard.frame import Frame, frame
from services.container import Services
from services.forms.fields import FormField, form_field
from services.wizard.forms import ADVANCED, CUSTOM
from services.words import size

SETUPS = (
    ("recommended", "Recommended", "An adapter that suits most tasks."),
    ("custom", "Custom", "Choose its size, strength and dropout."),
    ("advanced", "Advanced", "Also layers, scaling, 4-bit loading and number format."),
)


@dataclass(frozen=True)
class ModelChoice:
    """One size of a family, and whether it fits."""

    name: str
    title: str
    note: str
    memory: str
    fits: bool
    gated: bool
    local: bool


@dataclass(frozen=True)
class Family:
    """The sizes of one family."""

    title: str
    models: tuple[ModelChoice, ...]


@dataclass(frozen=True)
class ModelStep:
    """Step 1."""

    frame: Frame
    methods: tuple[Method, ...]
    """To choose from; empty where there is one alone."""
    method: str
    checks: str
    device: str
    families: tuple[Family, ...]
    chosen: str
    other: bool
    name: FormField
    revision: FormField | None
    setup: str
    setups: tuple[tuple[str, str, str], ...]
    custom: tuple[FormField, ...]
    advanced: tuple[FormField, ...]


def model_step(services: Services) -> ModelStep:
    """Step 1."""
    snapshot = services.snapshots.take()
    review, model, uses = snapshot.review, snapshot.draft.model, snapshot.draft.chosen_method.uses
    items = services.models.families()
    listed = {item.info.name for item in items}
    name = model.name
    other = bool(name) and name not in listed
    device = services.system.device()
    fields = {
        key: form_field("model", key, model.values, review.remarks)
        for key in ("revision", *CUSTOM, *ADVANCED)
        if uses(f"model.{key}")
    }
    return ModelStep(
        frame=frame(services, "model", snapshot),
        methods=core.methods.METHODS if len(core.methods.METHODS) > 1 else (),
        method=snapshot.draft.chosen_method.key,
        # Only of boxes that are shown: one that is named here and not sent is switched off.
        checks=" ".join(field.path for field in fields.values() if field.kind == "check"),
        device=f"{device.name}, {size(device.memory)} of memory, {'a GPU' if device.kind == 'cuda' else 'no GPU'}",
        families=tuple(
            Family(family, tuple(_choice(item) for item in items if item.info.family == family))
            for family in dict.fromkeys(item.info.family for item in items)
        ),
        chosen="" if other else name,
        other=other,
        name=_shown_only_if(other, form_field("model", "name", model.values, review.remarks)),
        revision=fields.get("revision"),
        setup=snapshot.draft.page("model").get("setup", "recommended"),
        setups=SETUPS,
        custom=tuple(fields[key] for key in CUSTOM if key in fields),
        advanced=tuple(fields[key] for key in ADVANCED if key in fields),
    )


def _shown_only_if(wanted: bool, field: FormField) -> FormField:
    return field if wanted else replace(field, value="")


def _choice(item: Any) -> ModelChoice:
    memory = size(item.memory_4bit if item.needs_4bit else item.memory) + (" in 4 bit" if item.needs_4bit else "")
    return ModelChoice(item.info.name, item.info.title, item.info.note, memory, item.fits, item.info.gated, item.here)
