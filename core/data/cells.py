"""Cells of raw rows as text and as JSON data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def text_of(value: Any) -> str:
    """A cell as text, for the model and the rewards.

    >>> text_of(None), text_of(7.0), text_of(True), text_of(["a", 1]), text_of({"é": None})
    ('', '7', 'true', '["a", 1]', '{"é": null}')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return json.dumps(value, ensure_ascii=False, default=str)


def plain(value: Any) -> Any:
    """The value as JSON data: dates and the like become text, NaN becomes null.

    >>> plain({"a": float("nan"), 1: (b"x", 2)})
    {'a': None, '1': ['x', 2]}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
