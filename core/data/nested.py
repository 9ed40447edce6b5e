"""How deep lists and objects may be in one another.

The limit at the door is the one that every room behind can take: pages, previews and the workers walk
through values by recursion, each from a depth of its own in Python's stack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 100
TOO_DEEP = f"lists or objects are nested more than {MAX_DEPTH} deep"


def too_deep(value: Any) -> bool:
    """Whether lists and objects lie more than :data:`MAX_DEPTH` deep in one another. Walks without recursion.

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
    """The values in a list or object. Cells that hold nothing are dropped at once: most rows end here."""
    if isinstance(value, Mapping):
        return (inner for inner in value.values() if isinstance(inner, list | tuple | Mapping))
    if isinstance(value, list | tuple):
        return (inner for inner in value if isinstance(inner, list | tuple | Mapping))
    return ()


def decoded(text: str) -> Any:
    """What a JSON text holds, or None if it is not JSON, or nested too deeply to be used.

    >>> decoded('{"a": [1]}'), decoded("[1"), decoded("[" * 500 + "]" * 500)
    ({'a': [1]}, None, None)
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if too_deep(value) else value
