"""Suggested reward, system prompt and markers for the draft's dataset, until the user chooses others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core.data import tasks
from core.errors import TunesmithError
from core.methods import METHODS
from core.rewards import markers_of
from core.rewards.suggest import PROMPT, Suggestion, suggest
from services.datasets.datasets import read_dataset_section
from services.wizard.draft import DatasetDraft, Draft, Suggested
from services.wizard.rows import MAPPING, ROWS, SLOW, DraftRows
from services.wizard.wizard import Wizard

LOOKED_AT = 200
"""Rows that a suggestion is based on; fewer if generating rows takes a moment."""
_ABSENT = object()


def follow_dataset(wizard: Wizard, rows: DraftRows) -> None:
    """Suggest again if the draft's rows have changed since the last suggestion.

    Values that were not suggested count as chosen and stay: prompt and markers together, because a prompt names
    its markers; and the reward.
    """
    draft = wizard.draft()
    key = _key(draft.dataset, rows)
    if draft.suggested.get("of") == key:
        return
    found = _suggestion(draft.dataset, rows)
    after: Suggested = {"of": key}
    if found:
        after |= {"reward": found.reward, "prompt": found.prompt, "reason": found.reason}

    def change(now: Draft) -> dict[str, Any]:
        before, changed = now.suggested, dict[str, Any]()
        if _key(now.dataset, rows) != key:
            return {}  # another tab has since chosen another dataset, with its own suggestions
        if _prompt_is_free(now, before):
            told = {name: value for name, value in now.dataset.values.items() if name not in PROMPT}
            changed["dataset"] = told | dict(after.get("prompt", {}))
        if _reward_is_free(now, before):
            changed["reward"] = after.get("reward")
        return changed | {"ui_dataset": {**now.page("dataset"), "suggested": after}}

    wizard.update(change)


def suggested(draft: Draft, rows: DraftRows) -> Suggestion | None:
    """The suggestion for the draft's dataset; a new one if the draft was loaded."""
    known = draft.suggested
    if "reward" in known and known.get("of") == _key(draft.dataset, rows):
        return Suggestion(dict(known["reward"]), dict(known["prompt"]), known["reason"])
    return _suggestion(draft.dataset, rows)


def use_suggested_reward(wizard: Wizard, rows: DraftRows) -> None:
    """Replace the chosen reward with the suggested one, if there is one."""
    draft = wizard.draft()
    found = suggested(draft, rows)
    if found:
        by = {path: page for path, page in (draft.page("reward").get("by") or {}).items() if "reward." not in path}
        wizard.put(reward=found.reward)
        wizard.remember("reward", by=by)


def _suggestion(dataset: DatasetDraft, rows: DraftRows) -> Suggestion | None:
    """The suggestion for the rows; None if they cannot be read here or have no answers."""
    try:
        markers = markers_of(read_dataset_section(dataset.filled() | {"mix": [], "tasks": [], "source": "none"}))
        if dataset.source == tasks.SOURCE:
            return suggest([{tasks.SOURCE.partition(":")[2].replace("-", "_"): True}], markers)
        found = rows.mapped(dataset, 50 if dataset.kind in SLOW else LOOKED_AT)
    except TunesmithError:
        return None
    answered = [row for row in found if str(row.get("response") or "").strip()]
    return suggest(answered, markers) if answered else None


def _key(dataset: DatasetDraft, rows: DraftRows) -> str:
    """What a suggestion depends on: which rows, how they are read, and whether they are available here."""
    values = [dataset.values.get(name) for name in (*ROWS, *MAPPING)]
    return json.dumps([*values, dataset.remote and rows.look(dataset) is not None], default=str)


def _prompt_is_free(draft: Draft, before: Suggested) -> bool:
    by, values = draft.page("dataset").get("by") or {}, draft.dataset.values
    was: Mapping[str, Any] = before.get("prompt", {})
    return all(f"dataset.{name}" not in by and _value(values, name) == _value(was, name) for name in PROMPT)


def _value(section: Mapping[str, Any], name: str) -> object:
    value = section.get(name)
    return _ABSENT if value is None else value


def _reward_is_free(draft: Draft, before: Suggested) -> bool:
    if any(path.startswith("reward.") for path in draft.page("reward").get("by") or {}):
        return False
    usual = [one.suggest(source, False).get("reward") for one in METHODS for source in ("", "generated:arithmetic")]
    return draft.reward.values in ({}, before.get("reward"), *usual)
