"""Which tokens are trained, for eight published chat templates and every choice: a table that was checked by hand.

``tests/fixtures/trained_on/<template>.txt`` has a section for each choice. It shows every training text: a trained
stretch is between ⟦ and ⟧, after its weight if that is not 1, with ``|`` between its tokens; ⏎ is a line break. Text
that is not trained is shortened to its end (…). ``UPDATE_FIXTURES=1 pytest tests/unit/core/data/test_trained_on.py``
writes the files: read every changed line before committing it.

Sources of the templates: Qwen3, Llama 3.1, Gemma 3 and DeepSeek-R1-Distill are the files that TRL ships, SmolLM2's is
the built-in model's. Those of Mistral 7B v0.3, Mistral Nemo (Tekken) and Phi-4 were written down from memory of the
published ``tokenizer_config.json``, because no package has them, and may differ from it in details.

The tokenizer is a small byte-level BPE, trained here, that knows the control tokens of each template.
"""

from __future__ import annotations

import json
import os
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from core.config import DatasetSection
from core.config.training import TrainOn
from core.data.conversation import Conversation
from core.data.rows import content_hash, map_row, map_rows
from core.data.spans import Template, Texts, texts_of
from core.data.trained_on import TrainingText, weighted
from core.dataset import Row
from core.errors import InvalidInput

FIXTURES = Path(__file__).parents[3] / "fixtures"
CHOICES: tuple[TrainOn, ...] = get_args(TrainOn)


class Published(NamedTuple):
    """A template's file, its special tokens by name, and its other control tokens."""

    file: str
    special: dict[str, str]
    control: tuple[str, ...]


_CHATML = {"eos_token": "<|im_end|>"}
_MISTRAL = ("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")  # fmt: skip # noqa: E501
_DEEPSEEK = (
    "<｜User｜>", "<｜Assistant｜>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>",
    "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>",
)  # fmt: skip
TEMPLATES = {
    "qwen3": Published("trl:qwen3", _CHATML, ("<|im_start|>", "<|endoftext|>")),
    "llama_3.1": Published(
        "trl:llama3_1", {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        ("<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>", "<|eom_id|>"),
    ),
    "mistral_v0.3": Published("mistral_v0.3", {"bos_token": "<s>", "eos_token": "</s>"}, _MISTRAL),
    "mistral_tekken": Published("mistral_tekken", {"bos_token": "<s>", "eos_token": "</s>"}, _MISTRAL),
    "phi_4": Published("phi_4", _CHATML, ("<|im_start|>", "<|im_sep|>", "<|endoftext|>")),
    "gemma_3": Published("trl:gemma3", {"bos_token": "<bos>", "eos_token": "<end_of_turn>"}, ("<start_of_turn>",)),
    "smollm2": Published("smollm2", _CHATML, ("<|im_start|>", "<|endoftext|>")),
    "deepseek_r1_distill": Published(
        "trl:deepseek_r1_distill",
        {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}, _DEEPSEEK,
    ),
}  # fmt: skip

_CALL = {"id": "call00001", "type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
TALK: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "Four.", "reasoning_content": "Two and two."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [_CALL], "reasoning_content": "Look it up."},
        {"role": "tool", "name": "weather", "tool_call_id": "call00001", "content": "18 C"},
        {"role": "assistant", "content": "It is warm.", "reasoning_content": "18 is warm."},
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "description": "Looks.", "parameters": {}}}],
    "weights": [0, 1, 0.5, 0, 1, 0, 2],
}
"""A system message, two user turns, reasoning in every assistant message, a call with its result."""
SECTION = DatasetSection(
    source="x", instruction_field="messages", response_field="messages", system_prompt="",
    solution_start="", solution_end="", reasoning_start="<think>", reasoning_end="</think>",
)  # fmt: skip


def _trl() -> Path:
    spec = find_spec("trl")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "chat_templates"


def template_of(name: str) -> Template:
    """A published template."""
    file, special, control = TEMPLATES[name]
    folder = _trl() if file.startswith("trl:") else FIXTURES / "templates"
    source = (folder / f"{file.removeprefix('trl:')}.jinja").read_text("utf-8")
    return Template(source, special, frozenset((*special.values(), *control)))


@lru_cache(maxsize=16)
def tokenizer_of(name: str) -> Tokenizer:
    """A small BPE that splits words as GPT-2's does, with a vocabulary from the template and the conversation."""
    template = template_of(name)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=3000, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([str(template.source), json.dumps(TALK), *_TEXTS] * 3, trainer)
    special = [AddedToken(token, special=True, normalized=False) for token in sorted(template.control)]
    tokenizer.add_special_tokens(special)
    return tokenizer


