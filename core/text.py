"""Sanitizes text from models, untrusted programs and files before it is stored or shown."""

from __future__ import annotations

import json
from typing import Any

LONGEST_REASON = 600
"""Characters of a reason or a message that is kept: more helps nobody and fills a disk."""


def whole(text: str) -> str:
    """The text with half characters replaced: ``chr(0xd800)`` is legal in Python and cannot be written as UTF-8.

    >>> whole("caf" + chr(0xD800)), whole("café")
    ('caf?', 'café')
    """
    return text.encode("utf-8", "replace").decode()


def reason(text: str) -> str:
    """A sentence that came from elsewhere, as it may be kept: whole, and not without end.

    >>> len(reason("x" * 10_000))
    600
    """
    return whole(text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…")


def json_line(data: Any, **options: Any) -> bytes:
    """One line of a ``.jsonl`` file. Half characters in it are replaced; ``options`` are those of ``json.dumps``."""
    return json.dumps(data, ensure_ascii=False, **options).encode("utf-8", "replace") + b"\n"
