"""A row as a conversation: messages, available functions, and calls.

The prompt is everything but the last reply. Supervised fine-tuning and preference data read the same rows:
:meth:`Conversation.parted` returns the prompt and the reply.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.data.nested import decoded
from core.data.transcripts import transcript

Message = dict[str, Any]
"""One message as chat templates take it: ``role``, ``content`` (text or None), and if present ``tool_calls``,
``tool_call_id``, ``name``, ``reasoning_content`` and any other keys of the row."""

ROLES = {
    "human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "ai": "assistant", "developer": "system", "function": "tool", "observation": "tool", "tool_response": "tool",
    "function_response": "tool", "ipython": "tool", "function_call": "assistant", "tool_call": "assistant",
}  # fmt: skip
"""Other names of the four roles: ShareGPT's, Llama's, and OpenAI's newer and older ones."""
_CALLS = frozenset({"function_call", "tool_call"})
"""ShareGPT's roles for function calls in JSON."""
_OWN = frozenset({"role", "from", "content", "value", "tool_calls", "function_call"})
THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Keys that hold a message's reasoning separately from its answer."""


@dataclass(frozen=True)
class Conversation:
    """Messages in order, and the functions that the model may call.

    Attributes:
        messages: See :data:`Message`.
        tools: Function schemas in OpenAI's form, ``{"type": "function", "function": {"name", …}}``.
        as_is: Whether to leave out the configuration's system prompt.
        reply: The messages after the prompt, where a row keeps them for training on the whole conversation.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    as_is: bool = False
    reply: tuple[Message, ...] = ()

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Conversation | None:
        """Read from a mapped row's ``conversation``; None if the row is a single question."""
        found = row.get("conversation")
        return cls.read(found) if isinstance(found, Mapping) and isinstance(found.get("messages"), list) else None

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Conversation:
        """The inverse of :meth:`json`."""
        tools, reply = tuple(data.get("tools") or ()), tuple(data.get("reply") or ())
        return cls(tuple(data["messages"]), tools, bool(data.get("as_is")), reply)

    def json(self) -> dict[str, Any]:
        """The form stored in a mapped row."""
        found: dict[str, Any] = {"messages": list(self.messages)}
        found |= ({"tools": list(self.tools)} if self.tools else {}) | ({"as_is": True} if self.as_is else {})
        return found | ({"reply": list(self.reply)} if self.reply else {})

    @property
    def one_question(self) -> bool:
        """Whether it is a single question."""
        one = self.messages[0] if len(self.messages) == 1 else {}
        return one.keys() == {"role", "content"} and isinstance(one["content"], str) and not self.tools

    @property
    def question(self) -> str:
        """The last user message."""
        return next((text_in(one) for one in reversed(self.messages) if one["role"] == "user"), "")

    @property
    def text(self) -> str:
        """All text of the conversation, for comparing rows."""
        return "\n".join(text_in(one) for one in self.messages)

    @property
    def unreadable(self) -> bool:
        """Whether a message holds more than text, such as an image."""
        return any(isinstance(one.get("content"), list) for one in (*self.messages, *self.reply))

    def parted(self) -> tuple[Conversation, Message | None]:
        """The prompt and the final assistant message; None if it does not end with one."""
        if self.messages and self.messages[-1]["role"] == "assistant":
            return Conversation(self.messages[:-1], self.tools, self.as_is), self.messages[-1]
        return self, None

    def asking(self, question: str) -> Conversation:
        """A copy with another text for the last user message."""
        last = max((place for place, one in enumerate(self.messages) if one["role"] == "user"), default=None)
        if last is None:
            return self
        changed = {**self.messages[last], "content": question}
        return replace(self, messages=(*self.messages[:last], changed, *self.messages[last + 1 :]))

    def told(self, system: str) -> Conversation:
        """A copy with a system prompt before the row's own, in one system message."""
        if self.as_is or not system.strip():
            return self
        rest = self.messages
        if rest and rest[0]["role"] == "system":
            system, rest = f"{system}\n\n{text_in(rest[0])}".rstrip(), rest[1:]
        return replace(self, messages=({"role": "system", "content": system}, *rest))

    def complete(self) -> Conversation:
        """A copy whose messages are the prompt and the reply."""
        return replace(self, messages=(*self.messages, *self.reply), reply=())


def text_in(message: Message) -> str:
    """A message's text; '' if it only calls functions."""
    content = message.get("content")
    return content if isinstance(content, str) else ""


def answer_in(message: Message) -> str:
    """A message's answer: its text, or its function calls as JSON.

    >>> call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 2.0}}}
    >>> answer_in({"role": "assistant", "content": None, "tool_calls": [call]})
    '{"name": "add", "arguments": {"a": 1, "b": 2.0}}'
    """
    text = text_in(message)
    calls = [call_of(call) for call in message.get("tool_calls") or ()]
    if text.strip() or not calls:
        return text
    return json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)


def call_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """``{"name", "arguments"}`` of one call."""
    return {name: call["function"][name] for name in ("name", "arguments") if name in call["function"]}


def thought_in(message: Message) -> str:
    """The reasoning that a message holds separately from its answer, if any."""
    return next((message[key] for key in THOUGHT_KEYS if isinstance(message.get(key), str)), "")


