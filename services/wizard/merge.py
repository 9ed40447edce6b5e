"""Merges concurrent changes to one draft: a form changes only what differs from the state its page was made from.

A page contains that state (``was``). Changes that were made elsewhere in the meantime are kept; conflicting changes are
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
"""Fields on which others of their section depend: another dataset has other columns."""
APART: dict[str, frozenset[str]] = {
    "model": frozenset(
        {"lora_rank", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "load_in_4bit", "dtype"}
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
        sections: As they are to be saved.
        mine: Paths that take the form's value.
        elsewhere: Paths that were changed elsewhere and that the form left alone.
        refused: Paths that both changed; they keep the other value.
    """

    sections: dict[str, Any]
    mine: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def merge(was: Sections, mine: Sections, now: Sections, own: Callable[[str], bool] = lambda _: False) -> Merged:
    """Three-way: the form's changes on top of what is there now.

    Args:
        was: What the page was made from; sections are objects, or single values such as the name.
        mine: The same with the form's values.
        now: What is there now.
        own: Whether the value of a path that is there now came from this very page.
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
    """A section's fields by path; a single value by its own name."""
    if isinstance(section, Mapping):
        return {f"{name}.{field}": value for field, value in section.items()}
    return {} if section is None else {name: section}


def read_was(text: str) -> dict[str, Any]:
    """What a form says of its page's beginning; empty if it says nothing that can be read."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def page_state(draft: Draft, step: str) -> str:
    """What a page of a step was made from, as JSON for its form to bring back."""
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
    """A short hash of what the other steps hold: another one means that they were changed."""
    rest = {name: draft.part(name) for name in ("method", *SECTIONS) if name not in STEP[step].sections}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, default=str).encode()).hexdigest()[:16]
