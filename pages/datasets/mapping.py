"""The fields that say which column is what, as the dataset step and a dataset's own page show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.forms.fields import FormField

MAIN = ("instruction_field", "response_field", "extraction", "extraction_pattern")
"""Shown at once; the others are folded, because most datasets do without."""
OPTIONAL = "response_field"


@dataclass(frozen=True)
class MappingFields:
    """``opened`` where one of ``more`` is filled in or has something wrong with it."""

    main: tuple[FormField, ...]
    more: tuple[FormField, ...]
    opened: bool


def mapping_fields(fields: Sequence[FormField], columns: Sequence[str]) -> MappingFields:
    """The fields of a mapping.

    Args:
        fields: Those of the configuration's dataset section, in order.
        columns: The dataset's columns to choose from; none where they are not known.
    """
    named = [(field.path.rpartition(".")[2], field) for field in fields]
    main = tuple(_column(name, field, columns) for name, field in named if name in MAIN)
    more = tuple(field for name, field in named if name not in MAIN)
    return MappingFields(main, more, any(field.value or field.message for field in more))


def _column(name: str, field: FormField, columns: Sequence[str]) -> FormField:
    """A choice of the columns there are; what is set and is no column stays to be seen and changed."""
    if not columns or not name.endswith("_field"):
        return field
    value = str(field.value)
    choices = [(column, column) for column in columns]
    if name == OPTIONAL:
        choices.insert(0, ("", "None"))
    if value not in dict(choices):
        choices.insert(0, (value, f"{value} (not in this dataset)" if value else "Choose a column"))
    return replace(field, kind="choice", choices=tuple(choices))
