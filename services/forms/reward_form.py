"""One's own combination of rewards as a form: what the page shows of each part, and the form read back.

A part has a *slot*, a name for its fields that stays the same while the page is open: the reward's name, or
name and place where the part has a label. So a label can be changed and saved again and again without the
page being loaded anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.config import RewardComponent
from core.rewards import CATALOGUE, Param, RewardInfo
from services.forms.fields import shown

Part = Mapping[str, Any]
_FIELDS = {"requires_at_least": "at-least", "clip_low": "clip-low", "clip_high": "clip-high"}
"""A part's fields and what the form calls them."""
_DEFAULTS = {name: RewardComponent.model_fields[name].default for name in _FIELDS}


@dataclass(frozen=True)
class ParamView:
    """One setting of a reward. ``long`` asks for a field of several lines."""

    name: str
    title: str
    description: str
    value: str
    choices: tuple[tuple[str, str], ...]
    long: bool = False


@dataclass(frozen=True)
class PartView:
    """A reward that can be a part of one's own combination.

    Attributes:
        slot: Names its fields.
        name: The reward.
        label: What the person calls it; empty for the reward's own name.
        gate: Slot of the part that must be passed first; ``at_least`` what that must reach.
        gates: Slots that can be a gate, with their titles.
        changed: Whether label, gate or limits are set, so that their fold is open.
    """

    slot: str
    name: str
    title: str
    description: str
    verifies: bool
    badge: str
    used: bool
    weight: str
    params: tuple[ParamView, ...]
    family: str
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
    """Every reward, those in use with what is set; then the parts that have a label."""
    used = [part for part in components(section) if str(part.get("name")) in CATALOGUE]
    slots = {_key(part): _slot(part, place) for place, part in enumerate(used)}
    titles = {key: part.get("label") or CATALOGUE[part["name"]].title for key, part in zip(slots, used, strict=False)}
    # A part with a gate cannot be one.
    free = {slots[key]: titles[key] for key, part in zip(slots, used, strict=False) if not part.get("requires")}
    plain = {part["name"]: part for part in used if not part.get("label")}
    views = [_view(info, plain.get(name), name, slots, free) for name, info in CATALOGUE.items()]
    return (
        *views,
        *(_view(CATALOGUE[part["name"]], part, slots[_key(part)], slots, free) for part in used if part.get("label")),
    )


def components(section: Part) -> list[Part]:
    """The parts of a section; what a file has in their place is said to be wrong above the form."""
    listed = section.get("components")
    return [part for part in listed if isinstance(part, Mapping)] if isinstance(listed, list | tuple) else []


def _key(part: Part) -> str:
    return str(part.get("label") or part.get("name"))


def _slot(part: Part, place: int) -> str:
    return f"{part['name']}-{place}" if part.get("label") else str(part["name"])


def _view(
    info: RewardInfo, part: Part | None, slot: str, slots: Mapping[str, str], free: Mapping[str, str]
) -> PartView:
    given = part or {}
    values = given.get("params")
    values = values if isinstance(values, Mapping) else {}
    params = tuple(_param(param, values.get(param.name, param.default)) for param in info.params)
    label = str(given.get("label") or "")
    return PartView(
        slot=slot, name=info.name, title=f"{info.title}: {label}" if label else info.title,
        description=info.description, verifies=info.verifies, badge=info.badge, used=part is not None,
        weight=shown(given.get("weight", 1)), params=params, label=label,
        family="Parts with a label" if label else info.family,
        gate=slots.get(str(given.get("requires") or ""), ""),
        gates=tuple((key, title) for key, title in free.items() if key != slot),
        at_least=shown(given.get("requires_at_least", 1)), clip_low=shown(given.get("clip_low", 0)),
        clip_high=shown(given.get("clip_high", 1)),
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
    )


def read_reward(form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """The reward section of a form: a preset, or the parts that are ticked.

    A part's fields are ``use.<slot>``, ``part.<slot>`` (its reward), ``label.<slot>``, ``weight.<slot>``,
    ``gate.<slot>``, ``at-least.<slot>``, ``clip-low.<slot>``, ``clip-high.<slot>`` and ``param.<slot>.<setting>``.
    What the form does not have stays as it was.
    """
    kind = form.get("reward.type", before.get("type", "preset"))
    if kind != "composite":
        return {"type": "preset", "preset_name": form.get("reward.preset_name") or before.get("preset_name") or "math"}
    slots = [path.removeprefix("use.") for path in form if path.startswith("use.")]
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
        elif gate:  # its part is not ticked any more
            part.pop("requires")
    return {"type": "composite", **section, "components": list(found.values())}


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


def once_more(section: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The section with one more part of a reward, under a label of its own."""
    old = components(section)
    known = {_key(part) for part in old}
    number = next(n for n in range(2, len(known) + 3) if f"{name} {n}" not in known)
    return {**section, "components": [*old, {"name": name, "label": f"{name} {number}", "weight": 1}]}


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
