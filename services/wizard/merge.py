"""Merges concurrent changes to one draft: a form changes only what differs from the state its page was rendered from.

A page contains that state (``was``). Concurrent changes made elsewhere are kept; conflicting ones are
rejected with a message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.config import SECTIONS
from services.wizard.draft import Draft
from services.wizard.steps import STEP

ANCHORS: dict[str, tuple[str, ...]] = {"model": ("name",), "dataset": ("source",), "reward": ("type", "preset_name")}
"""Fields that others in their section depend on: another dataset has other columns."""
APART: dict[str, frozenset[str]] = {
    "model": frozenset(
        {
            "adapter", "lora_rank", "lora_alpha", "lora_dropout", "lora_preset", "target_modules", "use_rslora",
            "use_dora", "load_in_4bit", "dtype",
        }
    ),
    "dataset": frozenset(
        {
            "system_prompt", "chat_template", "reasoning_start", "reasoning_end", "solution_start", "solution_end",
            "deduplicate", "drop_unparseable", "drop_personal", "drop_overlap", "seed",
        }
    ),
}  # fmt: skip
"""Fields that do not depend on their section's anchor."""
_ABSENT = object()
Sections = Mapping[str, Any]


@dataclass(frozen=True)
class Merged:
    """Result of a merge.

    Attributes:
        sections: Sections to save.
        mine: Paths with the form's value.
        elsewhere: Paths that were changed elsewhere and not in the form.
        refused: Paths that both changed; they keep the stored value.
    """

    sections: dict[str, Any]
    mine: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def merge(was: Sections, mine: Sections, now: Sections, own: Callable[[str], bool] = lambda _: False) -> Merged:
    """Three-way merge: the form's changes on top of the current state.

    Args:
        was: The state the page was rendered from; sections are objects, or single values such as the name.
        mine: The same with the form's values.
        now: The current state.
        own: Whether a path's current value came from this very page.
    """
    sections: dict[str, Any] = {}
    lists: dict[str, list[str]] = {"mine": [], "elsewhere": [], "refused": []}
    for name, value in mine.items():
        fields = [_fields(name, side.get(name)) for side in (was, mine, now)]
        kept = dict(fields[2])
        for path in dict.fromkeys(path for side in fields for path in side):
            before, wanted, there = (side.get(path, _ABSENT) for side in fields)
            place = _place(name, path, before, wanted, there, _moved(name, fields[0], fields[2]), own)
            if place:
                lists[place].append(path)
            if place == "mine":
                kept.pop(path, None)
                kept |= {} if wanted is _ABSENT else {path: wanted}
        sections[name] = (
            {path.partition(".")[2]: value for path, value in kept.items()}
            if isinstance(value, Mapping)
            else kept.get(name, value)
        )
    return Merged(sections, *(tuple(lists[name]) for name in ("mine", "elsewhere", "refused")))


def _place(
    section: str, path: str, before: Any, wanted: Any, there: Any, moved: bool, own: Callable[[str], bool]
) -> str:
    if wanted == before:
        return "elsewhere" if there != before else ""
    if there == wanted:
        return ""
    depends = moved and path.partition(".")[2] not in APART.get(section, frozenset())
    return "refused" if (there != before or depends) and not own(path) else "mine"


def _moved(section: str, was: Sections, now: Sections) -> bool:
    return any(was.get(f"{section}.{name}") != now.get(f"{section}.{name}") for name in ANCHORS.get(section, ()))


def _fields(name: str, section: Any) -> dict[str, Any]:
    """A section's fields by path; a single value by its name."""
    if isinstance(section, Mapping):
        return {f"{name}.{field}": value for field, value in section.items()}
    return {} if section is None else {name: section}


def read_was(text: str) -> dict[str, Any]:
    """The state a form's page was rendered from; empty if missing or unreadable."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def page_state(draft: Draft, step: str) -> str:
    """The state a step's page is rendered from, as JSON for its form to send back."""
    memory, dataset = draft.page(step), draft.dataset
    shown = {
        "model": {"setup": memory.get("setup", "recommended")},
        "dataset": {
            "kind": memory.get("kind") or dataset.kind,
            "hub": dataset.source if dataset.kind == "hub" else "",
        },
    }
    sections = {name: draft.part(name) for name in STEP[step].sections}
    state = {"sections": sections, "ui": shown.get(step, {}), "others": others(draft, step)}
    return json.dumps(state, sort_keys=True, default=str)


def others(draft: Draft, step: str) -> str:
    """A short hash of the other steps' state, to detect changes."""
    rest = {name: draft.part(name) for name in ("method", *SECTIONS) if name not in STEP[step].sections}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, default=str).encode()).hexdigest()[:16]
