"""What the model sees, and what an untrusted chat template cannot do."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from core.config import DatasetSection, ModelSection
from core.data import prompts
from core.data.arithmetic import arithmetic
from core.errors import InvalidInput, Unavailable
from core.settings import PROJECT, Home
from services.datasets import prompts as service

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ODD = """
{%- set ns = namespace(last=0) -%}
{% for message in messages %}
    {% if message.role == 'tool' %}
        {% continue %}
    {% endif %}
    {% set ns.last = loop.index %}
[{{ message.role | upper }}] {{ message.content | trim | tojson }}{{ eos_token }}
    {% generation %}
same
    {% endgeneration %}
    {% if ns.last > 50 %}{% break %}{% endif %}
{% endfor %}
{% if tools is defined and tools %}tools{% endif %}
{% if strftime_now is defined %}{{ strftime_now('%Y') | length }}{% endif %}
"""
TALK = [{"role": "system", "content": " Réponds <b>. "}, {"role": "user", "content": "2 + 2?\n"}]
SPECIAL = {"eos_token": "</s>", "bos_token": "<s>"}


@pytest.mark.parametrize("template", [CHATML, ODD, "{{ bos_token }}{{ messages[1].content }}"])
def test_rendering_is_what_transformers_renders(template: str) -> None:
    """Character for character: white space, tojson without HTML escapes, loop controls, generation blocks."""
    from transformers.utils.chat_template_utils import render_jinja_template

    theirs, _ = render_jinja_template([TALK], chat_template=template, add_generation_prompt=True, **SPECIAL)
    assert prompts.render(TALK, template, SPECIAL) == theirs[0]


def test_the_built_in_models_prompt_matches_its_tokenizer() -> None:
    """The real model's template, special tokens and token count, in two ways."""
    folder = PROJECT / "cache" / "models" / "smollm2-135m-instruct"
    if not (folder / "tokenizer.json").is_file():
        pytest.skip("the built-in model is not installed: run setup")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    dataset = DatasetSection(source="generated:arithmetic")
    found = service.preview(
        Home(PROJECT), ModelSection(name="builtin:smollm2-135m-instruct"), dataset, arithmetic(2, 50)
    )
    assert (found["template"], found["notes"]) == ("model", [])
    for one in found["prompts"]:
        text = tokenizer.apply_chat_template(one["messages"], tokenize=False, add_generation_prompt=True)
        assert one["text"] == text
        assert one["tokens"] == len(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('no system role') }}",
        "{% if %}",
        "{{ messages[99].content }}",
        "{{ 1 / 0 }}",
        "{{ range(10000000) | list }}",
        "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    ],
)
def test_a_broken_or_hostile_template_is_a_clear_error(template: str) -> None:
    """An untrusted template raises nothing but InvalidInput."""
    with pytest.raises(InvalidInput, match="chat template") as refused:
        prompts.render(TALK, template, {})
    assert refused.value.field == "model.name"


