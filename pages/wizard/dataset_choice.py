"""What step 2's own controls mean for the configuration: exercises, mixtures, well-known datasets, templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.config import MixSource
from core.data import tasks
from core.data.arithmetic import SOURCE as SUMS
from core.data.known_datasets import CATALOGUE
from core.errors import InvalidInput, TunesmithError
from pages.wizard.views import Choices, MixLine, MixPart, TaskLine
from services.container import Services
from services.datasets.library import MAPPED, TEMPLATE_FIELDS
from services.forms.fields import model_field, read_model, read_names, read_section
from services.wizard.wizard import SUMS_PROMPT
from services.words import file_facts

TASK_REWARD = {"type": "preset", "preset_name": "reasoning_gym"}
FOREIGN = {
    "upload": ("size", "max_operand", "subset"),
    "hub": ("size", "max_operand"),
    "generated": ("subset",),
    "tasks": ("subset", "max_operand"),
}
"""Fields that mean nothing for a kind of source: what was entered for another kind is not kept."""
LEVELS = tuple(range(tasks.LEVELS))
PART = "mix-part"
HUB_PART = ("source", "subset", "split", "instruction_field", "response_field", "weight")
TASK_PART = ("tasks", "size", "weight")


def choices(services: Services, section: Mapping[str, Any], kind: str) -> Choices:
    """The exercises are asked for where they are shown: the first time takes some seconds."""
    lines, problem = _task_lines(services, section) if kind == "tasks" else ((), "")
    weights = {part.get("source"): _shown(part.get("weight", 1.0)) for part in section.get("mix") or ()}
    mix = [
        MixLine(f"upload:{info.id}", info.name, file_facts(info), weights.get(f"upload:{info.id}", ""))
        for info in services.datasets.list()
    ]
    mix.append(MixLine(SUMS, "Sums made on the spot", "", weights.get(SUMS, "")))
    categories = dict.fromkeys(known.category for known in CATALOGUE)
    return Choices(
        tasks=lines,
        tasks_problem=problem,
        mix=tuple(mix),
        parts=_part_views(section),
        known=tuple((one, tuple(known for known in CATALOGUE if known.category == one)) for one in categories),
        templates=tuple(sorted(services.library.templates())),
    )


def _task_lines(
    services: Services, section: Mapping[str, Any]
) -> tuple[tuple[tuple[str, tuple[TaskLine, ...]], ...], str]:
    try:
        known = services.library.tasks()
    except InvalidInput as error:
        return (), error.message
    chosen = {task.get("name"): task for task in section.get("tasks") or ()}
    groups: dict[str, list[TaskLine]] = {}
    for task in known:
        mine = chosen.get(task["name"], {})
        difficulty = mine.get("difficulty")
        groups.setdefault(task["category"], []).append(
            TaskLine(
                task["name"], task["title"], task["name"] in chosen, _shown(mine.get("weight", 1.0)),
                "" if difficulty is None else str(difficulty), task["levels"],
            )
        )  # fmt: skip
    return tuple((category, tuple(lines)) for category, lines in groups.items()), ""


def _part_views(section: Mapping[str, Any]) -> tuple[MixPart, ...]:
    """The mixture's sources that are no dataset of this machine, and an empty one of each kind to add."""
    parts = [part for part in section.get("mix") or () if not _at_hand(str(part.get("source") or ""))]
    return tuple(
        _part_view(f"{PART}.{place}", part) for place, part in enumerate([*parts, {}, {"source": tasks.SOURCE}])
    )


def _at_hand(source: str) -> bool:
    return source == SUMS or source.startswith("upload:")


