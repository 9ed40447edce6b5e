"""What a chat template supports, found by rendering probes, and conversations without what it does not support."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from core.data.conversation import THOUGHT_KEYS, Conversation, Message, call_of, text_in, thought_in
from core.data.nested import decoded
from core.data.prompts import render
from core.data.rows import parted_thought
from core.errors import InvalidInput


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


def supported(conversation: Conversation, able: Abilities) -> tuple[Conversation, tuple[str, ...]]:
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
            weight = {"weight": one["weight"]} if "weight" in one else {}
            if found and found[-1].get("results"):
                found[-1] = _merged(found[-1], one, f"{found[-1]['content']}\n{text}")
            else:
                found.append({"role": "user", "content": text, "results": True, **weight})
        else:
            found.append(one)
    return [{name: cell for name, cell in one.items() if name != "results"} for one in found]


def _in_question(messages: list[Message]) -> list[Message]:
    system, rest = text_in(messages[0]), messages[1:]
    first = next((place for place, one in enumerate(rest) if one["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": system}, *rest]
    asked = _merged(rest[first], messages[0], f"{system}\n\n{text_in(rest[first])}".strip())
    return [*rest[:first], asked, *rest[first + 1 :]]


def joined(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Merges consecutive messages of one role, except those with calls and results."""
    found: list[Message] = []
    for one in messages:
        last = found[-1] if found else None
        plain = one["role"] in {"user", "assistant", "system"} and not one.get("tool_calls")
        if last and plain and last["role"] == one["role"] and not last.get("tool_calls"):
            found[-1] = _merged(last, one, f"{text_in(last)}\n\n{text_in(one)}".strip())
        else:
            found.append(one)
    return tuple(found)


def _merged(into: Message, other: Message, text: str) -> Message:
    weights = [one["weight"] for one in (into, other) if "weight" in one]
    same = {"weight": weights[0] if weights[0] == weights[-1] else None} if weights else {}
    return {**into, "content": text, **same}


# --- Reasoning, and the end of an answer ---

_ANSWER, _THOUGHT = "PROBE-ANSWER", "PROBE-THOUGHT"


@lru_cache(maxsize=64)
def thoughts_go(template: str | None, special: tuple[tuple[str, str], ...]) -> str:
    """The key under which a template prints reasoning; ``text`` if it prints only an answer that contains it."""

    def prints(message: Message) -> bool:
        try:
            return _THOUGHT in render(
                [_USER, {"role": "assistant", **message}], template, dict(special), add_generation_prompt=False
            )
        except InvalidInput:
            return False

    for key in THOUGHT_KEYS:
        if prints({"content": _ANSWER, key: _THOUGHT}):
            return key
    return "text" if prints({"content": f"<think>\n{_THOUGHT}\n</think>\n\n{_ANSWER}"}) else ""


def thought_of(message: Message) -> str:
    """An assistant message's reasoning, separate or before its answer."""
    return (thought_in(message) or parted_thought(text_in(message))[0]).strip()


def without_thought(message: Message) -> Message:
    """A message without separate reasoning."""
    return {name: cell for name, cell in message.items() if name not in THOUGHT_KEYS}


def with_thought(message: Message, place: str) -> Message:
    """A message with its separate reasoning where the template prints it."""
    thought = thought_in(message).strip()
    if message["role"] != "assistant" or not thought or place in {"", *(key for key in message if message[key])}:
        return message
    rest = without_thought(message)
    if place == "text":
        return {**rest, "content": f"<think>\n{thought}\n</think>\n\n{text_in(message)}".rstrip()}
    return {**rest, place: thought}


@lru_cache(maxsize=64)
def closing_token(template: str | None, special: tuple[tuple[str, str], ...], control: frozenset[str]) -> str:
    """The control token with which a template ends an answer; empty if it prints none."""
    try:
        messages = [_USER, {"role": "assistant", "content": _ANSWER}]
        text = render(messages, template, dict(special), add_generation_prompt=False)
    except InvalidInput:
        return ""
    rest = text.rpartition(_ANSWER)[2].lstrip()
    return max((token for token in control if rest.startswith(token)), key=len, default="")
