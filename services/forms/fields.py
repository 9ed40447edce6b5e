"""Form fields generated from the configuration's models, and form values parsed back.

A field's text, default and limits are defined only in :mod:`core.config`. Input is kept
even if it is not a valid number: the problem is then shown next to the field, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from core.config import LORA_TARGETS, SECTIONS, RunConfig
from core.data import extract
from core.data.trained_on import WORDS
from core.methods import METHODS
from core.section import range_words, short_number, usual_range

LONG = frozenset({"dataset.system_prompt", "dataset.chat_template", "dataset.instruction_template"})
"""Fields with several lines."""

CHOICES: dict[str, Mapping[str, str]] = {
    "adapter": {"lora": "LoRA adapter", "none": "None (train every weight)"},
    "lora_preset": {
        "all": "All layers",
        "attention": "Attention layers",
        "feed_forward": "Feed-forward layers",
        "minimal": "Queries and values only",
        "custom": "Custom",
    },
    "dtype": {
        "auto": "Automatic",
        "float32": "float32 (32-bit)",
        "bfloat16": "bfloat16 (16-bit)",
        "float16": "float16 (16-bit)",
    },
    "extraction": {str(rule): title for rule, title in extract.TITLES.items()},
    "deduplicate": {"off": "Off", "exact": "Exact duplicates", "near": "Exact and near duplicates"},
    "lr_scheduler_type": {
        "constant": "Constant",
        "constant_with_warmup": "Constant with warm-up",
        "linear": "Linear decay",
        "cosine": "Cosine decay",
        "polynomial": "Polynomial decay",
    },
    "optim": {
        "adamw_torch": "AdamW",
        "adamw_torch_fused": "AdamW (fused)",
        "paged_adamw_32bit": "Paged AdamW (32-bit)",
        "paged_adamw_8bit": "Paged AdamW (8-bit)",
        "adamw_8bit": "AdamW (8-bit)",
        "sgd": "SGD",
        "adafactor": "Adafactor",
    },
    "train_on": {str(key): title for key, title in WORDS.items()},
    "rollout_engine": {"auto": "Automatic", "transformers": "Transformers", "llama_cpp": "llama.cpp"},
    "type": {"preset": "Built-in", "composite": "Custom"},
} | {f"{one.section_name}.{field}": titles for one in METHODS for field, titles in one.choices.items()}
"""Labels of a choice's values, by the field's last name; for a method's own field by its path."""

Section = dict[str, Any]
Values = Mapping[str, object]
"""A section's fields by name, as typed or loaded."""
Remarks = Mapping[str, tuple[str, str]]
"""Field path to (level, message); level is ``problem``, ``watch`` or ``note-text``."""


@dataclass(frozen=True)
class FormField:
    """One input with its label, texts and problem.

    ``kind`` is ``text``, ``number``, ``check``, ``choice`` or ``long``; ``value`` is what the input
    shows (a bool for ``check``); ``shown`` is for a collapsed group; ``facts`` has the default and usual range.
    """

    path: str
    title: str
    description: str
    kind: str
    value: str | bool
    placeholder: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    suggestions: tuple[str, ...] = ()
    level: str = ""
    message: str = ""
    facts: str = ""

    @property
    def id(self) -> str:
        return field_id(self.path)

    @property
    def short(self) -> str:
        """The title without the part in parentheses."""
        return self.title.split(" (")[0]

    @property
    def shown(self) -> str:
        """The value in words; '' if not set."""
        if self.kind == "check":
            return f"{self.short}: {'On' if self.value else 'Off'}"
        value = dict(self.choices).get(str(self.value), self.value)
        return f"{self.short}: {value}" if value else ""


@dataclass(frozen=True)
class FieldGroup:
    """Fields that belong together; ``values`` summarizes them in one line while collapsed."""

    id: str
    title: str
    text: str
    open: bool
    fields: tuple[FormField, ...]

    @property
    def values(self) -> str:
        return " · ".join(item.shown for item in self.fields if item.shown)


def field_id(path: str) -> str:
    """A field's id in the page."""
    return path.replace(".", "-").replace("_", "-")


def section_model(section: str) -> type[BaseModel]:
    """The Pydantic model of a configuration section."""
    return cast("type[BaseModel]", RunConfig.model_fields[section].annotation)


def field_title(path: str) -> str:
    """A field's title on its page, without the term in parentheses; for others, the name in words."""
    section, _, name = path.partition(".")
    known = section_model(section).model_fields if section in SECTIONS and name else {}
    info = known.get(name.partition(".")[0])
    return (info.title or name).partition(" (")[0] if info else path.rpartition(".")[2].replace("_", " ")


def form_field(section: str, name: str, values: Values, remarks: Remarks, suggested: Values | None = None) -> FormField:
    """The input for one field, with the draft's value or the default.

    Args:
        suggested: Suggestions for the section's fields; with them, the field shows its default and usual range.
    """
    field = model_field(section_model(section), f"{section}.{name}", values, remarks)
    return field if suggested is None else replace(field, facts=_facts(field, name, section_model(section), suggested))