@pytest.mark.parametrize(
    "template",
    ["{{ 'x' * 9999999999 }}", "{% set x = 'y' * 999999999 %}{{ (x ~ x ~ x) | length }}", "{{ 9 ** (9 ** 9) }}"],
)
def test_a_template_that_eats_memory_or_time_ends_with_its_process(template: str, tmp_path: Path) -> None:
    """The reader runs in a process with limits; this process continues quickly."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with pytest.raises((InvalidInput, Unavailable)):
        service.ask(Home(tmp_path), "render", timeout=300, template=template, special={}, conversations=[TALK])
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 20


def write(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        path = (
            folder
            / {"config": "tokenizer_config.json", "jinja": "chat_template.jinja", "map": "special_tokens_map.json"}[
                name
            ]
        )
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_chat_templates_are_found_where_models_keep_them(tmp_path: Path) -> None:
    """In tokenizer_config.json as text or a list of named ones, and in a separate file, which wins."""
    config: dict[str, Any] = {
        "chat_template": "A",
        "eos_token": {"content": "</s>"},
        "bos_token": "<s>",
        "pad_token": None,
    }
    assert prompts.read_chat_template(write(tmp_path, config=config)) == (
        "A",
        {"eos_token": "</s>", "bos_token": "<s>"},
    )
    config["chat_template"] = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    assert prompts.read_chat_template(write(tmp_path, config=config))[0] == "D"
    assert prompts.read_chat_template(write(tmp_path, jinja="J"))[0] == "J"
    with pytest.raises(InvalidInput, match=r"tokenizer_config\.json"):
        prompts.read_chat_template(write(tmp_path, config="{"))


def test_a_model_without_a_template_gets_the_plain_one_and_says_so(tmp_path: Path) -> None:
    """A base model's preview explains this, and why there are no token counts."""
    model = tmp_path / "base"
    model.mkdir()
    (model / "config.json").write_text("{}")
    dataset = DatasetSection(source="generated:arithmetic", system_prompt="Add.")
    found = service.preview(
        Home(tmp_path), ModelSection(name=str(model)), dataset, [{"question": "1 + 1?", "answer": "2"}]
    )
    assert found["template"] == "plain"
    assert found["prompts"][0]["text"] == "Add.\n\nQuestion: 1 + 1?\n\nAnswer:"
    assert found["prompts"][0]["tokens"] is None
    assert any("no chat template" in note for note in found["notes"])
    assert any("tokenizer.json" in note for note in found["notes"])


def test_a_model_that_is_not_here_still_shows_the_messages(tmp_path: Path) -> None:
    """The preview shows what it can and explains what is missing."""
    dataset = DatasetSection(source="generated:arithmetic")
    found = service.preview(Home(tmp_path), ModelSection(name="/not/here"), dataset, arithmetic(1, 50))
    assert found["template"] is None
    assert found["prompts"][0]["messages"][1] == {"role": "user", "content": "What is 21 + 12?"}
    assert "No model found at /not/here" in found["notes"][0]


def test_the_system_prompt_has_its_markers_filled_in() -> None:
    """Custom tags, custom text, other braces unchanged, and no system message if it is empty."""
    dataset = DatasetSection(
        source="x", solution_start="<A>", solution_end="</A>", system_prompt="{solution_start}{x}{solution_end}"
    )
    assert prompts.system_prompt(dataset) == "<A>{x}</A>"
    assert "<SOLUTION> and </SOLUTION>" in prompts.system_prompt(DatasetSection(source="x"))
    row = {"instruction": "a?", "response": "b"}
    asked = prompts.conversation(row, DatasetSection(source="x", system_prompt=""))
    assert asked.messages == ({"role": "user", "content": "a?"},)


def test_the_warm_up_shows_working_out_and_solution_in_their_markers() -> None:
    """GSM8K working-out without calculator annotations; short answers as the system prompt asks."""
    dataset = DatasetSection(source="x", system_prompt="{solution_start}")
    gsm = {"response": "6 x 12 = <<6*12=72>>72 clips\nso 72\n#### 72"}
    want = "<start_working_out>6 x 12 = 72 clips\nso 72<end_working_out><SOLUTION>72</SOLUTION>"
    assert prompts.warm_up_target(gsm, dataset) == want
    assert prompts.warm_up_target({"response": "72"}, dataset) == "<SOLUTION>72</SOLUTION>"


def test_what_the_warm_up_shows_earns_the_full_reward() -> None:
    """Imitating it earns the reward."""
    import core.rewards
    from core.config import RewardSection

    for preset, system in (("math", None), ("arithmetic", "{solution_start}")):
        dataset = DatasetSection(source="x", system_prompt=system)
        section = RewardSection(preset_name=preset)
        row = {"instruction": "?", "response": "6 x 12 = 72\n#### 72" if preset == "math" else "72"}
        total = core.rewards.compose(section, core.rewards.markers_of(dataset))
        assert total(prompts.warm_up_target(row, dataset), "?", row).total == pytest.approx(
            core.rewards.maximum(section)
        )