def read_messages(value: Any) -> tuple[Message, ...] | None:
    """The messages of a cell with a conversation, or None if it is not one.

    Reads ``[{"role", "content"}]`` with OpenAI's function calls, ShareGPT's ``[{"from", "value"}]``, both also
    as JSON text and as one list for each key, and transcripts.

    >>> read_messages([{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}])
    ({'role': 'user', 'content': '2+2?'}, {'role': 'assistant', 'content': '4'})
    """
    spoken = transcript(value) if isinstance(value, str) else None
    if spoken is not None:
        return tuple({"role": role, "content": text} for role, text in spoken)
    value = _rows(_decoded(value))
    if not isinstance(value, list) or not value or not all(isinstance(turn, Mapping) for turn in value):
        return None
    found = [_message(turn) for turn in value]
    return tuple(one for one in found if one is not None) if all(found) else None


def read_reply(value: Any) -> tuple[Message, ...] | None:
    """Like :func:`read_messages`, for a cell with an answer: it may also be a single message.

    >>> read_reply({"from": "gpt", "value": "4"})
    ({'role': 'assistant', 'content': '4'},)
    """
    single = isinstance(value, Mapping) and isinstance(value.get("role", value.get("from")), str)
    return read_messages([value] if single else value)


def _decoded(value: Any) -> Any:
    return decoded(value) if isinstance(value, str) and value.lstrip().startswith(("[", "{")) else value


def _rows(value: Any) -> Any:
    """A list of objects from an object of lists, as some datasets store messages."""
    if not isinstance(value, Mapping) or not {"role", "from"} & value.keys():
        return value
    columns = {name: cells for name, cells in value.items() if isinstance(cells, list)}
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) != 1 or columns.keys() != value.keys():
        return value
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _message(turn: Mapping[str, Any]) -> Message | None:
    said, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if not isinstance(said, str):
        return None
    said = said.strip().casefold()
    role = ROLES.get(said, said)
    calls = _calls(turn, content if said in _CALLS else None)
    if content is None and not calls and not (role == "assistant" and any(turn.get(key) for key in THOUGHT_KEYS)):
        return None
    content = None if said in _CALLS and calls else _text(content)
    # A null means that the row lacks the key: columnar files have every key in every row.
    more = {str(name): cell for name, cell in turn.items() if name not in _OWN and cell is not None}
    return {"role": role, "content": content, **more, **({"tool_calls": calls} if calls else {})}


def _text(content: Any) -> Any:
    """Text, None, or the unchanged list of parts if some part is not text."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        return json.dumps(content, ensure_ascii=False, default=str)
    parts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | Mapping)]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(content) else content


def _calls(turn: Mapping[str, Any], text: Any) -> list[dict[str, Any]]:
    given = _decoded(turn.get("tool_calls")) or turn.get("function_call") or _decoded(text)
    listed = [given] if isinstance(given, Mapping) else given if isinstance(given, list) else []
    found = [_call(_decoded(one)) for one in listed]
    return [one for one in found if one is not None]


def _call(call: Any) -> dict[str, Any] | None:
    """One call in OpenAI's form. Its arguments are unchanged, text or object: the template decides."""
    if not isinstance(call, Mapping):
        return None
    function = call["function"] if isinstance(call.get("function"), Mapping) else call
    if not isinstance(function.get("name"), str):
        return None
    named = {name: function[name] for name in ("name", "arguments") if function.get(name) is not None}
    named.setdefault("arguments", function.get("parameters") or {})
    return {**({"id": call["id"]} if isinstance(call.get("id"), str) else {}), "type": "function", "function": named}


def read_tools(value: Any) -> tuple[dict[str, Any], ...]:
    """Function schemas of a cell, in OpenAI's form; empty if the cell holds something else.

    >>> read_tools('[{"name": "add", "parameters": {"type": "object"}}]')
    ({'type': 'function', 'function': {'name': 'add', 'parameters': {'type': 'object'}}},)
    >>> read_tools(["hammer", "saw"])
    ()
    """
    value = _decoded(value)
    listed = [value] if isinstance(value, Mapping) else value
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes):
        return ()
    found = [_tool(_decoded(one)) for one in listed]
    return tuple(one for one in found if one is not None) if all(found) else ()


def _tool(tool: Any) -> dict[str, Any] | None:
    if not isinstance(tool, Mapping):
        return None
    function = tool["function"] if isinstance(tool.get("function"), Mapping) else tool
    schemas = ("parameters", "input_schema", "inputSchema")
    # An object with only a name is not a function: a column called tools may hold hammers.
    if not isinstance(function.get("name"), str) or not (function is not tool or set(schemas) & function.keys()):
        return None
    cleaned = without_nulls(function, keep=frozenset({"default", "const"}))
    for other in schemas[1:]:
        if other in cleaned:
            cleaned["parameters"] = cleaned.pop(other)
    return {"type": "function", "function": cleaned}


def without_nulls(value: Any, keep: frozenset[str] = frozenset()) -> Any:
    """The value without null keys in its objects, except those in ``keep``.

    Columnar files give every object in a column the same keys, with null for the missing ones.

    >>> without_nulls({"city": "Paris", "unit": None, "days": [1, None]})
    {'city': 'Paris', 'days': [1, None]}
    """
    if isinstance(value, Mapping):
        return {
            str(name): without_nulls(cell, keep) for name, cell in value.items() if cell is not None or name in keep
        }
    return [without_nulls(cell, keep) for cell in value] if isinstance(value, list) else value


def strings_in(value: Any) -> Iterator[str]:
    """Every text in a value, keys of objects too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, cell in value.items():
            yield str(name)
            yield from strings_in(cell)
    elif isinstance(value, list | tuple):
        for cell in value:
            yield from strings_in(cell)