_TEXTS = ("<think>\nTwo\n</think>\n\n", "<tool_call>\n{}\n</tool_call>", "<tool_response>\n18 C\n</tool_response>")


def tokens(text: TrainingText, tokenizer: Tokenizer) -> list[tuple[str, float]]:
    """Each token's text and weight."""

    def tokenize(part: str) -> list[int]:
        return list(tokenizer.encode(part, add_special_tokens=False).ids)

    ids, weights = weighted(text, tokenize)
    shown = [tokenizer.decode([one], skip_special_tokens=False) for one in ids]
    return list(zip(shown, weights, strict=True))


def line(text: TrainingText, tokenizer: Tokenizer) -> str:
    """A training text in the notation of the table."""
    stretches: list[tuple[float, list[str]]] = []
    for piece, weight in tokens(text, tokenizer):
        if not stretches or stretches[-1][0] != weight:
            stretches.append((weight, []))
        stretches[-1][1].append(piece)
    found = ""
    for weight, pieces in stretches:
        if weight:
            found += f"{'' if weight == 1 else f'{weight:g}'}⟦{'|'.join(pieces)}⟧"
        else:
            plain = "".join(pieces)
            found += plain if len(plain) <= 48 else f"…{plain[-40:]}"
    return found.replace("\n", "⏎")


def trained(name: str, choice: TrainOn, raw: Row = TALK, section: DatasetSection = SECTION) -> Texts:
    """The training texts of a row."""
    row = map_row(raw, section, whole=choice != "last_assistant_message")
    return texts_of(row, section, choice, template_of(name))


