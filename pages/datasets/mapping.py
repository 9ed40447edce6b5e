"""The fields of the column mapping, on the dataset step and a dataset's own page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.datasets.library import PREFERENCES
from services.forms.fields import FormField

MAIN = ("instruction_field", "response_field", *PREFERENCES, "extraction", "extraction_pattern")
"""Always shown; the others are collapsed, because most datasets do not need them."""


@dataclass(frozen=True)
class MappingFields:
    """``opened`` if one of ``more`` is filled in or has a problem.

    ``preferences`` are for pairs and ratings, where no method decides whether they are needed.
    """

    main: tuple[FormField, ...]
    more: tuple[FormField, ...]
    opened: bool
    preferences: tuple[FormField, ...] = ()

    @property
    def preferred(self) -> bool:
        """Whether one of ``preferences`` is filled in."""
        return any(field.value for field in self.preferences)


def mapping_fields(fields: Sequence[FormField], columns: Sequence[str], *, any_method: bool = False) -> MappingFields:
    """The fields of a mapping.

    Args:
        fields: Fields of the configuration's dataset section, in order: those that the method uses.
        columns: The dataset's columns to choose from; empty if unknown.
        any_method: Whether the mapping is for every method, so that no answer is required.
    """
    named = [(field.path.rpartition(".")[2], field) for field in fields]
    apart = PREFERENCES if any_method else ()
    optional = ("response_field", "winner_field", *apart)
    shown = {name: _column(name, field, columns, optional) for name, field in named if name in MAIN}
    main = tuple(field for name, field in shown.items() if name not in apart)
    more = tuple(field for name, field in named if name not in MAIN)
    opened = any(field.value or field.message for field in more)
    return MappingFields(main, more, opened, tuple(shown[name] for name in apart if name in shown))


def _column(name: str, field: FormField, columns: Sequence[str], optional: Sequence[str]) -> FormField:
    """A choice of the existing columns; a value that is not a column stays visible and editable."""
    if not columns or not name.endswith("_field"):
        return field
    value = str(field.value)
    choices = [(column, column) for column in columns]
    if name in optional:
        choices.insert(0, ("", "None"))
    if value not in dict(choices):
        choices.insert(0, (value, f"{value} (not in this dataset)" if value else "Choose a column"))
    return replace(field, kind="choice", choices=tuple(choices))
