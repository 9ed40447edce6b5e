"""Modelfiles: the template equals the model's own, or there is none."""

from __future__ import annotations

import pytest

from core.data.prompts import render
from core.training.modelfile import PROBE, Family, modelfile, quoted, recognise

LOOP = "{% for message in messages %}"
SMOLLM2 = (
    LOOP
    + "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant"
    " named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' +"
    " message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}" + LOOP + "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{% if message['role'] == 'system' %}{{ 'Cutting Knowledge Date: December 2023\n' }}"
    "{{ 'Today Date: ' + strftime_now('%d %b %Y') + '\n\n' }}{% endif %}{{ message['content'] + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}"
    "{{ bos_token }}{% for message in loop_messages %}{% if message['role'] == 'user' %}"
    "{% if loop.last and system is defined %}{{ '[INST] ' + system + '\n\n' + message['content'] + '[/INST]' }}"
    "{% else %}{{ '[INST] ' + message['content'] + '[/INST]' }}{% endif %}"
    "{% else %}{{ ' ' + message['content'] + '</s>' }}{% endif %}{% endfor %}"
)
PHI4_MINI = (
    LOOP + "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}{{ '<|assistant|>' }}"
)
PHI4 = (
    LOOP + "{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>' }}{% endfor %}"
    "{{ '<|im_start|>assistant<|im_sep|>' }}"
)
KNOWN = {
    "ChatML (SmolLM2, Qwen)": SMOLLM2, "Llama 3": LLAMA3, "Mistral": MISTRAL, "Phi-4 mini": PHI4_MINI, "Phi-4": PHI4,
}  # fmt: skip


def found(template: str) -> Family | None:
    return recognise(lambda messages: render(messages, template, {"bos_token": "<s>", "eos_token": "</s>"}), "<s>")


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_family_is_recognised_by_its_conversations(name: str) -> None:
    """Families are told apart by what their templates write, not by a model's name."""
    family = found(KNOWN[name])
    assert family is not None
    assert family.name == name


def test_one_different_space_is_another_family() -> None:
    """A template that differs in one character gets no TEMPLATE and a comment that says so."""
    assert found(SMOLLM2.replace("<|im_end|>' + '\n'", "<|im_end|>' + ' \n'")) is None
    text = modelfile("model.gguf", None, "", "</s>")
    assert "TEMPLATE " not in text.replace("no TEMPLATE is", "")
    assert "no family" in text
    assert 'PARAMETER stop "</s>"' in text


def test_the_whole_file() -> None:
    """FROM, TEMPLATE, stops once each, and the training's system prompt."""
    text = modelfile("demo-Q4_K_M.gguf", found(SMOLLM2), 'Say """hello""".', "<|im_end|>")
    assert text.startswith("FROM ./demo-Q4_K_M.gguf\n")
    assert text.count('PARAMETER stop "<|im_end|>"') == 1
    assert "SYSTEM \"\"\"Say '''hello'''.\"\"\"" in text
    assert '{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n' in text
    assert text.count('"""') == 4


def test_a_template_has_every_turn_of_the_probe() -> None:
    """The roles of the conversation that was compared are the roles that the template writes."""
    family = found(LLAMA3)
    assert family is not None
    assert all(f'.Role "{message["role"]}"' in family.template() for message in PROBE)
    assert quoted("a") == '"""a"""'
