"""A custom reward as a form: the view of each component, and parsing of the form.

A component has a *slot*, a stable prefix of its field names while the page is open: the reward's name, or name and
index if the component has a label. So a label can be changed and saved repeatedly without reloading the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.config import RewardComponent
from core.rewards import CATALOGUE, PRESETS, Param, RewardInfo
from services.forms.fields import shown

Part = Mapping[str, Any]
_FIELDS = {"requires_at_least": "at-least", "clip_low": "clip-low", "clip_high": "clip-high"}
"""A part's fields and their names in the form."""
_DEFAULTS = {name: RewardComponent.model_fields[name].default for name in _FIELDS}


@dataclass(frozen=True)
class ParamView:
    """One setting of a reward. ``long`` is for a field with several lines, ``suggests`` names what the page offers."""

    name: str
    title: str
    description: str
    value: str
    choices: tuple[tuple[str, str], ...]
    long: bool = False
    suggests: str = ""

    @property
    def shown(self) -> str:
        """The value in words."""
        return dict(self.choices).get(self.value, self.value) or "not set"


@dataclass(frozen=True)
class PartView:
    """A component of a custom reward, with its fields.

    Attributes:
        slot: Prefix of its fields.
        name: The reward.
        label: The user's name for it; empty for the reward's title.
        gate: Slot of the component that must pass first; ``at_least`` is its minimum.
        gates: Slots that can be a gate, with their titles.
        changed: Whether label, gate or limits are set, so that their group is open.
        settings: The settings' values in one line, while collapsed.
        open: Whether the settings start expanded: one of them is long or required.
    """

    slot: str
    name: str
    title: str
    description: str
    verifies: bool
    badge: str
    weight: str
    params: tuple[ParamView, ...]
    settings: str
    open: bool
    label: str = ""
    gate: str = ""
    gates: tuple[tuple[str, str], ...] = ()
    at_least: str = "1"
    clip_low: str = "0"
    clip_high: str = "1"

    @property
    def changed(self) -> bool:
        return bool(self.label or self.gate) or (self.clip_low, self.clip_high) != ("0", "1")


def parts(section: Part) -> tuple[PartView, ...]:
    """The components in use, in order, with their values."""
    used = [part for part in components(section) if str(part.get("name")) in CATALOGUE]
    slots = {_key(part): _slot(part, place) for place, part in enumerate(used)}
    titles = {key: part.get("label") or CATALOGUE[part["name"]].title for key, part in zip(slots, used, strict=False)}
    # A component with a gate cannot be a gate.
    free = {slots[key]: titles[key] for key, part in zip(slots, used, strict=False) if not part.get("requires")}
    return tuple(_view(CATALOGUE[part["name"]], part, slots[_key(part)], slots, free) for part in used)


def shown_components(section: Part, remembered: object) -> Part:
    """The section with the page's components: its own, or those from before a preset was chosen."""
    return section if section.get("type") == "composite" else {"components": _read_components(remembered)}


def components(section: Part) -> list[Part]:
    """The parts of a section; invalid ones in a file are reported above the form."""
    listed = section.get("components")
    return [part for part in listed if isinstance(part, Mapping)] if isinstance(listed, list | tuple) else []


def _key(part: Part) -> str:
    return str(part.get("label") or part.get("name"))


def _slot(part: Part, place: int) -> str:
    return f"{part['name']}-{place}" if part.get("label") else str(part["name"])


def _view(info: RewardInfo, part: Part, slot: str, slots: Mapping[str, str], free: Mapping[str, str]) -> PartView:
    values = part.get("params")
    values = values if isinstance(values, Mapping) else {}
    params = tuple(_param(param, values.get(param.name, param.default)) for param in info.params)
    label = str(part.get("label") or "")
    return PartView(
        slot=slot, name=info.name, title=label or info.title, description=info.description, verifies=info.verifies,
        badge=info.badge, weight=shown(part.get("weight", 1)), params=params, label=label,
        settings=" · ".join(f"{param.title}: {param.shown}" for param in params if not param.long),
        open=any(param.long for param in params) or any(param.required for param in info.params),
        gate=slots.get(str(part.get("requires") or ""), ""),
        gates=tuple((key, title) for key, title in free.items() if key != slot),
        at_least=shown(part.get("requires_at_least", 1)), clip_low=shown(part.get("clip_low", 0)),
        clip_high=shown(part.get("clip_high", 1)),
    )  # fmt: skip


def _param(param: Param, value: Any) -> ParamView:
    yes_no = param.type == "boolean"
    return ParamView(
        param.name,
        param.title,
        param.description,
        str(value).lower() if yes_no else shown(value),
        (("true", "Yes"), ("false", "No")) if yes_no else param.choices,
        param.type == "text" and (param.maximum or 0) > 500,
        param.suggests,
    )


