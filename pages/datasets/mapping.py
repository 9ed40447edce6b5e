"""The fields of the column mapping, on the dataset step and a dataset's own page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.forms.fields import FormField

MAIN = ("instruction_field", "response_field", "extraction", "extraction_pattern")
"""Always shown; the others are collapsed, because most datasets do not need them."""
OPTIONAL = "response_field"


@dataclass(frozen=True)
class MappingFields:
    """``opened`` if one of ``more`` is filled in or has a problem."""

    main: tuple[FormField, ...]
    more: tuple[FormField, ...]
    opened: bool


def mapping_fields(fields: Sequence[FormField], columns: Sequence[str]) -> MappingFields:
    """The fields of a mapping.

    Args:
        fields: Fields of the configuration's dataset section, in order.
        columns: The dataset's columns to choose from; empty if unknown.
    """
    named = [(field.path.rpartition(".")[2], field) for field in fields]
    main = tuple(_column(name, field, columns) for name, field in named if name in MAIN)
    more = tuple(field for name, field in named if name not in MAIN)
    return MappingFields(main, more, any(field.value or field.message for field in more))


def _column(name: str, field: FormField, columns: Sequence[str]) -> FormField:
    """A choice of the existing columns; a value that is not a column stays visible and editable."""
    if not columns or not name.endswith("_field"):
        return field
    value = str(field.value)
    choices = [(column, column) for column in columns]
    if name == OPTIONAL:
        choices.insert(0, ("", "None"))
    if value not in dict(choices):
        choices.insert(0, (value, f"{value} (not in this dataset)" if value else "Choose a column"))
    return replace(field, kind="choice", choices=tuple(choices))
