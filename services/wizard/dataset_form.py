"""Converts the dataset step's form into the configuration: exercises, mixes, a dataset with its mapping."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from core.config import DEFAULT_SYSTEM_PROMPT, MixSource
from core.data import made_pairs, tasks
from core.data.arithmetic import SOURCE as SUMS
from core.data.known_datasets import CATALOGUE
from core.errors import TunesmithError
from services.datasets.library import MAPPED, Library
from services.forms.fields import read_form_section, read_model, read_names
from services.wizard.draft import MixEntry, TaskEntry

FOREIGN = {
    "upload": ("size", "max_operand", "subset"),
    "hub": ("size", "max_operand"),
    "generated": ("subset",),
    "preferences": ("subset",),
    "tasks": ("subset", "max_operand"),
}
"""Fields that do not apply to a kind of source; values entered for another kind are dropped."""
LEVELS = tuple(range(tasks.LEVELS))
NO_PROMPT = "no-default-prompt"
"""Sent by a page whose method has no system prompt unless one is set."""
PART = "mix-part"
"""Prefix of the fields of a mixture's sources."""


def source_of(kind: str, form: Mapping[str, str]) -> str:
    """The source selected by the form's kind and fields."""
    fixed = {
        "generated": SUMS,
        "preferences": made_pairs.SOURCE,
        "tasks": tasks.SOURCE,
        "mix": "mix",
        "hub": form.get("ui.hub", "").strip(),
    }
    return fixed.get(kind, form.get("upload", ""))


def ready_mapping(library: Library, source: str) -> dict[str, Any]:
    """The mapping that comes with a source: a dataset's own, a popular one's, or the default."""
    plain: dict[str, Any] = {
        "instruction_field": "question",
        "response_field": "answer",
        "chosen_field": "",
        "rejected_field": "",
        "winner_field": "",
        "label_field": "",
        "instruction_template": None,
        "extraction": "none",
        "extraction_pattern": "",
        "columns": {},
        "text_field": None,
    }
    if source.startswith("upload:"):
        info = library.info(source.removeprefix("upload:"))
        return plain | {key: value for key, value in library.mapping(info).items() if key in MAPPED}
    if source == made_pairs.SOURCE:
        # The better answer is also the answer, for methods that learn from examples.
        return plain | made_pairs.COLUMNS | {"response_field": made_pairs.COLUMNS["chosen_field"]}
    known = next((known for known in CATALOGUE if known.path == source), None)
    return plain | (known.mapping if known else {})