def _part_view(path: str, part: dict[str, Any]) -> MixPart:
    made = part.get("source") == tasks.SOURCE
    title = "Exercises made on the spot" if made else "A dataset of the Hub"
    values = _task_names(part.get("tasks") or ()) if made else str(part.get("source") or "")
    fields = {name: model_field(MixSource, f"{path}.{name}", part, {}) for name in (TASK_PART if made else HUB_PART)}
    if made:
        fields["tasks"] = replace(
            fields["tasks"],
            value=values,
            placeholder="chain_sum = 2, spell_backward",
            description="Names with commas between, '= 2' for a difficulty from 0 to 5. Empty takes no part.",
        )
    else:
        fields["source"] = replace(
            fields["source"],
            title="Name on the Hub",
            placeholder="openai/gsm8k",
            description="Owner and name. Empty takes no part. A well-known one brings its own columns.",
        )
    title = title if values else f"Add {title[0].lower()}{title[1:]}"
    return MixPart(path, title, values, json.dumps(part), tuple(fields.values()))


def _task_names(chosen: Any) -> str:
    levels = [(task.get("name", ""), task.get("difficulty")) for task in chosen]
    return ", ".join(name if level is None else f"{name} = {level}" for name, level in levels)


def source_of(kind: str, form: Mapping[str, str]) -> str:
    """The source that the chosen way and its fields name."""
    fixed = {"generated": SUMS, "tasks": tasks.SOURCE, "mix": "mix", "hub": form.get("ui.hub", "").strip()}
    return fixed.get(kind, form.get("upload", ""))


def ready_mapping(services: Services, source: str) -> dict[str, Any]:
    """The mapping that comes with a source: a dataset's own, a well-known one's, or the plain one."""
    plain: dict[str, Any] = {
        "instruction_field": "question",
        "response_field": "answer",
        "instruction_template": None,
        "extraction": "none",
        "extraction_pattern": "",
        "columns": {},
    }
    if source.startswith("upload:"):
        info = services.library.info(source.removeprefix("upload:"))
        return plain | {key: value for key, value in services.library.mapping(info).items() if key in MAPPED}
    known = next((known for known in CATALOGUE if known.path == source), None)
    return plain | (known.mapping if known else {})


