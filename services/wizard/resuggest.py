"""Updates suggestions when the method, the data or the plan changes. Values that the user set are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from core.learning_rate import ModelFacts
from core.methods import Method
from services.forms.fields import Values
from services.wizard.draft import DatasetDraft, Draft, PageMemory, plans, suggest
from services.wizard.steps import STEP

_ABSENT = object()


def switched(draft: Draft, to: Method, *, on_gpu: bool) -> dict[str, Any]:
    """Changes to a draft when its method changes: suggestions become those of the new one.

    Values that a user or a file set stay, and the configuration step's page remembers them, even if the new
    method suggests the same or does not use them, so switching back loses nothing.

    Returns:
        Parts of the draft to save: sections, None for one that is as suggested, and that page's state.
    """
    return _resuggest(draft, draft.dataset.source, to, {}, on_gpu=on_gpu)


def followed(
    draft: Draft,
    source: str,
    data: tuple[int | None, tuple[int, int] | None] | None,
    model: ModelFacts,
    *,
    on_gpu: bool,
) -> dict[str, Any]:
    """The same when the model or the data has changed.

    Args:
        source: The dataset's previous source.
        data: Its rows and the lengths that fit them; None if the draft cannot be read, and the last ones stay.
        model: What the learning rate depends on.
    """
    known: dict[str, Any] = asdict(model)
    if data is not None:
        rows, lengths = data
        answers_only = draft.dataset.values.get("reasoning_start") == ""
        known |= {"rows": rows, "lengths": list(lengths) if lengths else None, "answers_only": answers_only}
    memory = draft.page("configuration")
    if source == draft.dataset.source and all(memory.get(name) == value for name, value in known.items()):
        return {}
    return _resuggest(draft, source, draft.chosen_method, known, on_gpu=on_gpu)


def planned(draft: Draft, key: str, *, on_gpu: bool) -> dict[str, Any]:
    """The same when a plan is chosen: its values replace even those that a user set."""
    memory = {**draft.page("configuration"), "plan": key}
    offered = plans(draft.dataset, draft.chosen_method, cast("PageMemory", memory), on_gpu=on_gpu)
    paths = frozenset(path for plan in offered if plan.key == key for path in plan.values)
    return _resuggest(draft, draft.dataset.source, draft.chosen_method, {"plan": key}, paths, on_gpu=on_gpu)


def _resuggest(
    draft: Draft,
    source: str,
    to: Method,
    known: Mapping[str, Any],
    forced: frozenset[str] = frozenset(),
    *,
    on_gpu: bool,
) -> dict[str, Any]:
    memory = draft.page("configuration")
    then = cast("PageMemory", {**memory, **known})
    # An unsaved section shows the current suggestions for the dataset, a saved one those at the time.
    shown = [
        suggest(dataset, draft.chosen_method, memory, on_gpu=on_gpu)
        for dataset in (DatasetDraft({"source": source}), draft.dataset)
    ]
    after = suggest(draft.dataset, to, then, on_gpu=on_gpu)
    by = {path: page for path, page in (memory.get("by") or {}).items() if path not in forced}
    sections: dict[str, Any] = {}
    for name in STEP["configuration"].sections:
        if draft.chosen_method.uses(name) and to.uses(name):
            old, new = [one.get(name, {}) for one in shown], after.get(name, {})
            by |= {path: "" for path in _set_by_hand(name, draft, old, by) if path not in forced}
            sections[name] = _resuggested(name, draft.sections[name], new, to, by)
            unchanged = draft.sections[name] in old or sections[name] == new
            if unchanged and not any(path.startswith(f"{name}.") for path in by):
                sections[name] = None
    return {**sections, "ui_configuration": {**then, "by": by}}


def _set_by_hand(section: str, draft: Draft, suggested: Sequence[Values], by: Mapping[str, str]) -> list[str]:
    """New paths of a section whose value was not suggested for the draft's method."""
    values, uses = draft.sections[section], draft.chosen_method.uses
    return [
        path
        for name in dict.fromkeys(name for one in (*suggested, values) for name in one)
        if (path := f"{section}.{name}") not in by
        and uses(path)
        and all(values.get(name, _ABSENT) != one.get(name, _ABSENT) for one in suggested)
    ]


def _resuggested(section: str, values: Values, suggested: Values, to: Method, by: Mapping[str, str]) -> dict[str, Any]:
    """A section with a method's suggestions for values that nobody chose; values it does not use stay."""
    names = [name for name in {**suggested, **values} if f"{section}.{name}" not in by and to.uses(f"{section}.{name}")]
    kept = {name: value for name, value in values.items() if name not in names}
    return kept | {name: suggested[name] for name in names if name in suggested}
