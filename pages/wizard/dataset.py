"""The dataset step's context: what was chosen, what is in it, and what the model will see."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from core.data.conversation import answer_in
from core.data.rows import map_rows
from core.errors import TunesmithError
from core.model import DEMO_MODEL, local_folder
from pages.wizard import views as wizard_views
from pages.wizard.dataset_choice import choices
from pages.wizard.steps import KINDS, frame, review_of
from services.container import Services
from services.datasets.datasets import read_section
from services.datasets.preparation_jobs import DRAFT
from services.forms.fields import checks, form_field
from services.forms.labels import dataset_title
from services.wizard.wizard import kind_of

SAMPLES = 5
SLOW = ("tasks", "mix")
"""Their rows take a moment to make, and are the same each time."""
GENERATED = ("max_operand",)
HUB = ("subset", "split", "revision")
TASKS = ("size", "seed")
MAPPING = (
    "instruction_field",
    "response_field",
    "extraction",
    "extraction_pattern",
    "instruction_template",
    "columns",
    "max_samples",
)
PROMPT = ("system_prompt", "reasoning_start", "reasoning_end", "solution_start", "solution_end", "chat_template")
PREPARATION = ("deduplicate", "drop_unparseable", "drop_personal", "drop_overlap")

_seen: dict[str, dict[str, Any]] = {}
"""What was fetched over the network, by what was asked: a page never waits for the Hub by itself."""
_KEEP = 32


def dataset_step(services: Services) -> wizard_views.DatasetStep:
    """Step 2."""
    review = review_of(services)
    section = services.wizard.draft().get("dataset") or {}
    source = str(section.get("source") or "")
    ui = services.wizard.ui("dataset")
    preview, problem = look(services, section) if source else (None, "")
    prompts, prompts_problem = _prompts(services, preview is not None)
    fields = {
        name: form_field("dataset", name, section, review.remarks)
        for name in (*GENERATED, *TASKS, *HUB, *MAPPING, *PROMPT, *PREPARATION)
    }
    base = form_field("dataset", "source", section, review.remarks)
    mixed = form_field("dataset", "mix", {}, review.remarks)
    return wizard_views.DatasetStep(
        frame=frame(services, "dataset", review),
        kinds=KINDS,
        kind=ui.get("kind") or kind_of(source),
        uploads=tuple(services.datasets.list()),
        source=base if base.message else replace(base, level=mixed.level, message=mixed.message),
        source_hub=_hub_field(section, kind_of(source) == "hub"),
        generated=_pick(fields, GENERATED),
        made=_pick(fields, TASKS),
        choices=choices(services, section, ui.get("kind") or kind_of(source)),
        preparation=_pick(fields, PREPARATION),
        preparation_values=" · ".join(field.shown for field in _pick(fields, PREPARATION)),
        checks=checks("dataset"),
        hub=_pick(fields, HUB),
        mapping=_mapping(fields, preview, section),
        guess=None if source == "mix" else _guess(preview, section),
        prompt_fields=_pick(fields, PROMPT),
        prompt_values=_prompt_line(section, str(fields["solution_start"].value), str(fields["solution_end"].value)),
        preview=wizard_views.Preview(preview["rows"], preview["columns"], preview["total"]) if preview else None,
        preview_problem=problem,
        preview_hint="'Look at this dataset' fetches the first rows over the network."
        if source and remote(section)
        else "Choose a dataset to see its first rows.",
        prompts=prompts,
        prompts_problem=prompts_problem,
    )


def preparation_step(services: Services) -> wizard_views.PreparationStep:
    """The page behind step 2: counts, removed rows and lengths."""
    section = services.wizard.draft().get("dataset") or {}
    preparing = services.preparations.look(DRAFT)  # First: once it has ended, its report is there.
    report, outdated = services.library.draft_report(preparable(services))
    review = review_of(services)
    fix = review.readiness.fix("reward")
    return wizard_views.PreparationStep(
        frame=frame(services, "dataset", review),
        title=dataset_title(str(section.get("source") or ""), services.settings.home),
        values=" · ".join(form_field("dataset", name, section, {}).shown for name in PREPARATION),
        remote=remote(section),
        report=report,
        outdated=outdated,
        preparing=preparing,
        fix=fix.label if fix else "",
    )


def preparable(services: Services) -> dict[str, Any]:
    """The draft as a configuration whose dataset can be prepared; a model that is not chosen yet is stood in for."""
    return {"model": {"name": DEMO_MODEL}, **services.wizard.config()}


def _prompt_line(section: dict[str, Any], start: str, end: str) -> str:
    whose = "your own" if section.get("system_prompt") is not None else "the usual"
    return f"{whose} system prompt · solution between {start} and {end}"


def look(services: Services, section: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The first rows of a dataset, from memory where it is on the Hub; None and the reason where it cannot be read."""
    source = str(section.get("source") or "")
    if remote(section) or _key(section) in _seen:
        return _seen.get(_key(section)), ""
    try:
        seen = services.datasets.preview(_readable(section), SAMPLES)
        if kind_of(source) in SLOW:
            _keep(_key(section), seen)
        return seen, ""
    except TunesmithError as error:
        return None, error.message


def remote(section: dict[str, Any]) -> bool:
    """Whether its rows, or some of them, come over the network."""
    return any(kind_of(str(part.get("source") or "")) == "hub" for part in (section, *(section.get("mix") or ())))


