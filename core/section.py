"""The base of every section of the configuration."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """Frozen; unknown fields are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


def usual(low: float, high: float) -> dict[str, Any]:
    """The range that suits most runs, for a field's ``json_schema_extra``. Values outside it are allowed."""
    return {"usual": [low, high]}


def usual_range(info: FieldInfo) -> tuple[float, float] | None:
    """The range from :func:`usual` of a field; None without one."""
    extra = info.json_schema_extra
    found: Any = extra.get("usual") if isinstance(extra, dict) else None
    return (found[0], found[1]) if found else None


def range_words(usual: tuple[float, float]) -> str:
    """A range as pages write it.

    >>> range_words((1e-5, 2e-4)), range_words((0.7, 1.2)), range_words((64, 8192))
    ('1e-5 to 2e-4', '0.7 to 1.2', '64 to 8,192')
    """
    return " to ".join(short_number(one) for one in usual)


def short_number(value: float) -> str:
    """A number in short: 1e-5 rather than 0.00001, and thousands apart."""
    if value and abs(value) < 0.001:
        digits, _, power = f"{value:e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
