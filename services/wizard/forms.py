"""Converts a step's form into the draft's sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.lora import ALL_LINEAR
from core.methods import DEFAULT
from core.model import without_address
from services.datasets.library import Library
from services.forms.fields import Values, read_form_section
from services.forms.reward_form import read_reward
from services.wizard import dataset_form
from services.wizard.steps import STEP

CUSTOM = ("lora_rank", "lora_alpha", "lora_dropout")
LAYERS = ("lora_preset", "target_modules")
ADVANCED = ("use_rslora", "use_dora", "load_in_4bit", "dtype")
"""Adapter settings, by how many of them a user wants to set; the layers come with the custom ones."""


def read_form(library: Library, step: str, form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """The step's sections, and the method or the run's name if the step has it.

    Args:
        library: Knows the mapping that comes with a dataset.
        form: The submitted fields; others are unchanged.
        before: The same sections when the form's page was rendered.
    """
    changed: dict[str, Any] = {}
    for section in STEP[step].sections:
        was = before.get(section) or {}
        if section == "name":
            changed["name"] = form.get("name", str(before.get("name") or "")).strip()[:100]
        elif section == "method":
            changed["method"] = _read_method(form, str(before.get("method") or ""))
        elif section == "reward":
            changed["reward"] = read_reward(form, was)
        elif section == "dataset":
            changed["dataset"] = dataset_form.read(library, form, was)
        elif section == "model":
            changed["model"] = _read_model(form, was)
        else:
            changed[section] = read_form_section(section, form, was)
    return changed


def _read_method(form: Mapping[str, str], before: str) -> str:
    """The selected method; the default stays unset if it was unset before."""
    key = form.get("method", before)
    return key if before or key != DEFAULT else ""


def _read_model(form: Mapping[str, str], before: Values) -> dict[str, Any]:
    """The selected or entered model; 'Recommended' resets every adapter setting to its default."""
    form = {**form, "model.name": form.get("choice") or without_address(form.get("model.name", ""))}
    if form.get("ui.setup") == "recommended":
        before = {name: before[name] for name in before if name not in {*CUSTOM, *LAYERS, *ADVANCED}}
        own = {f"model.{name}" for name in (*CUSTOM, *LAYERS, *ADVANCED)}
        checks = [name for name in form.get("checks", "").split() if name not in own]
        form = {name: value for name, value in form.items() if name not in own} | {"checks": " ".join(checks)}
    preset = form.get("model.lora_preset")
    unchanged = preset is None or ("lora_preset" not in before and preset == preset_of(before))
    after = read_form_section("model", {k: v for k, v in form.items() if k != "model.lora_preset"}, before)
    # Written even if it is the default: a file with names of layers and no preset means these layers.
    return after if unchanged else {**after, "lora_preset": preset}


def preset_of(model: Values) -> str:
    """The preset of a model section, valid or not, like :attr:`core.config.ModelSection.layers`."""
    given = model.get("lora_preset")
    if given is None:
        return "all" if model.get("target_modules", ALL_LINEAR) == ALL_LINEAR else "custom"
    return str(given)
