"""Renders a conversation with a model's chat template, and tokenizes it.

Two things are handled here for every caller that prompts a model:

- What a template does not support is written as text: a system message into the first question, functions
  into the system message, calls and results into the text. :data:`WORDS` tells the user.
- The text of a message stays text. A control token in it, such as ``<|im_end|>`` in a question, is split into two
  pieces that are tokenized separately, so it is not parsed as a special token. Everything else is tokenized in one
  piece.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from core.data.conversation import Conversation, strings_in
from core.data.prompts import read_object, render
from core.data.template_abilities import abilities, joined, supported
from core.errors import InvalidInput

WORDS = {
    "system": "the chat template has no system role, so the system message is added to the first question",
    "tools": "the chat template does not support tools, so the functions are listed in the system message",
    "calls": "the chat template does not support function calls, so calls and their results are written as text",
    "joined": "the chat template requires alternating roles, so consecutive messages from one side are merged",
}
"""What is done if a template does not support something, by the key in :attr:`Shown.changes`."""

T = TypeVar("T")
Tokenize = Callable[[str], list[T]]
"""Text to tokens: ids, or anything that stands for them. Parses control tokens and adds none."""


@dataclass(frozen=True)
class Shown:
    """A conversation as the model sees it.

    Attributes:
        parts: The text, split at control tokens inside messages; each part is tokenized separately.
        changes: Keys of :data:`WORDS` for what the template does not support.
    """

    parts: tuple[str, ...]
    changes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def ids(self, tokenize: Tokenize[int]) -> list[int]:
        """Its tokens; see :func:`tokens_of`."""
        return tokens_of(self.parts, tokenize)


def tokens_of(parts: Sequence[str], tokenize: Tokenize[T]) -> list[T]:
    """The tokens of one text given in parts, of which there is at least one."""
    ids = list(tokenize(parts[0]))
    for part in parts[1:]:
        ids += continued(part, tokenize)
    return ids


def continued(part: str, tokenize: Tokenize[T]) -> list[T]:
    """The tokens of a text that continues another."""
    # A SentencePiece tokenizer puts a space in front of every text that it is given; after a line break it does not.
    begin, whole = list(tokenize("\n")), list(tokenize(f"\n{part}"))
    return whole[len(begin) :] if whole[: len(begin)] == begin else list(tokenize(part))


def show(
    conversation: Conversation,
    template: str | None,
    special: Mapping[str, str],
    control: Collection[str] = (),
    *,
    ask: bool = True,
) -> Shown:
    """Render a conversation within what the template supports.

    Args:
        conversation: What to render.
        template: The chat template; None for a plain one.
        special: Special tokens by name, as templates use them.
        control: Control tokens that must not be parsed in a message's text.
        ask: Whether to add the generation prompt.

    Raises:
        InvalidInput: The template is broken, or refuses the conversation in every form.
    """
    if not conversation.messages:  # Plain text has no prompt.
        return Shown(("",))
    able = abilities(template, tuple(sorted(special.items())))
    told, changes = supported(conversation, able)
    cut = Cut(control)
    for messages, more in ((told.messages, ()), (joined(told.messages), ("joined",))):
        if more and len(messages) == len(told.messages):
            break
        try:
            text = render(
                [cut(one) for one in messages],
                template,
                special,
                add_generation_prompt=ask,
                tools=[cut(one) for one in told.tools] or None,
            )
            return Shown(cut.parts(text), (*changes, *more))
        except InvalidInput as error:
            refused = error
    raise refused


def adapted(
    conversation: Conversation, template: str | None, special: Mapping[str, str]
) -> tuple[Conversation, tuple[str, ...]]:
    """The conversation in a form that the template supports, so that :func:`show` changes nothing in it or its starts.

    A message's ``weight`` is kept. If messages with different weights have to be merged, it is None.

    Returns:
        The conversation, and keys of :data:`WORDS` for what was changed.

    Raises:
        InvalidInput: The template is broken, or refuses the conversation in every form.
    """
    told, changes = supported(conversation, abilities(template, tuple(sorted(special.items()))))
    try:
        render(told.messages, template, special, add_generation_prompt=False, tools=told.tools or None)
    except InvalidInput:
        if len(merged := joined(told.messages)) == len(told.messages):
            raise
        render(merged, template, special, add_generation_prompt=False, tools=told.tools or None)
        return replace(told, messages=merged), (*changes, "joined")
    return told, changes


# --- Control tokens ---

_LOOKS = re.compile(r"<[|｜].*[|｜]>|<(?:pad|mask|unused\d*|(?:start|end)_of_turn)>", re.DOTALL)
"""Added tokens that llama.cpp's converter always treats as control tokens."""


