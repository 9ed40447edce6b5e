"""How deeply lists and objects may be nested.

The limit on input is what all later code can handle: pages, previews and the workers traverse values recursively,
each from a different depth of Python's stack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 100
TOO_DEEP = f"lists or objects are nested more than {MAX_DEPTH} deep"


def too_deep(value: Any) -> bool:
    """Whether lists and objects are nested more than :data:`MAX_DEPTH` deep. Iterative.

    >>> too_deep({"a": [1, {"b": []}]})
    False
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Any:
    """The values in a list or object, without empty ones: most rows end here."""
    if isinstance(value, Mapping):
        return (inner for inner in value.values() if isinstance(inner, list | tuple | Mapping))
    if isinstance(value, list | tuple):
        return (inner for inner in value if isinstance(inner, list | tuple | Mapping))
    return ()


def decoded(text: str) -> Any:
    """The value of a JSON text, or None if it is not JSON or too deeply nested.

    >>> decoded('{"a": [1]}'), decoded("[1"), decoded("[" * 500 + "]" * 500)
    ({'a': [1]}, None, None)
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if too_deep(value) else value
