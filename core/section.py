"""The base of every section of the configuration."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """Frozen, and a field that it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


def usual(low: float, high: float) -> dict[str, Any]:
    """The range that suits most runs, for a field's ``json_schema_extra``. Values outside it are allowed."""
    return {"usual": [low, high]}


def usual_range(info: FieldInfo) -> tuple[float, float] | None:
    """What :func:`usual` said of a field; None where it said nothing."""
    extra = info.json_schema_extra
    found: Any = extra.get("usual") if isinstance(extra, dict) else None
    return (found[0], found[1]) if found else None
