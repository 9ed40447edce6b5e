"""Renders a conversation with a model's chat template, and tokenizes it.

Two things are handled here for every caller that prompts a model:

- What a template does not support is written as text: a system message into the first question, functions
  into the system message, calls and results into the text. :data:`WORDS` tells the user.
- The text of a message stays text. A control token in it, such as ``<|im_end|>`` in a question, is split into two
  pieces that are tokenized separately, so it is not parsed as a special token. Everything else is tokenized in one
  piece.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.data.conversation import Conversation, Message, call_of, strings_in, text_in
from core.data.nested import decoded
from core.data.prompts import read_object, render
from core.errors import InvalidInput

WORDS = {
    "system": "the chat template has no system role, so the system message is added to the first question",
    "tools": "the chat template does not support tools, so the functions are listed in the system message",
    "calls": "the chat template does not support function calls, so calls and their results are written as text",
    "joined": "the chat template requires alternating roles, so consecutive messages from one side are merged",
}
"""What is done if a template does not support something, by the key in :attr:`Shown.changes`."""

Tokenize = Callable[[str], list[int]]


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

    def ids(self, tokenize: Tokenize) -> list[int]:
        """Its tokens; see :func:`tokens_of`."""
        return tokens_of(self.parts, tokenize)


def tokens_of(parts: Sequence[str], tokenize: Tokenize) -> list[int]:
    """The tokens of one text given in parts.

    Args:
        parts: At least one.
        tokenize: Text to ids; parses control tokens and adds none.
    """
    ids = list(tokenize(parts[0]))
    for part in parts[1:]:
        ids += continued(part, tokenize)
    return ids


def continued(part: str, tokenize: Tokenize) -> list[int]:
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
    able = abilities(template, tuple(sorted(special.items())))
    told, changes = _told(conversation, able)
    cut = Cut(control)
    for messages, more in ((told.messages, ()), (_joined(told.messages), ("joined",))):
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


# --- What a template supports ---


@dataclass(frozen=True)
class Abilities:
    """What a template supports.

    Attributes:
        system: A system message.
        tools: The functions that may be called.
        calls: Function calls and their results.
        empty: The content it expects in a message with only calls: None or ''.
        objects: Whether arguments are objects; otherwise JSON text.
    """

    system: bool
    tools: bool
    calls: bool
    empty: str | None = None
    objects: bool = True


_SYSTEM, _ASK, _REPLY = "PROBE-SYSTEM", "PROBE-QUESTION", "PROBE-REPLY"
_TOOL = {
    "type": "function",
    "function": {
        "name": "probe_function",
        "description": "Probes.",
        "parameters": {"type": "object", "properties": {"probe_key": {"type": "string", "description": "A key."}}},
    },
}
_USER: Message = {"role": "user", "content": _ASK}


@lru_cache(maxsize=64)
def abilities(template: str | None, special: tuple[tuple[str, str], ...]) -> Abilities:
    """Found by rendering each feature and looking for it in the text."""
    tokens = dict(special)

    def written(messages: list[Message], tools: list[dict[str, Any]] | None = None) -> str:
        try:
            return render(messages, template, tokens, tools=tools)
        except InvalidInput:
            return ""

    system = _SYSTEM in written([{"role": "system", "content": _SYSTEM}, _USER])
    tools = "probe_function" in written([_USER], [_TOOL])
    for empty in (None, ""):
        for objects in (True, False):
            if _shows_calls(written(_probe_of_calls(empty, objects), [_TOOL] if tools else None)):
                return Abilities(system, tools, True, empty, objects)
    return Abilities(system, tools, calls=False)


def _probe_of_calls(empty: str | None, objects: bool) -> list[Message]:
    arguments: Any = {"probe_key": "probe value"}
    call = {"name": "probe_function", "arguments": arguments if objects else json.dumps(arguments)}
    return [
        _USER,
        {
            "role": "assistant",
            "content": empty,
            "tool_calls": [{"id": "probe0001", "type": "function", "function": call}],
        },
        {"role": "tool", "name": "probe_function", "tool_call_id": "probe0001", "content": _REPLY},
    ]


def _shows_calls(text: str) -> bool:
    """Whether it has call and result, without a Python ``None`` and without arguments quoted twice or as Python."""
    call = text.rpartition(_ASK)[2]
    there = all(word in call for word in ("probe_function", "probe_key", "probe value", _REPLY))
    return there and not any(word in call for word in ('\\"probe_key', "'probe_key'", "None"))


def _told(conversation: Conversation, able: Abilities) -> tuple[Conversation, tuple[str, ...]]:
    """The conversation in a form that the template supports, and what had to be changed."""
    changes: list[str] = []
    messages, tools = list(conversation.messages), conversation.tools
    if tools and not able.tools:
        changes.append("tools")
        messages, tools = _with_tools(messages, tools), ()
    if any(one.get("tool_calls") or one["role"] == "tool" for one in messages):
        if able.calls:
            messages = [_in_form(one, able) for one in messages]
        else:
            changes.append("calls")
            messages = _as_text(messages)
    if messages and messages[0]["role"] == "system" and not able.system:
        changes.append("system")
        messages = _in_question(messages)
    return replace(conversation, messages=tuple(messages), tools=tools), tuple(changes)


def _with_tools(messages: list[Message], tools: Iterable[Mapping[str, Any]]) -> list[Message]:
    lines = [json.dumps(tool["function"], ensure_ascii=False) for tool in tools]
    words = "You can call these functions. To call one, write "
    words += '<tool_call>{"name": "…", "arguments": {…}}</tool_call>.\n' + "\n".join(lines)
    if messages and messages[0]["role"] == "system":
        return [{**messages[0], "content": f"{text_in(messages[0])}\n\n{words}".lstrip()}, *messages[1:]]
    return [{"role": "system", "content": words}, *messages]


def _in_form(message: Message, able: Abilities) -> Message:
    """A message with its calls as the template expects them."""
    if not message.get("tool_calls"):
        return message
    calls = [
        {**call, "function": {**call["function"], **_arguments(call, able.objects)}} for call in message["tool_calls"]
    ]
    return {**message, "content": text_in(message) or able.empty, "tool_calls": calls}


def _arguments(call: Mapping[str, Any], objects: bool) -> dict[str, Any]:
    given = call["function"].get("arguments")
    if objects and isinstance(given, str):
        read = decoded(given)
        return {"arguments": read if isinstance(read, dict) else given}
    if not objects and not isinstance(given, str):
        return {"arguments": json.dumps(given, ensure_ascii=False)}
    return {"arguments": given}


def _as_text(messages: Iterable[Message]) -> list[Message]:
    """Calls in the assistant's text, results in user messages; consecutive results share one."""
    found: list[Message] = []
    for one in messages:
        if one.get("tool_calls"):
            form = Abilities(system=True, tools=True, calls=True)
            calls = [json.dumps(call_of(call), ensure_ascii=False) for call in _in_form(one, form)["tool_calls"]]
            text = "\n".join([text_in(one), *(f"<tool_call>\n{call}\n</tool_call>" for call in calls)]).strip()
            rest = {name: cell for name, cell in one.items() if name != "tool_calls"}
            found.append({**rest, "content": text})
        elif one["role"] == "tool":
            text = f"<tool_response>\n{text_in(one)}\n</tool_response>"
            if found and found[-1].get("results"):
                found[-1] = {**found[-1], "content": f"{found[-1]['content']}\n{text}"}
            else:
                found.append({"role": "user", "content": text, "results": True})
        else:
            found.append(one)
    return [{name: cell for name, cell in one.items() if name != "results"} for one in found]


def _in_question(messages: list[Message]) -> list[Message]:
    system, rest = text_in(messages[0]), messages[1:]
    first = next((place for place, one in enumerate(rest) if one["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": system}, *rest]
    asked = {**rest[first], "content": f"{system}\n\n{text_in(rest[first])}".strip()}
    return [*rest[:first], asked, *rest[first + 1 :]]


def _joined(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Merges consecutive messages of one role, except those with calls and results."""
    found: list[Message] = []
    for one in messages:
        last = found[-1] if found else None
        plain = one["role"] in {"user", "assistant", "system"} and not one.get("tool_calls")
        if last and plain and last["role"] == one["role"] and not last.get("tool_calls"):
            found[-1] = {**last, "content": f"{text_in(last)}\n\n{text_in(one)}".strip()}
        else:
            found.append(one)
    return tuple(found)


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
