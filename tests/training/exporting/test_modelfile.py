"""Modelfiles: the template, as Go renders it, equals the model's own, or there is none."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trl

from core.data.prompts import read_chat_template, render
from core.errors import InvalidInput
from core.settings import PROJECT
from core.training.exporting.modelfile import Family, licence_of, modelfile, quoted, recognise, sampling_of
from tests.training.worker_runs import REAL, needs_model

PUBLIC = Path(trl.__file__).with_name("chat_templates")
"""The vendors' published chat templates, as shipped by TRL."""
MISTRAL_START = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}"
    "{{ bos_token }}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}"
)
MISTRAL = (
    MISTRAL_START + "{% if message['role'] == 'user' %}"
    "{% if loop.last and system is defined %}{{ '[INST] ' + system + '\n\n' + message['content'] + '[/INST]' }}"
    "{% else %}{{ '[INST] ' + message['content'] + '[/INST]' }}{% endif %}"
    "{% else %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_OLD = (
    MISTRAL_START + "{% if message['role'] == 'user' %}"
    "{% if loop.first and system is defined %}{{ ' [INST] ' + system + '\n\n' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' [INST] ' + message['content'] + ' [/INST]' }}{% endif %}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
PHI4_MINI = (
    "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not "
    "none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + "
    "'<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI4 = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] }}"
    "{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou "
    "are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML, LLAMA3 = "ChatML (SmolLM2, Qwen)", "Llama 3"
KNOWN: dict[str, tuple[str, str, str]] = {
    "SmolLM2": (CHATML, SMOLLM2, "<|im_start|>"),
    "Qwen3": (CHATML, "qwen3", ""),
    "Qwen3 2507": (CHATML, "qwen3_instruct_2507", ""),
    "Qwen2.5": (CHATML, "qwen2_5", ""),
    "Llama 3": (LLAMA3, "llama3", "<|begin_of_text|>"),
    "Llama 3.1": (LLAMA3, "llama3_1", "<|begin_of_text|>"),
    "Llama 3.2": (LLAMA3, "llama3_2", "<|begin_of_text|>"),
    "Mistral 7B v0.3": ("Mistral", MISTRAL, "<s>"),
    "Mistral 7B v0.2": ("Mistral", MISTRAL_OLD, "<s>"),
    "Ministral": ("Mistral", MISTRAL.replace("[INST] ", "[INST]").replace("{{ ' ' + ", "{{ "), "<s>"),
    "Phi-3": ("Phi-3", "phi3", "<s>"),
    "Phi-3.5": ("Phi-3", "phi3_5", "<s>"),
    "Phi-4": ("Phi-4", PHI4, ""),
    "Phi-4 mini": ("Phi-4 mini", PHI4_MINI, ""),
    "Gemma": ("Gemma", "gemma3", "<bos>"),
}
"""Name: its family, its chat template (or the name of TRL's file), its first token."""

SYSTEM = {"role": "system", "content": 'Give the result between <SOLUTION> and </SOLUTION>.\nBe "brief".'}
TURNS = [
    {"role": "user", "content": "What is 2 + 3?"},
    {"role": "assistant", "content": "<SOLUTION>5</SOLUTION>"},
    {"role": "user", "content": "And {twice} 'that'?\n\nIn words: {{ .Content }}"},
    {"role": "assistant", "content": "ten"},
    {"role": "user", "content": "Zehn \u2013 auf Deutsch"},
]
CONVERSATIONS = [TURNS[:1], [SYSTEM, *TURNS[:1]], TURNS[:3], [SYSTEM, *TURNS[:3]], TURNS, [SYSTEM, *TURNS]]
Go = Callable[..., list[str]]


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Go:
    """Renders conversations with Go's own template package, as Ollama does."""
    if not shutil.which("go"):
        pytest.skip("Go is not installed (apt install golang): templates are not compared with Go's own rendering")
    program = tmp_path_factory.mktemp("go") / "render"
    source = PROJECT / "tests" / "support" / "go_template"
    subprocess.run(["go", "build", "-o", str(program), "."], cwd=source, check=True)

    def rendered(template: str, conversations: Sequence[Any], think: bool | None = None) -> list[str]:
        asked = json.dumps({"template": template, "conversations": conversations, "think": think})
        done = subprocess.run([str(program)], input=asked, capture_output=True, text=True, check=True)
        texts: list[str] = json.loads(done.stdout)
        return texts

    return rendered


def own(name: str) -> tuple[Callable[[list[dict[str, str]]], str], str]:
    """A family's chat template as a function, and its first token."""
    _, template, first = KNOWN[name]
    text = template if "{" in template else (PUBLIC / f"{template}.jinja").read_text("utf-8")
    return lambda messages: render(messages, text, {"bos_token": first, "eos_token": "</s>"}), first


def found(template: str, first: str = "<s>") -> Family | None:
    return recognise(lambda messages: render(messages, template, {"bos_token": first, "eos_token": "</s>"}), first)


def rendered_by_its_own(name: str) -> list[str]:
    """What Ollama should send: the chat template's text without the first token, which Ollama adds."""
    write, first = own(name)
    texts = [write(conversation) for conversation in CONVERSATIONS]
    return [text if name == "SmolLM2" else text.removeprefix(first) for text in texts]


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_family_is_recognized_by_its_conversations(name: str) -> None:
    """Families are told apart by their templates' output, not by a model's name."""
    family = recognise(*own(name))
    assert family is not None
    assert family.name == KNOWN[name][0]
    assert [family.conversation(one) for one in CONVERSATIONS] == rendered_by_its_own(name)


@pytest.mark.parametrize("name", KNOWN)
def test_go_renders_the_template_as_the_model_s_own_does(name: str, go: Go) -> None:
    """With and without a system prompt, one turn and several: Ollama sends the text used in training."""
    family = recognise(*own(name))
    assert family is not None
    assert go(family.template(), CONVERSATIONS) == rendered_by_its_own(name)


@needs_model
def test_go_renders_the_built_in_model_s_template(go: Go) -> None:
    """Its first token opens every turn, so it stays; the default system prompt is the model's own."""
    template, special = read_chat_template(REAL)
    family = recognise(lambda messages: render(messages, template, special), special["bos_token"])
    assert family is not None
    assert go(family.template(), CONVERSATIONS) == [render(one, template, special) for one in CONVERSATIONS]


def test_thoughts_can_be_switched_off(go: Go) -> None:
    """Qwen3's turn then starts with empty thoughts, as in its own template; otherwise without."""
    family = recognise(*own("Qwen3"))
    assert family is not None
    assert family.thinks
    text = "{% set enable_thinking = false %}" + (PUBLIC / "qwen3.jinja").read_text("utf-8")
    assert go(family.template(), CONVERSATIONS, False) == [render(one, text, {}) for one in CONVERSATIONS]
    assert go(family.template(), CONVERSATIONS, True) == rendered_by_its_own("Qwen3")
    assert not any(family.thinks for name in ("SmolLM2", "Llama 3.2") if (family := recognise(*own(name))))


def test_an_earlier_answer_s_thoughts_are_left_out(go: Go) -> None:
    """Ollama keeps them separate, Qwen3's own template drops them: the next prompt is the same."""
    family = recognise(*own("Qwen3"))
    assert family is not None
    text = own("Qwen3")[0]
    inside = [TURNS[0], {"role": "assistant", "content": "<think>\nadd\n</think>\n\n5"}, TURNS[2]]
    apart = [TURNS[0], {"role": "assistant", "content": "5", "thinking": "add"}, TURNS[2]]
    assert go(family.template(), [apart]) == [text(inside)]


def test_a_template_of_no_family_is_derived_and_verified() -> None:
    """An extra space makes it another family; its output is derived and verified."""
    template = SMOLLM2.replace("<|im_end|>' + '\n'", "<|im_end|>' + ' \n'")
    family = found(template, "<|im_start|>")
    assert family is not None
    assert family.name == "Derived from the chat template"
    special = {"bos_token": "<|im_start|>"}
    assert [family.conversation(one) for one in CONVERSATIONS] == [
        render(one, template, special) for one in CONVERSATIONS
    ]


def test_a_template_that_counts_gets_none() -> None:
    """Output that depends on a turn's position has no equivalent, so the Modelfile says that it has no TEMPLATE."""
    assert found("{% for message in messages %}{{ loop.index }}: {{ message.content }}\n{% endfor %}") is None
    text = modelfile("model.gguf", None, "", "</s>")
    assert "TEMPLATE " not in text
    assert "no known family" in text
    assert 'PARAMETER stop "</s>"' in text


def test_the_whole_file() -> None:
    """FROM, TEMPLATE, unique stops, sampling, the training's system prompt, the license."""
    text = modelfile(
        "demo-Q4_K_M.gguf", found(SMOLLM2), 'Say """hello""".', "<|im_end|>",
        parameters={"temperature": 0.7, "num_predict": 24}, licence="Apache-2.0",
    )  # fmt: skip
    assert text.startswith("FROM ./demo-Q4_K_M.gguf\n")
    assert text.count('PARAMETER stop "<|im_end|>"') == 1
    assert "PARAMETER temperature 0.7\nPARAMETER num_predict 24\n" in text
    assert "SYSTEM \"\"\"Say '''hello'''.\"\"\"" in text
    assert "{{ if .System }}<|im_start|>system\n{{ $.System }}<|im_end|>\n{{ else }}" in text
    assert text.endswith('LICENSE """Apache-2.0"""\n')
    assert text.count('"""') == 6


def test_an_adapter_and_an_unknown_parameter() -> None:
    """The adapter is next to the model; parameters unknown to Ollama are refused."""
    text = modelfile("base.gguf", None, "", "", adapter="mine.gguf")
    assert text.startswith("FROM ./base.gguf\nADAPTER ./mine.gguf\n")
    with pytest.raises(InvalidInput, match="no parameter warmth"):
        modelfile("base.gguf", None, "", "", parameters={"warmth": 1})


def test_the_date_of_a_template_is_mentioned() -> None:
    """Llama's own template writes today's date; the Modelfile has a fixed one and says so."""
    text = modelfile("a.gguf", recognise(*own("Llama 3.2")), "", "")
    assert "the date of the export" in text
    assert quoted("a") == '"""a"""'


def test_the_license_of_a_folder(tmp_path: Path) -> None:
    """The text of a LICENSE file, or the name in the README, or nothing."""
    assert licence_of(tmp_path) == ""
    (tmp_path / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\ntags: []\n---\n# Model\n")
    assert licence_of(tmp_path) == "apache-2.0"
    (tmp_path / "LICENSE").write_text("All of it.\n")
    assert licence_of(tmp_path) == "All of it.\n"


def test_sampling_is_what_the_model_s_maker_recommends(tmp_path: Path) -> None:
    """Otherwise temperature 0, as used to score the held-out answers."""
    assert sampling_of(tmp_path) == {"temperature": 0}
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6, "top_k": 20, "do_sample": true}')
    assert sampling_of(tmp_path) == {"temperature": 0.6, "top_k": 20}