def fetch(services: Services) -> None:
    """Read the first rows of a Hub dataset, and the prompts, for the page to show.

    Raises:
        TunesmithError: It cannot be reached or read.
    """
    draft = services.wizard.draft()
    section = draft.get("dataset") or {}
    if remote(section):
        _keep(_key(section), services.datasets.preview(_readable(section), SAMPLES))
    if (draft.get("model") or {}).get("name"):
        _keep(_prompt_key(draft), services.datasets.prompt_preview(services.wizard.config(), 2))


def mapped_rows(services: Services, count: int = 50) -> list[dict[str, Any]]:
    """Rows of the draft's dataset by their mapped names, as far as they can be read without the network.

    Raises:
        TunesmithError: They cannot be read or mapped.
    """
    section = services.wizard.draft().get("dataset") or {}
    if not section.get("source"):
        return []
    raw = (
        (_seen.get(_key(section)) or {"rows": []})
        if remote(section)
        else services.datasets.preview(_readable(section), count)
    )
    return map_rows(raw["rows"], read_section(_readable(section)))[0]


def _prompts(services: Services, readable: bool) -> tuple[tuple[wizard_views.PromptView, ...], str]:
    draft = services.wizard.draft()
    model, source = (draft.get("model") or {}).get("name"), str((draft.get("dataset") or {}).get("source") or "")
    if not model or not source or not readable:
        return (), ""
    answer = _seen.get(_prompt_key(draft))
    try:
        if answer is None and not remote(draft["dataset"]) and local_folder(str(model), services.settings.home):
            answer = services.datasets.prompt_preview(services.wizard.config(), 2)
            if kind_of(source) in SLOW:
                _keep(_prompt_key(draft), answer)
    except TunesmithError as error:
        return (), error.message
    if answer is None:
        return (
            (),
            "The model is on the Hub. 'Look at this dataset' fetches its chat template to show this here.",
        )
    return tuple(_prompt(one) for one in answer["prompts"]), " ".join(answer["notes"])


def _prompt(one: dict[str, Any]) -> wizard_views.PromptView:
    if one["text"] is None:
        text = "\n\n".join(f"{message['role']}: {answer_in(message)}" for message in one["messages"])
        return wizard_views.PromptView((text,), "The messages, before the model's chat template:")
    tokens = f"{one['tokens']} tokens. " if one["tokens"] is not None else ""
    return wizard_views.PromptView(
        tuple(one["parts"]), f"{tokens}Right answer: {one['reference'][:200]}", answer_starts=True
    )


def _guess(preview: dict[str, Any] | None, section: dict[str, Any]) -> wizard_views.Guess | None:
    if not preview:
        return None
    fields = preview["fields"]
    sure = float(fields["confidence"])
    ask, answer = fields["instruction"] or "", fields["response"] or ""
    proposed = (ask, answer, fields["template"], fields["extraction"])
    names = (("instruction_field", "question"), ("response_field", "answer"), ("instruction_template", None))
    present = (*(section.get(name, usual) for name, usual in names), section.get("extraction", "none"))
    return wizard_views.Guess(
        "good" if sure >= 0.7 else "watch",
        f"{sure:.0%}",
        fields["why"],
        fields["ask"],
        ask,
        answer,
        bool(ask and answer and present != proposed),
    )


def _hub_field(section: dict[str, Any], chosen: bool) -> Any:
    field = form_field("dataset", "source", section if chosen else {}, {})
    return replace(
        field,
        path="ui.hub",
        title="Name on the Hub",
        placeholder="openai/gsm8k",
        description="Owner and name, as in the address of its page.",
    )


def _mapping(fields: dict[str, Any], preview: dict[str, Any] | None, section: dict[str, Any]) -> tuple[Any, ...]:
    """The mapping's inputs; the one for further columns names those that are left."""
    taken = {section.get("instruction_field", "question"), section.get("response_field", "answer")}
    left = ", ".join(str(name) for name in (preview or {}).get("columns") or () if name not in taken)
    columns = fields["columns"]
    if left and section.get("source") != "mix":  # whose sources have mappings of their own
        columns = replace(columns, description=f"{columns.description} Still there: {left[:500]}.")
    return tuple(columns if name == "columns" else fields[name] for name in MAPPING)


def _pick(fields: dict[str, Any], names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(fields[name] for name in names)


def _readable(section: dict[str, Any]) -> dict[str, Any]:
    """What decides which rows are read; a slip elsewhere must not hide them."""
    names = (
        "source",
        "subset",
        "revision",
        "split",
        "size",
        "max_operand",
        "seed",
        "tasks",
        "mix",
        *MAPPING[:-1],
        *PROMPT,
    )
    return {name: section[name] for name in names if name in section}


def _key(section: dict[str, Any]) -> str:
    names = ("source", "subset", "split", "revision", "size", "seed", "tasks", "mix")
    return json.dumps([section.get(name) for name in names], default=str)


def _prompt_key(draft: dict[str, Any]) -> str:
    return json.dumps([draft.get("model"), draft.get("dataset")], sort_keys=True, default=str)


def _keep(key: str, value: dict[str, Any]) -> None:
    while len(_seen) >= _KEEP:
        _seen.pop(next(iter(_seen)))
    _seen[key] = value