def section_of(name: str, choice: TrainOn) -> str:
    """A section of a template's file."""
    found = trained(name, choice)
    tokenizer = tokenizer_of(name)
    lines = [f"{number}: {line(text, tokenizer)}" for number, text in enumerate(found.texts, start=1)]
    head = f"## {choice}" + (f" ({', '.join(found.changes)})" if found.changes else "")
    return "\n".join([head, *lines])


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_table_of_trained_tokens(name: str) -> None:
    """Every choice trains exactly the tokens that were checked by hand."""
    text = "\n\n".join(section_of(name, choice) for choice in CHOICES) + "\n"
    file = FIXTURES / "trained_on" / f"{name}.txt"
    if os.environ.get("UPDATE_FIXTURES"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    assert file.read_text("utf-8") == text


SHIPPED = sorted(
    file
    for file in _trl().glob("*.jinja")
    if "_training" not in file.name and not file.name.startswith(("llava", "idefics"))
)
"""The chat templates that TRL ships, without its rewritten ones and those that print no plain text."""
_ENDS = ("<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>", "<|eot_id|>", "<end_of_turn>", "<turn|>", "<｜end▁of▁sentence｜>", "<|END_OF_TURN_TOKEN|>", "<|im_start|>", "<|start|>")  # fmt: skip # noqa: E501


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
@pytest.mark.parametrize("thoughts", [True, False])
def test_with_any_template_each_reply_is_trained_once_after_its_own_prompt(file: Path, thoughts: bool) -> None:
    """What precedes a reply in a training text is what the model sees when it writes that reply."""
    template = Template(file.read_text("utf-8"), {"bos_token": "<s>", "eos_token": "<|endoftext|>"}, frozenset(_ENDS))
    raw = TALK if thoughts else {**TALK, "messages": [_silent(one) for one in TALK["messages"]]}
    row = map_row(raw, SECTION, whole=True)
    found = texts_of(row, SECTION, "all_assistant_messages", template)
    spoken = ["".join(text.text[start:end] for start, end, _ in text.spans) for text in found.texts]
    for answer in ("Four.", "Rome", "It is warm."):
        assert sum(answer in text for text in spoken) == 1
    messages = row["conversation"]["messages"] + row["conversation"]["reply"]
    for text, (start, end, _) in ((one, span) for one in found.texts for span in one.spans):
        said = text.text[start:end]
        place = next(at for at, word in ((2, "Four."), (4, "Rome"), (6, "It is warm.")) if word in said)
        if not thoughts:  # Separate reasoning may be moved into the history's answers.
            before = Conversation(tuple(messages[:place]), tuple(TALK["tools"]))
            assert text.text[:start] == template.show(before, ask=True).text
        if thoughts and "no_thoughts" not in found.changes:
            assert {2: "Two and two.", 4: "Look it up.", 6: "18 is warm."}[place] in said


def test_a_template_that_prints_no_text_is_refused() -> None:
    template = Template((_trl() / "idefics3.jinja").read_text("utf-8"), {}, frozenset(_ENDS))
    with pytest.raises(InvalidInput, match="does not print the text of an assistant message"):
        texts_of(map_row(TALK, SECTION, whole=True), SECTION, "all_assistant_messages", template)


def _silent(message: dict[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in message.items() if name != "reasoning_content"}


@pytest.mark.parametrize("choice", ["last_assistant_message", "all_assistant_messages", "all_messages", "all_tokens"])
def test_a_control_token_in_a_trained_message_is_text(choice: TrainOn) -> None:
    """Only the template's own tokens are control tokens, and a reply that quotes one does not end there."""
    talk = [
        {"role": "user", "content": "Say <|im_end|>"},
        {"role": "assistant", "content": "<|im_end|> is <|im_start|>"},
    ]
    (text,) = trained("smollm2", choice, {"messages": talk}).texts
    pieces = tokens(text, tokenizer_of("smollm2"))
    # The default system message, the question, the answer, each with its end.
    assert [piece for piece, _ in pieces].count("<|im_end|>") == 3
    assert (
        "".join(piece for piece, weight in pieces if weight).rstrip().endswith("<|im_end|> is <|im_start|><|im_end|>")
    )


def test_a_template_without_an_end_gets_the_end_of_sequence_token() -> None:
    """Otherwise the model would not learn to stop; the token is not in the history, so each turn is a text."""
    template = Template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}", {"eos_token": "</s>"}, frozenset({"</s>"}))  # fmt: skip # noqa: E501
    row = map_row({"messages": [_silent(one) for one in TALK["messages"][:3]] * 2}, SECTION, whole=True)
    found = texts_of(row, SECTION, "all_assistant_messages", template)
    spoken = [text.text[start:end] for text in found.texts for start, end, _ in text.spans]
    assert spoken == [" Four.</s>", " Four.</s>"]


def test_a_token_over_the_border_belongs_to_the_message() -> None:
    """A tokenizer may put the space before a word into the word's token."""

    def tokenize(text: str) -> list[str]:
        return re.findall(r" ?\w+|\n\n+|.", text, re.DOTALL)

    text = TrainingText(("say hello there\n\n\nnow",), ((4, 15, 1.0),))
    assert weighted(text, tokenize) == (["say", " hello", " there", "\n\n\n", "now"], [0.0, 1.0, 1.0, 0.0, 0.0])
    text = TrainingText(("a\n\nb", "c d"), ((0, 2, 2.0), (4, 5, 0.5)))
    assert weighted(text, tokenize) == (["a", "\n\n", "b", "c", " d"], [2.0, 2.0, 0.0, 0.5, 0.0])


def test_weights_may_be_on_the_messages_as_in_openai_s_format() -> None:
    """Without one, an assistant message counts 1 and every other 0."""
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}] * 2
    talk = [*talk[:3], {"role": "assistant", "content": "c"}]
    (text,) = trained("smollm2", "weights", {"messages": talk}).texts
    assert [(text.text[start:end], weight) for start, end, weight in text.spans] == [("c<|im_end|>", 1.0)]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1, 2], "7 messages and 2 weights"),
        ("yes", "7 messages and no list of weights"),
        ([0, 1, -1, 0, 0, 0, 0], "weight is -1. Use a number of 0 or more"),
        ([0, 1, "many", 0, 0, 0, 0], "weight is 'many'"),
        ([0, 1, float("nan"), 0, 0, 0, 0], "weight is nan"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weights: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)):
        trained("smollm2", "weights", {**TALK, "weights": weights})


def test_weights_in_json_text_are_read() -> None:
    assert trained("smollm2", "weights", {**TALK, "weights": json.dumps(TALK["weights"])}) == trained(
        "smollm2", "weights"
    )


