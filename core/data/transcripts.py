"""Conversations written as one text, as in Anthropic's hh-rlhf dataset."""

from __future__ import annotations

import re

_SPEAKER = re.compile(r"(?:\A|\n\n)\s*(Human|Assistant|System):[ \t]?")
_ROLES = {"Human": "user", "Assistant": "assistant", "System": "system"}


def transcript(text: str) -> list[tuple[str, str]] | None:
    r"""(role, text) of each turn, or None if the text is not a transcript, which begins with 'Human:' and has an
    answer.

    >>> transcript("\n\nHuman: 2+2?\n\nAssistant: 4\n\nHuman: Sure?\n\nAssistant: Yes.")
    [('user', '2+2?'), ('assistant', '4'), ('user', 'Sure?'), ('assistant', 'Yes.')]
    >>> transcript("Human: resources") is None
    True
    """
    start = text.lstrip()[:10]
    if not start.startswith(("Human:", "System:")) or "\n\nAssistant:" not in text:
        return None
    pieces = _SPEAKER.split(text)
    spoken = zip(pieces[1::2], pieces[2::2], strict=True)
    return [(_ROLES[speaker], said.strip()) for speaker, said in spoken]
