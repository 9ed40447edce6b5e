"""What the model sees: system prompt, messages, and the string that a chat template renders from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro

from core.config import DEFAULT_SYSTEM_PROMPT, DatasetSection
from core.data.conversation import Conversation
from core.data.rows import is_text
from core.data.template_limits import LimitedEnvironment, budget
from core.errors import InvalidInput
from core.reward import THOUGHTS

MAX_RENDERED = 2_000_000
"""Characters. A template that renders more from a few messages is broken or hostile."""
MOST_INDENT = 64

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '' if message.role == 'system' else ('Question: ' if message.role == 'user' else 'Answer: ') }}"
    "{{ message.content }}{{ eos_token if message.role == 'assistant' else '' }}\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:' }}{% endif %}"
)
"""For a model without a chat template, such as one that was never trained to chat."""

_MARKERS = ("reasoning_start", "reasoning_end", "solution_start", "solution_end")


def system_prompt(dataset: DatasetSection) -> str:
    """The system prompt with the markers filled in; other braces are unchanged."""
    text = DEFAULT_SYSTEM_PROMPT if dataset.system_prompt is None else dataset.system_prompt
    for name in _MARKERS:
        text = text.replace("{" + name + "}", getattr(dataset, name))
    return text


def conversation(row: Mapping[str, Any], dataset: DatasetSection) -> Conversation:
    """The prompt of one row: its own conversation, or its question alone.

    The configuration's system prompt comes first, then the row's own, in the same message. An empty one adds
    nothing. A plain text has no prompt, so its conversation is empty.
    """
    if is_text(row):
        return Conversation((), as_is=True)
    own = Conversation.of_row(row) or Conversation(({"role": "user", "content": str(row["instruction"])},))
    return own.told(system_prompt(dataset))


def warm_up_target(row: Mapping[str, Any], dataset: DatasetSection, opened: str = "") -> str:
    """The target of the warm-up: reasoning, if the reference has any, and solution, in markers.

    If a rule extracted the reference from a longer text, the text is the reasoning. In a reference like GSM8K's, the
    reasoning is before ``####`` and the solution after it; calculator annotations (``<<48/2=24>>``) are left out. A
    reference without reasoning gets reasoning markers only if the system prompt asks for them. A plain text is its own
    target.

    Args:
        opened: The opening marker at the end of the prompt (:func:`core.reward.opened_by`). It is not
            repeated, and the reasoning that it opens is always closed.

    >>> warm_up_target({"response": "48 + 24 = <<48+24=72>>72\\n#### 72"}, DatasetSection(source="x"))
    '<start_working_out>48 + 24 = 72<end_working_out><SOLUTION>72</SOLUTION>'
    >>> thinks = DatasetSection(source="x", reasoning_start="<think>", reasoning_end="</think>")
    >>> warm_up_target({"response": "48 + 24 = 72\\n#### 72"}, thinks, "<think>\\n")
    '48 + 24 = 72</think><SOLUTION>72</SOLUTION>'
    """
    if is_text(row):
        return str(row["response"])
    full = str(row.get("full_response") or row["response"])
    before, found, solution = full.rpartition("####")
    working = before if found else full if row.get("full_response") else ""
    if row.get("full_response"):
        solution = str(row["response"])
    working = _without_notes(working).strip()
    target = f"{dataset.solution_start}{solution.strip()}{dataset.solution_end}"
    asked = bool(dataset.reasoning_start) and dataset.reasoning_start in system_prompt(dataset)
    begun = opened.strip()
    if begun and begun == dataset.reasoning_start:
        return f"{working}{dataset.reasoning_end}{target}"
    if working or asked:
        target = f"{dataset.reasoning_start}{working}{dataset.reasoning_end}{target}"
    return f"{dict(THOUGHTS).get(begun, '')}\n\n{target}" if begun else target


def _without_notes(text: str) -> str:
    while (start := text.find("<<")) >= 0 and (end := text.find(">>", start)) >= 0:
        text = text[:start] + text[end + 2 :]
    return text


def read_chat_template(folder: Path) -> tuple[str | None, dict[str, str]]:
    """A model folder's chat template and special tokens.

    Args:
        folder: With ``tokenizer_config.json``, and ``chat_template.jinja`` in newer models, which takes precedence.

    Returns:
        The template, or None if the model has none; and special tokens such as ``eos_token``.

    Raises:
        InvalidInput: A file is not readable JSON.
    """
    config = read_object(folder / "tokenizer_config.json")
    special = {**_special(read_object(folder / "special_tokens_map.json")), **_special(config)}
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text("utf-8"), special
    template = config.get("chat_template")
    if isinstance(template, list):  # several named ones: 'default' is the one for chat
        named = {item.get("name"): item.get("template") for item in template if isinstance(item, dict)}
        template = named.get("default")
    return (template if isinstance(template, str) else None), special


def render(
    messages: Sequence[Mapping[str, Any]],
    chat_template: str | None,
    special: Mapping[str, str],
    *,
    add_generation_prompt: bool = True,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """Render messages with a chat template, in the sandbox and with the options that transformers uses.

    To prompt a model use :func:`core.data.chat_template.show`, which makes up for what a template lacks.

    Args:
        messages: ``[{"role", "content"}]``.
        tools: Schemas of functions that the model may call.
        chat_template: None for :data:`PLAIN_TEMPLATE`.
        special: Special tokens by name.

    Raises:
        InvalidInput: The template is broken, rejects the messages, or exceeds its limits.
    """
    values = {
        **special,
        "messages": messages,
        "add_generation_prompt": add_generation_prompt,
        "tools": tools,
        "documents": None,
    }
    values.setdefault("eos_token", "")
    try:
        pieces, size = [], 0
        template = _compile(chat_template or PLAIN_TEMPLATE)
        with budget():
            for piece in template.generate(values):
                size += len(piece)
                if size > MAX_RENDERED:
                    raise InvalidInput(
                        "The model's chat template produces endless text. Use another model.", field="model.name"
                    )
                pieces.append(piece)
    except InvalidInput:
        raise
    except (
        TemplateError,
        TypeError,
        ValueError,
        LookupError,
        ArithmeticError,
        AttributeError,
        RecursionError,
        MemoryError,
    ) as error:
        raise InvalidInput(
            f"The model's chat template cannot show this conversation: {error}", field="model.name"
        ) from error
    return "".join(pieces)


class _Generation(Extension):
    """``{% generation %}`` marks what the assistant wrote; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own interface

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_inside"), [], [], body).set_lineno(line)

    @staticmethod
    def _inside(caller: Macro) -> str:
        return str(caller())


@lru_cache(maxsize=32)
def _compile(template: str) -> Any:
    environment = LimitedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.add_filter("tojson", _tojson)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment.from_string(template)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    # Jinja's own filter escapes for HTML, which would corrupt a prompt.
    if isinstance(indent, str) or (indent or 0) > MOST_INDENT:
        raise TemplateError(f"it indents by more than {MOST_INDENT}")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> str:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object in a model's folder; empty if the file is missing or is not an object."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InvalidInput(f"Cannot read {path.name} in the model's folder: {error}", field="model.name") from error
    return data if isinstance(data, dict) else {}


def _special(config: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, value in config.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found
