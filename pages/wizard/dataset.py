"""The dataset step's context: the chosen dataset, its first rows, and the exact prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

from core.config import DEFAULT_SYSTEM_PROMPT
from core.data.conversation import answer_in
from core.dataset import FieldGuess, Row, Shape, UploadInfo
from core.errors import TunesmithError
from pages.datasets.answers import MappedRow, mapped_rows
from pages.datasets.catalogue import Catalogue, catalogue
from pages.datasets.mapping import MappingFields, mapping_fields
from pages.wizard.dataset_choice import Choices, choices
from pages.wizard.frame import Frame, frame
from pages.wizard.trained import TrainedView, trained_view
from services.container import Services
from services.datasets.library import PREFERENCES, detected_mapping
from services.forms.fields import FormField, form_field
from services.wizard.draft import DatasetDraft, Draft
from services.wizard.fit import Fit, fit
from services.wizard.rows import MAPPING, PROMPT, RowsPreview

KINDS = (
    ("upload", "Your dataset", "Upload a file, paste rows, or choose a dataset you already have."),
    ("hub", "Hugging Face", "A popular dataset, or any other by name, such as openai/gsm8k."),
    ("generated", "Arithmetic (generated)", "Small addition problems with exact answers. Works offline."),
    ("preferences", "Preferences (generated)", "Short, correct sums next to worse answers. Works offline."),
    (
        "tasks",
        "Generated exercises (reasoning-gym)",
        "About a hundred kinds, each with an exact checker. Works offline.",
    ),
    ("mix", "Mix datasets", "Combine several by weight: weights 2 and 1 mean two thirds and one third."),
)
SURE = 0.7
"""Confidence from which a detected mapping is not marked for checking."""
GENERATED = ("max_operand",)
HUB = ("subset", "split", "revision")
TASKS = ("size", "seed")
COLUMNS = (*MAPPING, "max_samples")
"""The fields below 'Map columns'."""
MOST_TEXT = 2000
"""Characters of a plain text that are shown."""
SHOWN = 3
"""Pairs or rated answers that are shown."""
PREPARATION = ("deduplicate", "drop_unparseable", "drop_personal", "drop_overlap")


@dataclass(frozen=True)
class Guess:
    """The detected mapping; ``ask`` is what to choose or check; ``differs`` if the setup has another mapping.

    ``words`` has the columns, empty if the mapping is not complete.
    """

    sure: bool
    why: str
    ask: str
    words: str
    differs: bool


@dataclass(frozen=True)
class Preview:
    """The first rows, as in the file."""

    rows: list[Row]
    columns: list[str]
    total: int | None


@dataclass(frozen=True)
class PromptView:
    """One exact prompt, with a sentence about it.

    A control token inside a message is split between two parts: it is text, and not highlighted.
    """

    parts: tuple[str, ...]
    words: str
    answer_starts: bool = False


@dataclass(frozen=True)
class DatasetStep:
    """Step 2."""

    frame: Frame
    kinds: tuple[tuple[str, str, str], ...]
    kind: str
    uploads: tuple[UploadInfo, ...]
    source: FormField
    source_hub: FormField
    generated: tuple[FormField, ...]
    made: tuple[FormField, ...]
    choices: Choices
    known: Catalogue
    preparation: tuple[FormField, ...]
    preparation_values: str
    checks: str
    hub: tuple[FormField, ...]
    mapping: MappingFields
    guess: Guess | None
    fit: Fit | None
    prompt_fields: tuple[FormField, ...]
    prompt_values: str
    no_default_prompt: bool
    suggestion: str
    preview: Preview | None
    mapped: tuple[MappedRow, ...]
    """The first pairs or rated answers."""
    preview_problem: str
    preview_hint: str
    prompts: tuple[PromptView, ...]
    prompts_problem: str
    trained: TrainedView | None


def dataset_step(services: Services, args: Mapping[str, str]) -> DatasetStep:
    """Step 2. ``args`` are the filters of the catalog, and ``kind`` the kind of source whose link set them."""
    snapshot = services.snapshots.take()
    draft, remarks = snapshot.draft, snapshot.review.remarks
    dataset, source = draft.dataset, draft.dataset.source
    asked = args.get("kind", "")
    kind = asked if asked in {key for key, _, _ in KINDS} else draft.page("dataset").get("kind") or dataset.kind
    preview, problem = _look(services, dataset)
    guess = preview.guess if preview else None
    fits = fit(dataset, guess, draft.chosen_method)
    # Without the columns that the method needs, no row can be read.
    readable = preview is not None and (fits is None or fits.usable)
    prompts, prompts_problem = _prompts(services, draft) if readable else ((), "")
    fields = {
        name: form_field("dataset", name, dataset.values, remarks)
        for name in (*GENERATED, *TASKS, *HUB, *COLUMNS, *PROMPT, *PREPARATION)
    }
    chosen, uses = draft.chosen_method, draft.chosen_method.uses
    default = "" if chosen.prefers else DEFAULT_SYSTEM_PROMPT
    preparation = tuple(field for field in _pick(fields, PREPARATION) if uses(field.path))
    base = form_field("dataset", "source", dataset.values, remarks)
    mixed = form_field("dataset", "mix", {}, remarks)
    return DatasetStep(
        frame=frame(services, "dataset", snapshot),
        kinds=KINDS,
        kind=kind,
        uploads=tuple(services.datasets.list()),
        source=base if base.message else replace(base, level=mixed.level, message=mixed.message),
        source_hub=_hub_field(dataset),
        generated=_pick(fields, GENERATED),
        made=_pick(fields, TASKS),
        choices=choices(services, dataset, kind, chosen),
        known=catalogue(args, "wizard.dataset", kind="hub"),
        preparation=preparation,
        preparation_values=" · ".join(field.shown for field in preparation),
        # Only check boxes that are shown: one that is listed here and not sent counts as switched off.
        checks=" ".join(field.path for field in preparation if field.kind == "check"),
        hub=_pick(fields, HUB),
        mapping=mapping_fields(
            [field for field in _mapping(fields, preview, dataset) if uses(field.path)],
            preview.columns if preview and source != "mix" else (),
        ),
        guess=_guess(guess, dataset) if guess and source != "mix" else None,
        fit=fits,
        prompt_fields=tuple(_in_full(field, dataset, default) for field in _pick(fields, PROMPT) if uses(field.path)),
        suggestion=draft.suggested.get("reason", ""),
        no_default_prompt=chosen.prefers,
        prompt_values=_prompt_line(
            dataset, default, str(fields["solution_start"].value), str(fields["solution_end"].value)
        ),
        preview=Preview(preview.rows, preview.columns, preview.total) if preview else None,
        mapped=_mapped_rows(services, dataset) if preview else (),
        preview_problem=problem,
        preview_hint="'Preview rows' downloads the first rows from Hugging Face."
        if dataset.remote
        else "Choose a dataset to see its first rows.",
        prompts=prompts,
        prompts_problem=prompts_problem,
        trained=trained_view(services, draft) if preview else None,
    )


def _look(services: Services, dataset: DatasetDraft) -> tuple[RowsPreview | None, str]:
    """The first rows, or why they cannot be read."""
    try:
        return (services.draft_rows.look(dataset) if dataset.source else None), ""
    except TunesmithError as error:
        return None, error.message


def _mapped_rows(services: Services, dataset: DatasetDraft) -> tuple[MappedRow, ...]:
    """Pairs and rated answers as they are read; nothing if the columns cannot be read, which their fields report."""
    shape = Shape.of(dataset.values)
    if shape is Shape.EXAMPLES or dataset.mix:
        return ()
    try:
        return mapped_rows(services.draft_rows.mapped(dataset, SHOWN)[:SHOWN], shape)
    except TunesmithError:
        return ()


def _prompt_line(dataset: DatasetDraft, default: str, start: str, end: str) -> str:
    told = dataset.values.get("system_prompt")
    prompt = str(default if told is None else told).strip()
    first = shorten(prompt, 80, placeholder=" …") if prompt else "No system prompt"
    return f"{first} · {f'answer between {start} and {end}' if start else 'no answer tags'}"


def _in_full(field: FormField, dataset: DatasetDraft, default: str) -> FormField:
    """A field; the system prompt as the model gets it: the default if the draft has none, empty for none."""
    if field.path != "dataset.system_prompt":
        return field
    told = dataset.values.get("system_prompt")
    return replace(
        field,
        value=default if told is None else str(told),
        placeholder="No system prompt",
        description="Sent before each question. {solution_start} and the other placeholders stand for the tags below. "
        "Leave empty for no system prompt.",
    )


def _prompts(services: Services, draft: Draft) -> tuple[tuple[PromptView, ...], str]:
    if not draft.model.name:
        return (), ""
    try:
        answer = services.draft_rows.prompts(draft)
    except TunesmithError as error:
        return (), error.message
    if answer is None:
        return (
            (),
            "The model is on Hugging Face. 'Preview rows' downloads its chat template and shows the exact prompt.",
        )
    return tuple(_prompt(one) for one in answer["prompts"]), " ".join(answer["notes"])


def _prompt(one: dict[str, Any]) -> PromptView:
    if not one["messages"]:
        return PromptView((one["reference"][:MOST_TEXT],), "Plain text, without a prompt:")
    if one["text"] is None:
        text = "\n\n".join(f"{message['role']}: {answer_in(message)}" for message in one["messages"])
        return PromptView((text,), "The messages, before the chat template is applied:")
    tokens = f"{one['tokens']} tokens. " if one["tokens"] is not None else ""
    answer = f"Reference answer: {one['reference'][:200]}" if one["reference"] else "No reference answer."
    return PromptView(tuple(one["parts"]), f"{tokens}{answer}", answer_starts=True)


def _guess(guess: FieldGuess, dataset: DatasetDraft) -> Guess:
    found = detected_mapping(guess)
    names = ("instruction_field", "response_field", *PREFERENCES, "instruction_template", "extraction")
    usual = {"instruction_field": "question", "response_field": "answer", "extraction": "none"}
    complete = bool(guess.instruction and guess.response)
    present = {name: dataset.values.get(name) or usual.get(name) for name in names}
    words = f"{guess.instruction} → {guess.response}"
    if guess.rejected:
        words = f"{words} (better), {guess.rejected} (worse)"
    if guess.label:
        words = f"{words}, rated by {guess.label}"
    return Guess(
        guess.confidence >= SURE,
        guess.why,
        guess.ask,
        words if complete else "",
        complete and present != {name: found[name] or usual.get(name) for name in names},
    )


def _hub_field(dataset: DatasetDraft) -> FormField:
    field = form_field("dataset", "source", dataset.values if dataset.kind == "hub" else {}, {})
    return replace(
        field,
        path="ui.hub",
        title="Dataset name",
        placeholder="openai/gsm8k",
        description="Owner and name, as in the dataset's address on Hugging Face.",
    )


def _mapping(fields: dict[str, FormField], preview: RowsPreview | None, dataset: DatasetDraft) -> tuple[FormField, ...]:
    """The mapping's inputs; the one for extra columns lists those that are left."""
    chosen = dataset.values
    taken = {str(chosen.get("instruction_field", "question")), str(chosen.get("response_field", "answer"))}
    taken |= {str(chosen.get(name)) for name in PREFERENCES}
    left = ", ".join(str(name) for name in (preview.columns if preview else ()) if name not in taken)
    columns = fields["columns"]
    if left and dataset.source != "mix":  # its sources have their own mappings
        columns = replace(columns, description=f"{columns.description} Available: {left[:500]}.")
    changed = fields | {"columns": columns, "text_field": _text_field(fields["text_field"], preview, dataset)}
    return tuple(changed[name] for name in COLUMNS)


def _text_field(field: FormField, preview: RowsPreview | None, dataset: DatasetDraft) -> FormField:
    """A choice of the columns, or none."""
    names = list(preview.columns) if preview and dataset.source != "mix" else []
    if not names:
        return field
    value = str(field.value or "")
    others = [value] if value and value not in names else []
    return replace(field, kind="choice", choices=(("", "None"), *((name, name) for name in (*others, *names))))


def _pick(fields: dict[str, FormField], names: tuple[str, ...]) -> tuple[FormField, ...]:
    return tuple(fields[name] for name in names)