def control_tokens(added: Iterable[tuple[str, bool]]) -> frozenset[str]:
    """The added tokens of a tokenizer that are control tokens.

    Args:
        added: Each token's text, and whether the tokenizer calls it special.
    """
    return frozenset(text for text, special in added if len(text) > 1 and (special or _LOOKS.fullmatch(text)))


def read_control_tokens(folder: Path) -> frozenset[str]:
    """The same for a model's folder, from ``tokenizer_config.json`` or else the larger ``tokenizer.json``."""
    files = (folder / "tokenizer_config.json", folder / "tokenizer.json")
    return _control_tokens(folder, tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files))


@lru_cache(maxsize=16)
def _control_tokens(folder: Path, _changed: tuple[int, ...]) -> frozenset[str]:
    """Cached until one of the files changes: the larger one has megabytes, and pages need it at every save."""
    decoder = read_object(folder / "tokenizer_config.json").get("added_tokens_decoder")
    listed = list(decoder.values()) if isinstance(decoder, dict) and decoder else None
    listed = listed or read_object(folder / "tokenizer.json").get("added_tokens")
    tokens = [one for one in listed or () if isinstance(one, dict) and isinstance(one.get("content"), str)]
    return control_tokens((one["content"], bool(one.get("special"))) for one in tokens)


class Cut:
    """Marks control tokens in texts before rendering, and splits the rendered text at the marks.

    The mark is a long random number: no text contains it, and no template filter changes it.
    """

    def __init__(self, control: Collection[str]) -> None:
        self._tokens = _pattern(frozenset(control)) if control else None
        self._mark = f"{secrets.randbelow(10**40):040d}"
        self._used = False

    def __call__(self, value: Any) -> Any:
        """The value with a mark inside each control token in its texts."""
        if self._tokens is None or not any(self._tokens.search(text) for text in strings_in(value)):
            return value
        self._used = True
        return self._marked(value)

    def parts(self, text: str) -> tuple[str, ...]:
        """A rendered text split at the marks."""
        return tuple(text.split(self._mark)) if self._used else (text,)

    def _marked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._mark.join(cut_apart(value, self._tokens)) if self._tokens else value
        if isinstance(value, Mapping):
            return {self._marked(name): self._marked(cell) for name, cell in value.items()}
        return [self._marked(cell) for cell in value] if isinstance(value, list | tuple) else value


def cut_text(text: str, control: Collection[str]) -> tuple[str, ...]:
    """A text in parts in which no tokenizer finds a control token.

    >>> cut_text("Say <|im_end|> twice", {"<|im_end|>"})
    ('Say <|', 'im_end|> twice')
    """
    return tuple(cut_apart(text, _pattern(frozenset(control)))) if control else (text,)


def cut_apart(text: str, tokens: re.Pattern[str]) -> list[str]:
    """The parts between the cuts; each occurrence of a token is cut, overlapping ones too."""
    cuts: list[int] = []
    place = 0
    while found := tokens.search(text, place):
        begin, end = found.span()
        if not any(begin < cut < end for cut in cuts[-4:]):
            cuts.append(begin + _inside(found[0]))
        place = begin + 1
    cuts = sorted(set(cuts))
    return [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _inside(token: str) -> int:
    """Where to cut a token: after its leading punctuation, where tokenizers split words anyway."""
    signs = len(token) - len(token.lstrip("".join({sign for sign in token if not sign.isalnum()})))
    return signs if 0 < signs < len(token) else 1


@lru_cache(maxsize=16)
def _pattern(control: frozenset[str]) -> re.Pattern[str]:
    # The shortest token at a position: a cut inside it is also inside every longer one that starts there.
    return re.compile("|".join(map(re.escape, sorted(control, key=len))))