def _facts(field: FormField, name: str, model: type[BaseModel], suggested: Values) -> str:
    info = model.model_fields[name]
    default = suggested.get(name, info.get_default(call_default_factory=True))
    if field.kind == "check":
        words = "on" if default else "off"
    else:
        number = isinstance(default, int | float)
        words = (
            short_number(cast("float", default)) if number else dict(field.choices).get(str(default), shown(default))
        )
    usual = usual_range(info)
    facts = [f"Default: {words}" if words else "", f"Suggested: {range_words(usual)}" if usual else ""]
    return " · ".join(filter(None, facts))


def model_field(model: type[BaseModel], path: str, values: Values, remarks: Remarks) -> FormField:
    """Like :func:`form_field`, for any model: the field is the path's last name."""
    name = path.rpartition(".")[2]
    info = model.model_fields[name]
    kind, choices = _kind(path, info)
    titles = CHOICES.get(path) or CHOICES.get(name, {})
    current = values.get(name, info.get_default(call_default_factory=True))
    within = (remark for at, remark in remarks.items() if at.startswith(f"{path}."))
    level, message = remarks.get(path) or next(within, ("", ""))
    return FormField(
        path=path,
        title=info.title or name,
        description=info.description or "",
        kind=kind,
        value=bool(current) if kind == "check" else shown(current),
        choices=tuple((choice, titles.get(choice, choice)) for choice in choices),
        placeholder="Optional" if _optional(info) else "",
        suggestions=("all-linear", ", ".join(LORA_TARGETS[:4])) if name == "target_modules" else (),
        level=level,
        message=message,
    )


def shown(value: Any) -> str:
    """A value as a user would type it: 0.00005 rather than 5e-05."""
    if value is None or value is Ellipsis or repr(value) == "PydanticUndefined":
        return ""
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        text = format(Decimal(repr(value)), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(name if name == of else f"{name} = {of}" for name, of in value.items())
    return str(value)


def read_form_section(section: str, form: Mapping[str, str], before: Values) -> Section:
    """A section updated from a submitted form.

    Fields that are not in the form keep their value. A check box that is not sent is off if the form names it in
    ``checks``. An unset field stays unset while it has its default, so that files are saved unchanged.

    Args:
        section: Name of the section.
        form: The submitted values by field path.
        before: The previous section.
    """
    return read_model(section_model(section), section, form, before)


def read_model(model: type[BaseModel], prefix: str, form: Mapping[str, str], before: Values) -> Section:
    """Like :func:`read_form_section`, for any model and the form's fields below ``prefix``."""
    after = dict(before)
    for name, info in model.model_fields.items():
        path = f"{prefix}.{name}"
        kind, _ = _kind(path, info)
        if kind == "check":
            if path not in form.get("checks", "").split():
                continue
            value: Any = path in form
        elif path not in form:
            continue
        else:
            value = _read(form[path], kind, info, before.get(name))
        if name in before or value != info.get_default(call_default_factory=True):
            after[name] = value
    return after


def _read(text: str, kind: str, info: FieldInfo, before: Any) -> Any:
    text = text.replace("\r\n", "\n")
    if not text.strip() and _optional(info):
        return None
    if kind == "number":
        return _typed_number(text.strip(), before)
    if kind == "long" or kind == "choice":
        return text
    text = text.strip()
    origins = {get_origin(part) for part in _parts(info)}
    if tuple in origins and text != "all-linear":
        return [part.strip() for part in text.split(",") if part.strip()]
    if dict in origins:
        # Names with a comma would be ambiguous in a form.
        return before if before is not None and text == shown(before) else read_names(text)
    return text


def read_names(text: str) -> dict[str, str]:
    """``tests = test_list, choices`` as a mapping; a single name maps to itself."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return {name.strip(): of.strip() or name.strip() for name, _, of in pairs}


def whole_number(text: str | None) -> int | None:
    """A nonnegative integer from digits in a URL or form; None for anything else.

    ``str.isdigit`` accepts characters that ``int`` rejects (``²``), and ``int`` is slow for thousands of digits.
    """
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 12 else None


def _typed_number(text: str, before: Any) -> Any:
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        # Typing 3.0 for 3 changes nothing.
        return before if isinstance(before, int | float) and before == value else value
    return text


def _kind(path: str, info: FieldInfo) -> tuple[str, tuple[str, ...]]:
    parts = _parts(info)
    if path in LONG:
        return "long", ()
    if bool in parts:
        return "check", ()
    if int in parts or float in parts:
        return "number", ()
    for part in parts:
        if get_origin(part) is Literal and len(parts) == 1:
            return "choice", tuple(map(str, get_args(part)))
    return "text", ()


def _parts(info: FieldInfo) -> tuple[Any, ...]:
    annotation = info.annotation
    found = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    return tuple(part for part in found if part is not NoneType)


def _optional(info: FieldInfo) -> bool:
    return NoneType in get_args(info.annotation)