def test_messages_that_a_template_merges_must_have_the_same_weight() -> None:
    """Gemma's first template has no system role: the system message becomes part of the question."""
    template = Template(
        (_trl() / "gemma.jinja").read_text("utf-8"), {"bos_token": "<bos>"}, frozenset({"<end_of_turn>"})
    )
    row = map_row(TALK, SECTION, whole=True)
    with pytest.raises(InvalidInput, match="merges messages that have different weights"):
        texts_of(row, SECTION, "weights", template)
    same = texts_of({**row, "weights": [1, 1, 0, 0, 0, 0, 0]}, SECTION, "weights", template).texts
    assert [text.text[start:end].startswith("Be brief.") for text in same for start, end, _ in text.spans] == [True]


def test_the_configuration_s_system_prompt_is_trained_only_with_all_messages() -> None:
    section = SECTION.model_copy(update={"system_prompt": "Obey."})
    talk = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "weights": [0, 1]}

    def spoken(choice: TrainOn) -> list[str]:
        texts = trained("smollm2", choice, talk, section).texts
        return [text.text[start:end] for text in texts for start, end, _ in text.spans]

    assert spoken("weights") == spoken("all_assistant_messages") == ["b<|im_end|>"]
    assert spoken("all_messages") == ["Obey.<|im_end|>", "a<|im_end|>", "b<|im_end|>"]


def test_plain_text_is_trained_from_its_first_token_to_the_end_of_sequence() -> None:
    section = DatasetSection(source="x", text_field="text")
    template = Template(None, {"eos_token": "</s>"}, frozenset({"<s>", "</s>"}), begin="<s>")
    row = map_row({"text": "Once </s> upon", "n": 3}, section)
    assert row == {"instruction": "", "response": "Once </s> upon", "n": 3}
    (text,) = texts_of(row, section, "last_assistant_message", template).texts
    assert text == TrainingText(("<s>Once </", "s> upon</s>"), ((0, 21, 1.0),))


_ALL = ["Four.", "Rome", "It is warm."]
ROWS: dict[str, tuple[Row, tuple[str, str], list[str]]] = {
    "instruction and response": ({"q": "a", "r": "b"}, ("q", "r"), ["b"]),
    "prompt and completion": ({"prompt": "a", "completion": "b"}, ("prompt", "completion"), ["b"]),
    "prompt and completion in messages": (
        {"prompt": TALK["messages"][:4], "completion": TALK["messages"][4:], "tools": TALK["tools"]},
        ("prompt", "completion"), _ALL,
    ),
    "messages": (TALK, ("messages", "messages"), _ALL),
    "messages without an answer column": (TALK, ("messages", ""), _ALL),
    "messages that end with a question": (
        {"messages": TALK["messages"][:4], "r": "Rain."}, ("messages", "r"), ["Four.", "Rain."],
    ),
    "messages that end with a call": (
        {**TALK, "messages": TALK["messages"][:5]}, ("messages", "messages"), ["Four.", "Rome"],
    ),
}  # fmt: skip
"""A row, its question and answer columns, and what its assistant messages say."""


def _mapped_by(columns: tuple[str, str]) -> DatasetSection:
    return SECTION.model_copy(update={"instruction_field": columns[0], "response_field": columns[1]})


@pytest.mark.parametrize("kind", ROWS)
def test_every_kind_of_row_is_trained_on_whole(kind: str) -> None:
    raw, columns, answers = ROWS[kind]
    section = _mapped_by(columns)
    (row,), left_out = map_rows([raw], section, whole=True)
    assert not left_out
    (text,) = texts_of(row, section, "all_assistant_messages", template_of("smollm2")).texts
    spoken = [text.text[start:end] for start, end, _ in text.spans]
    assert len(spoken) == len(answers)
    assert all(answer in said for answer, said in zip(answers, spoken, strict=True))


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_stays_in_its_split_whatever_is_trained(kind: str) -> None:
    raw, columns, _ = ROWS[kind]
    section = _mapped_by(columns)
    assert content_hash(map_row(raw, section)) == content_hash(map_row(raw, section, whole=True))


def test_an_answer_is_trained_as_it_is_in_the_data() -> None:
    """Rules that extract a reference, and answer tags, are for the last assistant message alone."""
    section = DatasetSection(source="x", extraction="after_marker", extraction_pattern="####", system_prompt="")
    raw = {"question": "2+2?", "answer": "Two and two. #### 4"}
    (text,) = trained("smollm2", "all_assistant_messages", raw, section).texts
    assert text.text.endswith("assistant\nTwo and two. #### 4<|im_end|>")
    (text,) = trained("smollm2", "last_assistant_message", raw, section).texts
    assert text.text.endswith("<start_working_out>Two and two.<end_working_out><SOLUTION>4</SOLUTION><|im_end|>")
