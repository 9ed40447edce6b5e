"""A second method for tests: it learns the rows' answers, without a reward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import Field

import core.config
import core.device_checks
import core.methods
import services.forms.fields
import services.forms.labels
import services.wizard.draft
import services.wizard.merge
import services.wizard.wizard
from core.config import RunConfig, run_config
from core.learning_rate import EXAMPLES
from core.methods.grpo import GRPO
from core.section import Section
from services.wizard import steps


class CopySection(Section):
    """Its own section."""

    packing: bool = Field(False, title="Packing", description="A setting.")


COPY = replace(
    GRPO,
    key="imitate",
    term="Copying",
    section=CopySection,
    section_name="imitate",
    section_title="Copying",
    shows=(
        "model.*",
        "dataset.*",
        "training.batch_size",
        "training.max_steps",
        "training.max_sequence_length",
        "evaluation.*",
    ),
    columns=("instruction", "response"),
    needs=(),
    phases=GRPO.phases[1:],
    metrics=("loss", "epoch", "grad_norm", "learning_rate", "step_time", "samples"),
    reads={},
    cross_checks=lambda config: [],
    remarks=lambda config, device: [],
    rates=EXAMPLES,
    suggest=lambda source, on_gpu: {"training": {"max_steps": 40}},
    plans=lambda situation: (),
    variant=lambda section: "Copying",
    facts=lambda config: [],
    tags=("imitate",),
    choices={},
)


def install(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Register it everywhere, as if it had existed at startup; with changes to it."""
    both = (GRPO, replace(COPY, **changes))
    step = steps.STEP["configuration"]
    whole_step = replace(step, sections=tuple(dict.fromkeys((*step.sections, COPY.section_name))))
    monkeypatch.setitem(steps.STEP, step.key, whole_step)
    monkeypatch.setattr(steps, "STEPS", tuple(steps.STEP[one.key] for one in steps.STEPS))
    whole = run_config.with_sections(RunConfig, both)
    names = run_config.sections_of(whole)
    monkeypatch.setattr(core.methods, "METHODS", both)
    monkeypatch.setattr(run_config, "METHODS", both)
    for module in (core.config, run_config, services.forms.fields):
        monkeypatch.setattr(module, "RunConfig", whole)
    for module in (
        core.config,
        run_config,
        core.device_checks,
        services.forms.fields,
        services.forms.labels,
        services.wizard.wizard,
        services.wizard.merge,
        services.wizard.draft,
    ):
        monkeypatch.setattr(module, "SECTIONS", names)
