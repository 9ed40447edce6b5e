"""Ollama's Modelfile: FROM, TEMPLATE, stop tokens and the system prompt of the training.

A family's template is written only if it is proved right for this very model: the conversation that
it would produce is compared, character by character, with what the model's own chat template makes.
A model of no known family gets no TEMPLATE (Ollama then reads the one in the GGUF) and a comment
that says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Render = Callable[[list[dict[str, str]]], str]
"""The model's own chat template: a conversation as text, with the answer's turn opened."""


@dataclass(frozen=True)
class Family:
    """How one family writes a conversation.

    Attributes:
        name: For the comment.
        turns: Text before and after a message, by role.
        opening: What opens the answer's turn.
        stops: Tokens that end an answer.
    """

    name: str
    turns: Mapping[str, tuple[str, str]]
    opening: str
    stops: tuple[str, ...]

    def conversation(self, messages: list[dict[str, str]]) -> str:
        """What Ollama would send for these messages with :meth:`template`, without the first token."""
        return "".join(message["content"].join(self.turns[message["role"]]) for message in messages) + self.opening

    def template(self) -> str:
        """In Go's template language. Line breaks are kept where the family has them, and nowhere else."""
        parts = []
        for place, (role, (before, after)) in enumerate(self.turns.items()):
            word = "if" if place == 0 else "else if"
            parts.append(f'{{{{ {word} eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}')
        return "{{ range .Messages }}" + "".join(parts) + "{{ end }}{{ end }}" + self.opening


def _uniform(name: str, before: str, after: str, stops: tuple[str, ...]) -> Family:
    roles = ("system", "user", "assistant")
    turns = {role: (before.format(role=role), after) for role in roles}
    return Family(name, turns, before.format(role="assistant"), stops)


FAMILIES = (
    _uniform("ChatML (SmolLM2, Qwen)", "<|im_start|>{role}\n", "<|im_end|>\n", ("<|im_start|>", "<|im_end|>")),
    _uniform(
        "Llama 3",
        "<|start_header_id|>{role}<|end_header_id|>\n\n",
        "<|eot_id|>",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    _uniform("Phi-4", "<|im_start|>{role}<|im_sep|>", "<|im_end|>", ("<|im_start|>", "<|im_end|>", "<|im_sep|>")),
    _uniform("Phi-4 mini", "<|{role}|>", "<|end|>", ("<|end|>", "<|user|>", "<|assistant|>")),
    _uniform("Phi-3", "<|{role}|>\n", "<|end|>\n", ("<|end|>", "<|user|>", "<|assistant|>")),
)

MISTRAL_STOPS = ("[INST]", "[/INST]", "</s>")
LLAMA_DATES = re.compile(r"Cutting Knowledge Date: [^\n]*\nToday Date: [^\n]*\n\n")
"""Llama 3.1 and later put today's date before the system prompt; an exported file has no such date."""

PROBE = [
    {"role": "system", "content": "SYSTEM-TEXT"},
    {"role": "user", "content": "FIRST-QUESTION"},
    {"role": "assistant", "content": "FIRST-ANSWER"},
    {"role": "user", "content": "SECOND-QUESTION"},
]


def recognise(render: Render, first_token: str) -> Family | None:
    """The family whose conversations equal the model's own, or None.

    Args:
        render: The model's chat template.
        first_token: Its beginning-of-sequence token: Ollama puts it there by itself.
    """
    truth = LLAMA_DATES.sub("", render(PROBE)).removeprefix(first_token)
    plain = next((family for family in FAMILIES if family.conversation(PROBE) == truth), None)
    return plain or _mistral(truth)


def _mistral(truth: str) -> Family | None:
    # Mistral's families differ in their spaces and put the system prompt before the last question, so
    # the spaces are read off the model's own rendering and the whole is compared again.
    found = re.fullmatch(
        r"\[INST\]( ?)FIRST-QUESTION( ?)\[/INST\]( ?)FIRST-ANSWER( ?)</s>(?:<s>)?"
        r"\[INST\]\1SYSTEM-TEXT\n\nSECOND-QUESTION\2\[/INST\]",
        truth,
    )
    if not found:
        return None
    a, b, c, d = found.groups()
    return _Mistral("Mistral", {"user": (f"[INST]{a}", f"{b}[/INST]"), "assistant": (c, f"{d}</s>")}, "", MISTRAL_STOPS)


class _Mistral(Family):
    def template(self) -> str:
        before, after = self.turns["user"]
        answer, end = self.turns["assistant"]
        last = "{{ if and (eq (len (slice $.Messages $index)) 1) $.System }}{{ $.System }}\n\n{{ end }}"
        return (
            '{{ range $index, $_ := .Messages }}{{ if eq .Role "user" }}'
            + before
            + last
            + "{{ .Content }}"
            + after
            + '{{ else if eq .Role "assistant" }}'
            + answer
            + "{{ .Content }}"
            + end
            + "{{ end }}{{ end }}"
        )


def modelfile(file_name: str, family: Family | None, system: str, end_token: str) -> str:
    """The whole Modelfile.

    Args:
        file_name: Of the GGUF beside it.
        family: As recognised, or None.
        system: The training's system prompt; empty for none.
        end_token: The model's end-of-sequence token, always a stop.
    """
    lines = [f"FROM ./{file_name}", ""]
    if family:
        lines.append(f"# Family: {family.name}. Compared with the model's own chat template.")
        lines += [f"TEMPLATE {quoted(family.template())}", ""]
    else:
        lines += [
            "# This model's way of writing a conversation belongs to no family that is known here, so no TEMPLATE is",
            "# given: Ollama uses the chat template inside the GGUF where it can read it. Try an answer before use.",
            "",
        ]
    stops = dict.fromkeys([*([end_token] if end_token else []), *(family.stops if family else ())])
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops]
    if system.strip():
        lines += ["", f"SYSTEM {quoted(system)}"]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Text between three quotes, as a Modelfile holds more than one line.

    There is no escape for three quotes inside, so there they become single ones.
    """
    return '"""' + text.replace('"""', "'''") + '"""'