def read(services: Services, form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """The dataset section that the step's form asks for; ``before`` is the one that its page was made from.

    Another source brings its own columns. Exercises and mixture are as the form has them, gone where they are not
    meant.
    """
    kind = form.get("ui.kind", "upload")
    named = source_of(kind, form)
    form, section = {**form, "dataset.source": named}, dict(before)
    if named and named != before.get("source"):
        form, section = _mapped(services, form, section, named)
    section = read_section("dataset", form, section)
    changed = {"tasks": _tasks(form) if kind == "tasks" else [], "mix": _mix(services, form) if kind == "mix" else []}
    if kind == "tasks" and "tasks-shown" not in form:
        changed["tasks"] = list(section.get("tasks") or ())
    for name, value in changed.items():
        if value or name in section:
            section[name] = value
    foreign = FOREIGN.get(kind, ())
    return {name: value for name, value in section.items() if (name not in changed or value) and name not in foreign}


def _mapped(
    services: Services, form: dict[str, str], section: dict[str, Any], source: str
) -> tuple[dict[str, str], dict[str, Any]]:
    """Form and section with the columns that come with a new source, and the short prompt for sums."""
    told = form.get("dataset.system_prompt", "").replace("\r\n", "\n")
    if source.startswith("generated:"):
        form["dataset.system_prompt"] = told or SUMS_PROMPT
    elif told == SUMS_PROMPT:
        form["dataset.system_prompt"] = ""
    try:
        mapping = ready_mapping(services, source)
    except TunesmithError:
        return form, section  # gone by now; the page says so
    form.pop("dataset.columns", None)  # what it shows belongs to the source before
    form |= {f"dataset.{name}": value or "" for name, value in mapping.items() if name != "columns"}
    section = {name: value for name, value in section.items() if name != "columns"}
    return form, section | ({"columns": mapping["columns"]} if mapping["columns"] else {})


def follow_reward(services: Services, before: str) -> None:
    """Exercises bring their checkers as the reward; another dataset in their place takes them away again.

    Args:
        before: The source so far.
    """
    draft = services.wizard.draft()
    source, reward = str((draft.get("dataset") or {}).get("source") or ""), draft.get("reward") or {}
    if source == tasks.SOURCE and reward.get("preset_name") != "reasoning_gym":
        services.wizard.put(reward=TASK_REWARD)
    elif before == tasks.SOURCE and source not in (before, "mix", "") and reward == TASK_REWARD:
        services.wizard.put(reward=None)


def _tasks(form: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for key in form:
        if key.startswith("task."):
            name = key.removeprefix("task.")
            task: dict[str, Any] = {"name": name, "weight": _weight(form.get(f"weight.{name}", "1"))}
            level = form.get(f"difficulty.{name}", "")
            found.append(task | ({"difficulty": int(level)} if level in map(str, LEVELS) else {}))
    return found


def _mix(services: Services, form: Mapping[str, str]) -> list[dict[str, Any]]:
    parts = []
    for key, text in form.items():
        if key.startswith("mix.") and text.strip():
            source = key.removeprefix("mix.")
            parts.append({"source": source, **_needed(services, source), "weight": _weight(text)})
    return parts + _parts(services, form)


def _parts(services: Services, form: Mapping[str, str]) -> list[dict[str, Any]]:
    """The sources with fields of their own. Each brings what it was when the page was made, so that a field which
    the page does not show is kept, and a half-typed name that was saved on the way leaves nothing behind.
    """
    parts = []
    for key in form:
        if key.startswith(f"{PART}.") and key.endswith(".was"):
            before = _object(form[key])
            path = key.removesuffix(".was")
            part = (
                _task_part(path, form, before) if f"{path}.tasks" in form else _hub_part(services, path, form, before)
            )
            if part.get("source") and (part["source"] != tasks.SOURCE or part["tasks"]):
                parts.append(part)
    return parts


def _hub_part(services: Services, path: str, form: Mapping[str, str], before: dict[str, Any]) -> dict[str, Any]:
    part = read_model(MixSource, path, form, before)
    if part.get("source") == before.get("source") or not part.get("source"):
        return part
    ready = {} if _at_hand(part["source"]) else _needed(services, part["source"])
    return ready | {name: value for name, value in part.items() if value != before.get(name)}


def _needed(services: Services, source: str) -> dict[str, Any]:
    """The mapping that comes with a source, as far as a part of a mixture has to say it."""
    return {
        name: value
        for name, value in ready_mapping(services, source).items()
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


def take_known(services: Services, path: str) -> bool:
    """Make a well-known dataset the draft's, with its mapping."""
    known = next((known for known in CATALOGUE if known.path == path), None)
    if known is None:
        return False
    before = services.wizard.draft().get("dataset") or {}
    kept = {name: value for name, value in before.items() if name in TEMPLATE_FIELDS and value != SUMS_PROMPT}
    services.wizard.put(dataset=kept | known.section)
    services.wizard.remember("dataset", kind="hub")
    return True


def take_limits(services: Services, report: Mapping[str, Any] | None) -> bool:
    """Put the lengths that a report proposes into the draft."""
    lengths = (report or {}).get("lengths")
    if not lengths:
        return False
    limits = {name: lengths[name] for name in ("max_sequence_length", "max_new_tokens")}
    services.wizard.put(training={**(services.wizard.draft().get("training") or {}), **limits})
    return True


def use_template(services: Services, name: str) -> bool:
    """Put a saved template into the draft."""
    template = services.library.templates().get(name)
    if template is None:
        return False
    before = services.wizard.draft().get("dataset") or {}
    services.wizard.put(dataset={key: value for key, value in before.items() if key not in TEMPLATE_FIELDS} | template)
    return True


def _weight(text: str) -> Any:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return text  # said to be wrong beside the field


def _shown(weight: Any) -> str:
    return f"{weight:g}" if isinstance(weight, int | float) else str(weight)