def read_reward(form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """The reward section from a form: a preset, or its components.

    A component's fields are ``use.<slot>``, ``part.<slot>`` (its reward), ``label.<slot>``, ``weight.<slot>``,
    ``gate.<slot>``, ``at-least.<slot>``, ``clip-low.<slot>``, ``clip-high.<slot>`` and ``param.<slot>.<setting>``.
    Missing fields stay unchanged. Its buttons are ``add-component``, which adds the reward in ``component``, and
    ``remove-<slot>``.

    Custom components that were replaced by a preset come back with ``ui.components``; if there were none, the
    preset's are the start.
    """
    kind, action = form.get("reward.type", before.get("type", "preset")), form.get("action", "")
    if kind != "composite":
        return {"type": "preset", "preset_name": form.get("reward.preset_name") or before.get("preset_name") or "math"}
    used = (path.removeprefix("use.") for path in form if path.startswith("use."))
    slots = [slot for slot in used if action != f"remove-{slot}"]
    if before.get("type") != "composite" and not slots:
        listed = _read_components(form.get("ui.components")) or _of_preset(str(before.get("preset_name") or ""))
        return _with_added({"type": "composite", "components": listed}, form)
    old = components(before)
    kept = {_key(part): part for part in old} | {_slot(part, n): part for n, part in enumerate(old)}
    section = {name: before[name] for name in ("clip_low", "clip_high", "saved_as") if before.get(name) is not None}
    for name in ("clip_low", "clip_high"):
        if (path := f"reward.{name}") in form:
            section.pop(name, None)
            section |= {name: _value(form[path].strip())} if form[path].strip() else {}
    if form.get("reward.normalise"):
        section["normalise"] = True
    found = {slot: _component(slot, form, kept.get(slot) or {}) for slot in slots}
    for slot, part in found.items():
        gate = form.get(f"gate.{slot}")
        if gate in found:
            part["requires"] = _key(found[gate])
        elif gate:  # its component was removed
            part.pop("requires")
    return _with_added({"type": "composite", **section, "components": list(found.values())}, form)


def remembering(form: Mapping[str, str], before: Mapping[str, Any]) -> Mapping[str, str]:
    """The form with its current components in ``ui.components``."""
    if not any(path.startswith("use.") for path in form):
        return form
    custom = read_reward({**form, "reward.type": "composite"}, before)
    return {**form, "ui.components": json.dumps(custom["components"])}


def _read_components(text: object) -> list[Part]:
    """Components that a page sent back as JSON; invalid ones are left out."""
    try:
        found = json.loads(str(text or "[]"))
    except (ValueError, RecursionError):
        return []
    return [part for part in components({"components": found}) if str(part.get("name")) in CATALOGUE]


def _of_preset(name: str) -> list[dict[str, Any]]:
    chosen = PRESETS.get(name)
    return [part.model_dump(mode="json", exclude_defaults=True) for part in chosen.components] if chosen else []


def _with_added(section: dict[str, Any], form: Mapping[str, str]) -> dict[str, Any]:
    """The section with the added component; a second one of the same reward gets a label."""
    name = form.get("component", "")
    if form.get("action") != "add-component" or name not in CATALOGUE:
        return section
    known = {_key(part) for part in section["components"]}
    title, numbers = CATALOGUE[name].title, range(2, len(known) + 3)
    label = next(f"{title} {n}" for n in numbers if f"{title} {n}" not in known) if name in known else ""
    added = {"name": name, **({"label": label[:60]} if label else {}), "weight": 1}
    return {**section, "components": [*section["components"], added]}


def _component(slot: str, form: Mapping[str, str], before: Part) -> dict[str, Any]:
    prefix, name = f"param.{slot}.", form.get(f"part.{slot}") or str(before.get("name") or slot)
    text = {param.name for param in CATALOGUE[name].params if param.type == "text"} if name in CATALOGUE else set()
    params = {
        field: value.replace("\r\n", "\n") if field in text else _value(value)
        for field, value in (
            (path.removeprefix(prefix), value) for path, value in form.items() if path.startswith(prefix)
        )
    }
    part = {**before, "name": name, "weight": _value(form.get(f"weight.{slot}", "1"))}
    for field, path, read in (("label", f"label.{slot}", str.strip), ("requires", f"gate.{slot}", str)):
        if path in form:
            part.pop(field, None)
            part |= {field: read(form[path])} if form[path].strip() else {}
    for field, of in _FIELDS.items():
        if (value := form.get(f"{of}.{slot}")) is not None:
            part |= {field: _value(value.strip())}
            if part[field] in ("", _DEFAULTS[field]):
                part.pop(field)
    return part | ({"params": params} if params else {})


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