def read(library: Library, form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """The dataset section from the step's form; ``before`` is the one that its page was rendered from.

    A new source brings its own columns. Exercises and mixture are as in the form, and dropped for other sources.
    """
    kind = form.get("ui.kind", "upload")
    named = source_of(kind, form)
    form, section = {**form, "dataset.source": named}, dict(before)
    if named and named != before.get("source"):
        form, section = _mapped(library, form, section, named)
    told = form.pop("dataset.system_prompt", None)
    section = read_form_section("dataset", form, section)
    if told is not None:
        section = _told(told, section, "" if NO_PROMPT in form else DEFAULT_SYSTEM_PROMPT)
    if section.get("chosen_field") and "dataset.chosen_field" in form and "dataset.response_field" not in form:
        section["response_field"] = section["chosen_field"]  # for a method that learns only the better answers
    changed = {"tasks": _tasks(form) if kind == "tasks" else [], "mix": _mix(library, form) if kind == "mix" else []}
    if kind == "tasks" and "tasks-shown" not in form:
        changed["tasks"] = list(section.get("tasks") or ())
    for name, value in changed.items():
        if value or name in section:
            section[name] = value
    foreign = FOREIGN.get(kind, ())
    return {name: value for name, value in section.items() if (name not in changed or value) and name not in foreign}


def _told(text: str, section: dict[str, Any], default: str) -> dict[str, Any]:
    """The section with the system prompt as shown on its page: the default in full, an empty field for none."""
    text = text.replace("\r\n", "\n")
    if text == default and section.get("system_prompt") is None:
        return section
    return section | {"system_prompt": text if text.strip() else ""}


def _mapped(
    library: Library, form: dict[str, str], section: dict[str, Any], source: str
) -> tuple[dict[str, str], dict[str, Any]]:
    """Form and section with the columns that come with a new source."""
    try:
        mapping = ready_mapping(library, source)
    except TunesmithError:
        return form, section  # deleted in the meantime; the page says so
    form.pop("dataset.columns", None)  # it belongs to the previous source
    form |= {f"dataset.{name}": value or "" for name, value in mapping.items() if name != "columns"}
    section = {name: value for name, value in section.items() if name != "columns"}
    return form, section | ({"columns": mapping["columns"]} if mapping["columns"] else {})


def _tasks(form: Mapping[str, str]) -> list[TaskEntry]:
    found = []
    for key in form:
        if key.startswith("task."):
            name = key.removeprefix("task.")
            task: TaskEntry = {"name": name, "weight": _weight(form.get(f"weight.{name}", "1"))}
            level = form.get(f"difficulty.{name}", "")
            if level in map(str, LEVELS):
                task["difficulty"] = int(level)
            found.append(task)
    return found


def _mix(library: Library, form: Mapping[str, str]) -> list[MixEntry]:
    parts: list[MixEntry] = []
    for key, text in form.items():
        if key.startswith("mix.") and text.strip():
            source = key.removeprefix("mix.")
            part = {"source": source, **_needed(library, source), "weight": _weight(text)}
            parts.append(cast("MixEntry", part))
    return parts + _parts(library, form)


def _parts(library: Library, form: Mapping[str, str]) -> list[MixEntry]:
    """The sources with their own fields. Each brings its state when the page was rendered, so that a field which
    the page does not show is kept, and an autosaved half-typed name leaves nothing behind.
    """
    parts: list[MixEntry] = []
    for key in form:
        if key.startswith(f"{PART}.") and key.endswith(".was"):
            before = _object(form[key])
            path = key.removesuffix(".was")
            part = _task_part(path, form, before) if f"{path}.tasks" in form else _hub_part(library, path, form, before)
            if part.get("source") and (part["source"] != tasks.SOURCE or part["tasks"]):
                parts.append(cast("MixEntry", part))
    return parts


def _hub_part(library: Library, path: str, form: Mapping[str, str], before: dict[str, Any]) -> dict[str, Any]:
    part = read_model(MixSource, path, form, before)
    if part.get("source") == before.get("source") or not part.get("source"):
        return part
    ready = {} if on_this_machine(part["source"]) else _needed(library, part["source"])
    return ready | {name: value for name, value in part.items() if value != before.get(name)}


def _needed(library: Library, source: str) -> dict[str, Any]:
    """The mapping that comes with a source, limited to what a part of a mixture needs."""
    return {
        name: value
        for name, value in ready_mapping(library, source).items()
        if name in MixSource.model_fields and value not in (None, "", {}, "none")
    }


def _task_part(path: str, form: Mapping[str, str], before: dict[str, Any]) -> dict[str, Any]:
    kept = {task.get("name"): task for task in before.get("tasks") or ()}
    chosen = []
    for name, level in read_names(form[f"{path}.tasks"]).items():
        task = {key: value for key, value in kept.get(name, {"name": name}).items() if key != "difficulty"}
        chosen.append(task if level == name else task | {"difficulty": int(level) if level.isdecimal() else level})
    rest = {name: value for name, value in form.items() if name != f"{path}.tasks"}
    return read_model(MixSource, path, rest, before) | {"source": tasks.SOURCE, "tasks": chosen}


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def on_this_machine(source: str) -> bool:
    """Whether a mixture's source has its own line on the page, without fields."""
    return source in {SUMS, made_pairs.SOURCE} or source.startswith("upload:")


def _weight(text: str) -> float | str:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return text  # reported next to the field
