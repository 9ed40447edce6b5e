"""The settings that a run was started with, in words, and how they differ from the defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.methods import Method, method_of
from services.container import Services
from services.forms.fields import form_field, section_model
from services.forms.labels import dataset_title, model_title, reward_title

TITLES = {
    "model": "Model and adapter",
    "dataset": "Dataset",
    "training": "Training",
    "pre_training": "Warm-up",
    "evaluation": "Evaluation",
}
"""The sections that methods share, in order; the method's own section follows the training section."""


@dataclass(frozen=True)
class SettingLine:
    """One setting; ``default`` is its default value if the run has another one, else ''."""

    title: str
    value: str
    changed: bool
    default: str


@dataclass(frozen=True)
class SettingGroup:
    """A group of settings: those that were changed, and those at their default."""

    title: str
    changed: tuple[SettingLine, ...]
    plain: tuple[SettingLine, ...]


@dataclass(frozen=True)
class RunSettings:
    """The settings tab. ``text`` is the configuration as JSON."""

    method: str
    groups: tuple[SettingGroup, ...]
    reward: str
    text: str
    download: str


def run_settings(services: Services, session_id: str, config: Mapping[str, Any]) -> RunSettings:
    """A configuration in words. Damaged sections are left out; the JSON shows them."""
    method = method_of(config)
    home = services.settings.home
    names = {
        "model.name": lambda value: model_title(str(value)),
        "dataset.source": lambda value: dataset_title(str(value), home),
    }
    groups = [_group(title, section, config, method, names) for section, title in _sections(method)]
    reward = config.get("reward")
    return RunSettings(
        method=f"{method.title} ({method.term})",
        groups=tuple(group for group in groups if group.changed or group.plain),
        reward=reward_title(reward) if isinstance(reward, dict) and method.uses("reward") else "",
        text=json.dumps(config, indent=2, ensure_ascii=False),
        download=f"/runs/{session_id}/config.json",
    )


def _sections(method: Method) -> Iterator[tuple[str, str]]:
    for section, title in TITLES.items():
        if method.uses(section):
            yield section, title
        if section == "training":
            yield method.section_name, method.section_title


def _group(
    title: str, section: str, config: Mapping[str, Any], method: Method, names: Mapping[str, Any]
) -> SettingGroup:
    values = config.get(section)
    lines = list(_lines(section, values, method, names)) if isinstance(values, dict) else []
    return SettingGroup(
        title, tuple(line for line in lines if line.changed), tuple(line for line in lines if not line.changed)
    )


def _lines(section: str, values: Mapping[str, Any], method: Method, names: Mapping[str, Any]) -> Iterator[SettingLine]:
    for name, info in section_model(section).model_fields.items():
        path = f"{section}.{name}"
        if name not in values or not method.uses(path):
            continue
        default = info.get_default(call_default_factory=True)
        changed = _plain(values[name]) != _plain(default)
        shown = names[path](values[name]) if path in names else _shown(section, name, values)
        usual = "" if info.is_required() or not changed else _shown(section, name, {name: default})
        yield SettingLine(info.title or name, shown, changed, usual)


def _shown(section: str, name: str, values: Mapping[str, Any]) -> str:
    """A value as the settings form shows it."""
    value = values[name]
    if isinstance(value, list | tuple) and any(isinstance(one, dict) for one in value):
        # Mixed sources and generated tasks: their names are enough here, the JSON has the details.
        return ", ".join(str(one.get("source") or one.get("name")) for one in value if isinstance(one, dict))
    field = form_field(section, name, values, {})
    if field.kind == "check":
        return "On" if field.value else "Off"
    return dict(field.choices).get(str(field.value), str(field.value)) or "Not set"


def _plain(value: Any) -> Any:
    """A value from JSON or a default in a form that compares equal: lists for tuples."""
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
