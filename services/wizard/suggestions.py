"""Suggested reward, system prompt and markers for the draft's dataset, until the user chooses others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core.data import tasks
from core.errors import TunesmithError
from core.methods import METHODS, Need
from core.rewards import markers_of
from core.rewards.suggest import PROMPT, Suggestion, suggest, unscored
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
    key = _key(draft, rows)
    if draft.suggested.get("of") == key:
        return
    found = _suggestion(draft, rows)
    after: Suggested = {"of": key}
    if found:
        after |= {"reward": found.reward, "prompt": found.prompt, "reason": found.reason}

    def change(now: Draft) -> dict[str, Any]:
        before, changed = now.suggested, dict[str, Any]()
        if _key(now, rows) != key:
            return {}  # another tab has since chosen another dataset, with its own suggestions
        if _prompt_is_free(now, before):
            told = {name: value for name, value in now.dataset.values.items() if name not in PROMPT}
            changed["dataset"] = told | dict(after.get("prompt", {}))
        if _reward_is_free(now, before):
            changed["reward"] = after.get("reward") or None
        return changed | {"ui_dataset": {**now.page("dataset"), "suggested": after}}

    wizard.update(change)


def suggested(draft: Draft, rows: DraftRows) -> Suggestion | None:
    """The suggestion for the draft's dataset; a new one if the draft was loaded."""
    known = draft.suggested
    if known.get("reward") and known.get("of") == _key(draft, rows):
        return Suggestion(dict(known["reward"]), dict(known["prompt"]), known["reason"])
    found = _suggestion(draft, rows)
    return found if found and found.reward else None


def use_suggested_reward(wizard: Wizard, rows: DraftRows) -> None:
    """Replace the chosen reward with the suggested one, if there is one."""
    draft = wizard.draft()
    found = suggested(draft, rows)
    if found:
        by = {path: page for path, page in (draft.page("reward").get("by") or {}).items() if "reward." not in path}
        wizard.put(reward=found.reward)
        wizard.remember("reward", by=by)


def _suggestion(draft: Draft, rows: DraftRows) -> Suggestion | None:
    """The suggestion for the rows and the method; None if the rows cannot be read here or have no answers, and the
    method needs to know them.
    """
    found, chosen = _of_rows(draft, rows), draft.chosen_method
    if chosen.prefers or (_preferences(draft.dataset) and not _scores(draft)):
        return unscored(found)
    return found


def _of_rows(draft: Draft, rows: DraftRows) -> Suggestion | None:
    dataset, scored = draft.dataset, _scores(draft)
    try:
        markers = markers_of(read_dataset_section(dataset.filled() | {"mix": [], "tasks": [], "source": "none"}))
        if dataset.source == tasks.SOURCE:
            return suggest([{tasks.SOURCE.partition(":")[2].replace("-", "_"): True}], markers)
        found = rows.mapped(dataset, 50 if dataset.kind in SLOW else LOOKED_AT)
    except TunesmithError:
        return None
    answered = [row for row in found if str(row.get("response") or "").strip()]
    return suggest(answered, markers, scored=scored) if answered else None


def _scores(draft: Draft) -> bool:
    return Need.REWARD in draft.chosen_method.needs


def _preferences(dataset: DatasetDraft) -> bool:
    return bool(dataset.text("rejected_field") or dataset.text("label_field"))


def _key(draft: Draft, rows: DraftRows) -> str:
    """What a suggestion depends on: which rows, how they are read, whether they are available here, and how the method
    learns from them.
    """
    dataset = draft.dataset
    values = [dataset.values.get(name) for name in (*ROWS, *MAPPING)]
    learns = "" if _scores(draft) else "pairs" if draft.chosen_method.prefers else "examples"
    return json.dumps([*values, dataset.remote and rows.look(dataset) is not None, learns], default=str)


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
