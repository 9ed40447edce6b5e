"""Ollama's Modelfile: FROM, TEMPLATE, stop tokens, sampling, the training's system prompt, the license.

A template is written only if it is verified for this model: its output for several conversations, with and without a
system prompt, of one turn and of several, must equal that of the model's own chat template, character by character.
Known families have a readable template; for other models one is derived from the chat template's output and verified in
the same way. If neither works, there is no TEMPLATE (Ollama then uses the one in the GGUF) and a comment says so.

The template leaves out what Ollama does by itself: it adds the beginning-of-sequence token, joins consecutive messages
of the same role, and puts the SYSTEM text before a conversation that has no system message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import InvalidInput

Render = Callable[[list[dict[str, str]]], str]
"""The model's own chat template: renders a conversation with the generation prompt."""
Conversation = list[dict[str, str]]


@dataclass(frozen=True)
class Family:
    """The conversation format of one model family.

    Attributes:
        name: Shown in a comment.
        user, assistant: Text before and after a message of that role.
        opening: The generation prompt.
        stops: Tokens that end an answer.
        system: Text before and after the system prompt; None if unsupported.
        place: Where the system prompt goes: in its own ``turn`` at the start, or inside the ``first`` or
            the ``last`` question.
        default: Start of a conversation without a system prompt, such as the vendor's system prompt.
        thinks: Whether an answer may begin with reasoning in ``<think>``, as Qwen3's. Ollama separates it,
            so that it is not in the next prompt, and can disable it: the generation prompt then includes
            empty reasoning.
    """

    name: str
    user: tuple[str, str]
    assistant: tuple[str, str]
    opening: str
    stops: tuple[str, ...]
    system: tuple[str, str] | None = None
    place: str = "turn"
    default: str = ""
    thinks: bool = False

    def conversation(self, messages: Conversation) -> str:
        """The prompt that Ollama renders for these messages with :meth:`template`, without the first token."""
        system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
        if system and self.system is None:
            raise InvalidInput("This family does not support system prompts.")
        given = system.join(self.system) if system and self.system else ""
        asked = [place for place, message in enumerate(messages) if message["role"] == "user"]
        inside = {"first": asked[0], "last": asked[-1]}.get(self.place)
        parts = [self.default if not system else given if inside is None else ""]
        for place, message in enumerate(messages):
            if message["role"] != "system":
                before, after = self.user if message["role"] == "user" else self.assistant
                parts += [before, given if place == inside else "", message["content"], after]
        return "".join(parts) + self.opening

    def template(self) -> str:
        """In Go's template language, with exactly the family's line breaks."""
        user, assistant = ([_literal(part) for part in turn] for turn in (self.user, self.assistant))
        return (
            self._head()
            + '{{ range $index, $_ := .Messages }}{{ if eq .Role "user" }}'
            + user[0]
            + self._inside()
            + "{{ .Content }}"
            + user[1]
            + '{{ else if eq .Role "assistant" }}'
            + assistant[0]
            + ("{{ if and .Thinking (not .Content) }}<think>{{ .Thinking }}</think>{{ end }}" if self.thinks else "")
            + "{{ .Content }}"
            + assistant[1]
            + "{{ end }}{{ end }}"
            + _literal(self.opening)
            + ("{{ if and .IsThinkSet (not .Think) }}<think>\n\n</think>\n\n{{ end }}" if self.thinks else "")
        )

    def _system(self) -> str:
        before, after = self.system or ("", "")
        return _literal(before) + "{{ $.System }}" + _literal(after)

    def _head(self) -> str:
        if self.place == "turn" and self.system:
            other = "{{ else }}" + _literal(self.default) if self.default else ""
            return "{{ if .System }}" + self._system() + other + "{{ end }}"
        start = "{{ $first := true }}" if self.place == "first" else ""
        return start + ("{{ if not .System }}" + _literal(self.default) + "{{ end }}" if self.default else "")

    def _inside(self) -> str:
        if not self.system or self.place == "turn":
            return ""
        if self.place == "last":
            return "{{ if and (eq (len (slice $.Messages $index)) 1) $.System }}" + self._system() + "{{ end }}"
        return "{{ if and $first $.System }}" + self._system() + "{{ end }}{{ $first = false }}"


def _literal(text: str) -> str:
    """Text escaped for a template, where two braces would begin an action."""
    return text.replace("{{", '{{ "{{" }}')


