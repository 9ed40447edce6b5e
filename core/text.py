"""Sanitizes text from models, untrusted programs and files before it is stored or shown."""

from __future__ import annotations

import json
from typing import Any

LONGEST_REASON = 600
"""Maximum stored characters of a reason or message."""


def whole(text: str) -> str:
    """The text with lone surrogates replaced: ``chr(0xd800)`` is legal in Python and cannot be written as UTF-8.

    >>> whole("caf" + chr(0xD800)), whole("café")
    ('caf?', 'café')
    """
    return text.encode("utf-8", "replace").decode()


def reason(text: str) -> str:
    """An external sentence for storage: valid Unicode, and truncated.

    >>> len(reason("x" * 10_000))
    600
    """
    return whole(text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…")


def excerpt(text: str) -> str:
    """A text on one line, truncated to 60 characters.

    >>> excerpt("two\\n lines"), len(excerpt("x" * 99))
    ('two lines', 60)
    """
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def json_line(data: Any, **options: Any) -> bytes:
    """One line of a ``.jsonl`` file. Lone surrogates in it are replaced; ``options`` are those of ``json.dumps``."""
    return json.dumps(data, ensure_ascii=False, **options).encode("utf-8", "replace") + b"\n"
