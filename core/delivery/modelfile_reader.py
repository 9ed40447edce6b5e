"""Parses a Modelfile like Ollama does, because its HTTP API takes the parts instead of the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

THREE = '"""'


def instructions(text: str) -> list[tuple[str, str]]:
    """Every instruction with its argument, without quotes. Ollama has no escapes inside them.

    >>> instructions('FROM ./a.gguf\\n# why\\nSYSTEM \"\"\"two\\nlines\"\"\"\\nPARAMETER stop "<end>"')
    [('FROM', './a.gguf'), ('SYSTEM', 'two\\nlines'), ('PARAMETER', 'stop "<end>"')]
    """
    found = []
    lines = iter(text.split("\n"))
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if not word or word.startswith("#"):
            continue
        rest = rest.strip()
        quoted = (word.upper() == "MESSAGE" and THREE in rest) or rest.startswith(THREE)
        while quoted and rest.count(THREE) < 2:
            rest += "\n" + next(lines, THREE)
        found.append((word.upper(), rest if word.upper() in {"PARAMETER", "MESSAGE"} else unquoted(rest)))
    return found


def unquoted(text: str) -> str:
    """Text without the quotes around it."""
    for quote in (THREE, '"'):
        if len(text) >= 2 * len(quote) and text.startswith(quote) and text.endswith(quote):
            return text[len(quote) : -len(quote)]
    return text


def create_fields(text: str) -> dict[str, Any]:
    """A Modelfile's fields of a create request; FROM and ADAPTER are left to the caller.

    >>> create_fields('PARAMETER stop "<a>"\\nPARAMETER stop "<b>"\\nPARAMETER temperature 0.7')
    {'parameters': {'stop': ['<a>', '<b>'], 'temperature': 0.7}}
    """
    fields: dict[str, Any] = {}
    for word, rest in instructions(text):
        if word in {"TEMPLATE", "SYSTEM"}:
            fields[word.lower()] = rest
        elif word == "LICENSE":
            fields.setdefault("license", []).append(rest)
        elif word == "PARAMETER":
            name, _, value = rest.partition(" ")
            parameters = fields.setdefault("parameters", {})
            if name == "stop":
                parameters.setdefault(name, []).append(unquoted(value.strip()))
            else:
                parameters[name] = _value(unquoted(value.strip()))
        elif word == "MESSAGE":
            role, _, content = rest.partition(" ")
            fields.setdefault("messages", []).append({"role": role, "content": unquoted(content.strip())})
    return fields


def modelfile_for(folder: Path, file: str) -> str:
    """The Modelfile in an export that names a file, else the only one; '' if there is none."""
    texts = [path.read_text("utf-8") for path in sorted(folder.glob("Modelfile*")) if path.is_file()]
    named = [text for text in texts if any(rest.endswith(file) for word, rest in instructions(text) if word in _FILES)]
    return (named or texts or [""])[0]


_FILES = {"FROM", "ADAPTER"}


def _value(text: str) -> bool | int | float | str:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