def _uniform(name: str, before: str, after: str, stops: tuple[str, ...]) -> Family:
    user, assistant = (before.format(role=role) for role in ("user", "assistant"))
    return Family(name, (user, after), (assistant, after), assistant, stops)


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
"""How each opens and closes a turn. The text before the first turn comes from the model's own template."""
MARKERS = {"Mistral": ("[INST]", "[/INST]"), "Gemma": ("<start_of_turn>", "<end_of_turn>")}
"""Stop tokens of derived families, by name; the first one identifies the family."""

SYSTEM, *QUESTIONS = ("SYSTEM-TEXT", "FIRST-QUESTION", "SECOND-QUESTION", "THIRD-QUESTION")
ANSWERS = ("FIRST-ANSWER", "SECOND-ANSWER")
THOUGHT = "<think>\nA-THOUGHT\n</think>\n\n"


def _asked(turns: int, *, system: bool = False, thought: str = "") -> Conversation:
    found = [{"role": "system", "content": SYSTEM}] if system else []
    for turn in range(turns):
        found.append({"role": "user", "content": QUESTIONS[turn]})
        if turn + 1 < turns:
            found.append({"role": "assistant", "content": thought + ANSWERS[turn]})
    return found


PROBES = tuple(_asked(turns, system=system) for system in (False, True) for turns in (1, 2, 3))
"""Conversations for checking a template: with and without a system prompt, with one, two and three questions."""


def recognise(render: Render, first_token: str) -> Family | None:
    """The family that renders conversations like the model's own template, one derived from that template, or None.

    Args:
        render: The model's chat template. It may reject a system prompt; then none is written.
        first_token: Its beginning-of-sequence token, which Ollama adds itself.
    """
    truths = [_rendered(render, probe) for probe in PROBES]
    if truths[1] is None:
        return None
    if first_token and truths[1].count(first_token) == 1:  # more often: part of every turn
        truths = [truth.removeprefix(first_token) if truth is not None else None for truth in truths]
    thinks = _drops_thoughts(render)
    for family in (*FAMILIES, *_derived(truths)):
        whole = _with_head(family, truths)
        if whole and _proved(whole, truths):
            return replace(whole, thinks=thinks and family is FAMILIES[0])
    return None


def _rendered(render: Render, messages: Conversation) -> str | None:
    try:
        return render(messages)
    except InvalidInput:
        return None


def _proved(family: Family, truths: list[str | None]) -> bool:
    known = [(probe, truth) for probe, truth in zip(PROBES, truths, strict=True) if truth is not None]
    if family.system is None:
        known = [(probe, truth) for probe, truth in known if probe[0]["role"] != "system"]
    return all(family.conversation(probe) == truth for probe, truth in known)


def _with_head(family: Family, truths: list[str | None]) -> Family | None:
    """With the text before the first question in the model's own template: default, system turn."""
    bare, asked = truths[0] or "", family.conversation(PROBES[0])
    if not bare.endswith(asked):
        return None
    family = replace(family, default=bare.removesuffix(asked))
    with_system = truths[3]
    if with_system is None or family.system:
        return family
    before, found, rest = with_system.partition(SYSTEM)
    if not found or not rest.endswith(asked):
        return None
    return replace(family, system=(before, rest.removesuffix(asked)))


def _derived(truths: list[str | None]) -> list[Family]:
    """Families derived from the model's own template, one for each possible position of the system prompt."""
    one, two = truths[0] or "", truths[1] or ""
    question, answer, second = QUESTIONS[0], ANSWERS[0], QUESTIONS[1]
    shape = re.fullmatch(f"(.*){question}(.*){answer}(.*){second}(.*)", two, re.DOTALL)
    if not shape or not one.endswith(shape[4]):
        return []
    head, between, again, tail = shape.groups()
    # Text after a question belongs to it as far as it is the same before an answer and at the end.
    after = tail if between.startswith(tail) else ""
    opening = tail.removeprefix(after)
    # The head may contain a default system prompt; the question's own part recurs before the second one.
    before = _common_end(head, again)
    name = next((name for name, marks in MARKERS.items() if marks[0] in two), "Derived from the chat template")
    plain = Family(
        name=name,
        user=(before, after),
        assistant=(between.removeprefix(after), again.removesuffix(before)),
        opening=opening,
        stops=MARKERS.get(name, ()),
    )
    if not after and between != opening:
        return []
    to_system, _, rest = (truths[4] or "").partition(SYSTEM)
    lead = to_system.rpartition(before)[2] if before in to_system else to_system
    placed = {"first": rest.partition(question), "last": rest.partition(second)}
    inside = [replace(plain, system=(lead, part[0]), place=place) for place, part in placed.items() if part[1]]
    return [*inside, plain]


