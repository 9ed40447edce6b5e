"""What step 2's own controls mean for the configuration: exercises, mixtures, well-known datasets, templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.data import tasks
from core.data.arithmetic import SOURCE as SUMS
from core.data.catalogue import CATALOGUE
from core.errors import InvalidInput
from services.container import Services
from services.library import MAPPED, TEMPLATE_FIELDS
from services.views import Choices, MixLine, TaskLine
from services.wizard import SUMS_PROMPT

TASK_REWARD = {"type": "preset", "preset_name": "reasoning_gym"}
LEVELS = tuple(range(tasks.LEVELS))


def choices(found: Services, section: Mapping[str, Any], kind: str) -> Choices:
    """The exercises are asked for where they are shown: the first time takes some seconds."""
    lines, problem = _task_lines(found, section) if kind == "tasks" else ((), "")
    weights = {part.get("source"): _shown(part.get("weight", 1.0)) for part in section.get("mix") or ()}
    mix = [
        MixLine(f"upload:{info.id}", info.name, info.rows, weights.get(f"upload:{info.id}", ""))
        for info in found.datasets.list()
    ]
    mix.append(MixLine(SUMS, "Sums made on the spot", None, weights.get(SUMS, "")))
    categories = dict.fromkeys(known.category for known in CATALOGUE)
    return Choices(
        tasks=lines,
        tasks_problem=problem,
        mix=tuple(mix),
        known=tuple((one, tuple(known for known in CATALOGUE if known.category == one)) for one in categories),
        templates=tuple(sorted(found.library.templates())),
    )


def _task_lines(
    found: Services, section: Mapping[str, Any]
) -> tuple[tuple[tuple[str, tuple[TaskLine, ...]], ...], str]:
    try:
        known = found.library.tasks()
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


def source_of(kind: str, form: Mapping[str, str]) -> str:
    """The source that the chosen way and its fields name."""
    fixed = {"generated": SUMS, "tasks": tasks.SOURCE, "mix": "mix", "hub": form.get("ui.hub", "").strip()}
    return fixed.get(kind, form.get("upload", ""))


def ready_mapping(found: Services, source: str) -> dict[str, Any]:
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
        info = found.library.info(source.removeprefix("upload:"))
        return plain | {key: value for key, value in found.library.mapping(info).items() if key in MAPPED}
    known = next((known for known in CATALOGUE if known.path == source), None)
    return plain | (known.mapping if known else {})


def settle(found: Services, form: Mapping[str, str]) -> None:
    """After the step's fields are saved: exercises and mixture as the form has them, gone where they are not meant."""
    section = dict(found.wizard.draft().get("dataset") or {})
    kind = form.get("ui.kind", "")
    changed = {"tasks": _tasks(form) if kind == "tasks" else [], "mix": _mix(found, form) if kind == "mix" else []}
    if kind == "tasks" and "tasks-shown" not in form:
        changed["tasks"] = list(section.get("tasks") or ())
    for name, value in changed.items():
        if value or name in section:
            section[name] = value
    section = {name: value for name, value in section.items() if name not in changed or value}
    found.wizard.put(dataset=section)
    if kind == "tasks" and (found.wizard.draft().get("reward") or {}).get("preset_name") != "reasoning_gym":
        found.wizard.put(reward=TASK_REWARD)


def _tasks(form: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for key in form:
        if key.startswith("task."):
            name = key.removeprefix("task.")
            task: dict[str, Any] = {"name": name, "weight": _weight(form.get(f"weight.{name}", "1"))}
            level = form.get(f"difficulty.{name}", "")
            found.append(task | ({"difficulty": int(level)} if level in map(str, LEVELS) else {}))
    return found


def _mix(found: Services, form: Mapping[str, str]) -> list[dict[str, Any]]:
    parts = []
    for key, text in form.items():
        if key.startswith("mix.") and text.strip():
            source = key.removeprefix("mix.")
            mapping = {
                name: value
                for name, value in ready_mapping(found, source).items()
                if value not in (None, "", {}, "none")
            }
            parts.append({"source": source, **mapping, "weight": _weight(text)})
    return parts


def take_known(found: Services, path: str) -> bool:
    """Make a well-known dataset the draft's, with its mapping."""
    known = next((known for known in CATALOGUE if known.path == path), None)
    if known is None:
        return False
    before = found.wizard.draft().get("dataset") or {}
    kept = {name: value for name, value in before.items() if name in TEMPLATE_FIELDS and value != SUMS_PROMPT}
    found.wizard.put(dataset=kept | known.section)
    found.wizard.remember("dataset", kind="hub")
    return True


def use_template(found: Services, name: str) -> bool:
    """Put a saved template into the draft."""
    template = found.library.templates().get(name)
    if template is None:
        return False
    before = found.wizard.draft().get("dataset") or {}
    found.wizard.put(dataset={key: value for key, value in before.items() if key not in TEMPLATE_FIELDS} | template)
    return True


def _weight(text: str) -> Any:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return text  # said to be wrong beside the field


def _shown(weight: Any) -> str:
    return f"{weight:g}" if isinstance(weight, int | float) else str(weight)
