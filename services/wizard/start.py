"""Keeps the draft's model in step with the earlier run that it goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import start
from core.config import adapter_fields
from core.errors import TunesmithError
from core.settings import Home
from core.start import Source
from services.wizard.draft import Draft

CLEARED = "Continuing from a run was turned off, because that run was trained on another base model."


def source_of(draft: Draft, home: Home) -> Source | None:
    """The earlier weights that the draft goes on from; None for none, or if they cannot be used."""
    reference = draft.model.text("continue_from")
    try:
        return start.find(reference, home) if reference else None
    except TunesmithError:  # the review says so
        return None


def continued(config: Mapping[str, Any], session_id: str) -> dict[str, Any]:
    """The configuration of a new run that goes on from a run with this configuration."""
    model = config.get("model") or {}
    kept = {name: model[name] for name in ("name", "revision", "dtype", "load_in_4bit") if model.get(name)}
    if model.get("adapter") == "none":
        kept["adapter"] = "none"
    name = str(config.get("name") or "")[:90]
    return {**config, "name": f"{name} continued", "model": {**kept, "continue_from": session_id}}


def followed(before: Draft, after: Draft, home: Home) -> tuple[dict[str, Any], str]:
    """The section ``model`` after its step was saved, and a message if more changed than was entered.

    A run to continue from brings its base model, and its adapter's settings unless the adapter is merged first.
    Choosing another base model turns it off.

    Args:
        before, after: The draft before and after the step was saved.
        home: Location of runs.
    """
    values, source = dict(after.model.values), source_of(after, home)
    if source is None:
        return values, ""
    chosen = before.model.text("continue_from") != after.model.text("continue_from")
    if values.get("name") != source.base and not chosen:
        for name in ("continue_from", "merge_first"):
            values.pop(name, None)
        return values, CLEARED
    said = ""
    if values.get("name") != source.base or values.get("revision") != source.revision:
        values["name"], said = source.base, f"The base model is now {source.base}, on which that run was trained."
        values.pop("revision", None)
        if source.revision:
            values["revision"] = source.revision
    if source.whole:
        values.pop("merge_first", None)
    elif not values.get("merge_first"):
        for name in ("adapter", *adapter_fields()):
            values.pop(name, None)
    return values, said