def _common_end(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[-length - 1] == other[-length - 1]:
        length += 1
    return one[len(one) - length :]


def _drops_thoughts(render: Render) -> bool:
    """Whether the chat template omits the reasoning of earlier answers, as Qwen3's does."""
    with_thought = _rendered(render, _asked(2, thought=THOUGHT))
    return with_thought is not None and with_thought == _rendered(render, _asked(2))


PARAMETERS = frozenset(
    {"num_ctx", "num_predict", "repeat_last_n", "repeat_penalty", "temperature", "seed", "top_k", "top_p", "min_p"}
)
"""Sampling settings that Modelfiles support."""


def modelfile(
    file_name: str,
    family: Family | None,
    system: str,
    end_token: str,
    *,
    parameters: Mapping[str, float | int] | None = None,
    licence: str = "",
    adapter: str = "",
) -> str:
    """The whole Modelfile.

    Args:
        file_name: The GGUF beside it.
        family: As recognized, or None.
        system: The training's system prompt; empty for none.
        end_token: The model's end-of-sequence token, always a stop.
        parameters: Sampling settings by Ollama's names.
        licence: Its text or name; empty if unknown.
        adapter: File name of a GGUF adapter beside it that is applied to the model.

    Raises:
        InvalidInput: A parameter that Ollama does not have.
    """
    unknown = sorted(set(parameters or {}) - PARAMETERS)
    if unknown:
        raise InvalidInput(f"Modelfiles have no parameter {unknown[0]}.", field="parameters")
    lines = [f"FROM ./{file_name}"]
    lines += [f"ADAPTER ./{adapter}", ""] if adapter else [""]
    lines += _template_lines(family)
    stops = dict.fromkeys([*([end_token] if end_token else []), *(family.stops if family else ())])
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops]
    lines += [f"PARAMETER {name} {value:g}" for name, value in (parameters or {}).items()]
    if system.strip():
        lines += ["", f"SYSTEM {quoted(system)}"]
    if licence.strip():
        lines += ["", f"LICENSE {quoted(licence.strip())}"]
    return "\n".join(lines) + "\n"


def _template_lines(family: Family | None) -> list[str]:
    if family is None:
        return [
            "# This model's chat template belongs to no known family, and none could be derived, so none is set here.",
            "# If possible, Ollama uses the chat template in the GGUF. Test an answer before you use the model.",
            "",
        ]
    lines = [f"# Family: {family.name}. Compared with the model's own chat template."]
    if "Today Date:" in family.default:
        lines.append("# The model's own chat template inserts today's date; here it is the date of the export.")
    return [*lines, f"TEMPLATE {quoted(family.template())}", ""]


def quoted(text: str) -> str:
    """Text in triple quotes, a Modelfile's form of multi-line text.

    Triple quotes inside cannot be escaped, so they become single ones.
    """
    return '"""' + text.replace('"""', "'''") + '"""'


def licence_of(folder: Path) -> str:
    """A model folder's license: the text of its LICENSE file, else the name in its README, else empty."""
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"):
        file = folder / name
        if file.is_file():
            return file.read_text("utf-8", errors="replace")
    readme = folder / "README.md"
    text = readme.read_text("utf-8", errors="replace")[:20_000] if readme.is_file() else ""
    front = re.search(r"\A---\n.*?^licen[sc]e(?:_name)?:\s*(\S[^\n]*)$.*?^---$", text, re.DOTALL | re.MULTILINE)
    spoken = re.search(r"\blicen[sc]e[ :]+([A-Z][\w.-]*\d[\w.-]*)", text)
    found = front or spoken
    return found[1].strip().strip("'\"") if found else ""


def sampling_of(folder: Path) -> dict[str, float | int]:
    """Sampling settings for a Modelfile: those recommended in a model's folder, else temperature 0.

    With temperature 0 Ollama decodes greedily, as for the scored held-out answers; its default is 0.8.
    """
    file = folder / "generation_config.json"
    given = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    names = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}
    names["repetition_penalty"] = "repeat_penalty"
    found = {new: given[old] for old, new in names.items() if isinstance(given.get(old), int | float)}
    return found if "temperature" in found else {"temperature": 0, **found}
