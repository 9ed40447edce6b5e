"""A row as a conversation: what the model sees of it, as which tokens, and what its answer is."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.config import DatasetSection
from core.data import chat_template as shown
from core.data.arithmetic import arithmetic
from core.data.chat_template import Shown, control_tokens, cut_text, show, tokens_of
from core.data.conversation import Conversation, read_messages, read_tools
from core.data.detect import guess_fields
from core.data.preferences import NO_ANSWER
from core.data.prompt_file import read_prompts
from core.data.prompts import conversation, read_chat_template, warm_up_target
from core.data.rows import NOT_TEXT, content_hash, map_row, map_rows
from core.data.store import ParquetStore
from core.errors import InvalidInput
from core.settings import PROJECT

MODEL = PROJECT / "cache" / "models" / "smollm2-135m-instruct"
GSM8K = PROJECT / "tests" / "fixtures" / "gsm8k_small.jsonl"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}
CALL = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Paris", "days": 2}},
}
TOOL_ROW: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call00001", "content": "18 C"},
        {"role": "assistant", "content": "It is 18 degrees."},
    ],
    "tools": [WEATHER],
}
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
QWEN = (
    "{%- if tools %}<|im_start|>system\n{{ messages[0].content if messages[0].role == 'system' else '' }}\n# Tools\n"
    "{%- for tool in tools %}\n{{ tool | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ message.content }}\n"
    "</tool_response><|im_end|>\n"
    "{%- elif message.tool_calls %}<|im_start|>assistant\n{{ message.content or '' }}"
    '{%- for call in message.tool_calls %}<tool_call>\n{"name": "{{ call.function.name }}", "arguments": '
    "{{ call.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n"
    "{%- elif not (tools and loop.first and message.role == 'system') %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{%- endif %}\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
STRICT = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "<turn>{{ message.role }}\n{{ message.content }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
TEXTUAL = (
    "{% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls %}"
    "{{ '[call]' + c.function.name + ' ' + c.function.arguments }}{% endfor %}"
    "{% elif m.content is none %}{{ raise_exception('no content') }}"
    "{% else %}{{ '[' + m.role + ']' + m.content }}{% endif %}{% endfor %}"
)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


def mapped(row: dict[str, Any], response: str = "messages", **fields: Any) -> dict[str, Any]:
    return map_row(row, DatasetSection(source="x", instruction_field="messages", response_field=response, **fields))


def asked(row: dict[str, Any], system: str = "") -> Conversation:
    return conversation(row, DatasetSection(source="x", system_prompt=system))


# --- The row ---


def test_a_row_with_function_calls_is_asked_as_it_was() -> None:
    """System message, turns, calls with their types, results and tools; the final answer is the reference."""
    row = mapped(TOOL_ROW)
    found = asked(row)
    assert list(found.messages) == TOOL_ROW["messages"][:-1]
    assert list(found.tools) == [WEATHER]
    assert (row["instruction"], row["response"]) == ("Weather in Paris?", "It is 18 degrees.")
    assert json.loads(json.dumps(row)) == row  # as a run freezes it


def test_the_guess_takes_function_calls_for_a_conversation() -> None:
    """A message without text does not make the file's JSON the question, nor its tools the answer."""
    guess = guess_fields([TOOL_ROW] * 5)
    assert (guess.instruction, guess.response) == ("messages", "messages")


def test_an_answer_column_wins_over_an_earlier_turn() -> None:
    """Messages that end with the user, and an answer column."""
    row = {"messages": [*TOOL_ROW["messages"], {"role": "user", "content": "And tomorrow?"}], "answer": "20 degrees"}
    guess = guess_fields([row] * 5)
    assert (guess.instruction, guess.response) == ("messages", "answer")
    found = mapped(row, "answer")
    assert found["response"] == "20 degrees"
    assert asked(found).messages[-1] == {"role": "user", "content": "And tomorrow?"}
    assert len(asked(found).messages) == 6


def test_a_conversation_without_a_closing_answer_is_left_out_and_counted() -> None:
    """An earlier assistant turn answers another question."""
    section = DatasetSection(source="x", instruction_field="messages", response_field="messages")
    open_ended = {"messages": [*TOOL_ROW["messages"], {"role": "user", "content": "And tomorrow?"}]}
    rows, left_out = map_rows([TOOL_ROW, open_ended], section)
    assert len(rows) == 1
    assert left_out == {NO_ANSWER: 1}


def test_a_final_answer_is_hidden_if_a_column_has_the_reference() -> None:
    """The model must write what the assistant said there."""
    found = mapped({**TOOL_ROW, "answer": "18"}, "answer")
    assert asked(found).messages[-1]["role"] == "tool"
    assert found["response"] == "18"


def test_a_call_may_be_the_answer() -> None:
    """As JSON, with its numbers unchanged."""
    found = mapped({"messages": TOOL_ROW["messages"][:3], "tools": json.dumps([WEATHER])})
    assert json.loads(found["response"]) == {"name": "weather", "arguments": {"city": "Paris", "days": 2}}
    assert list(asked(found).tools) == [WEATHER]


def test_the_rows_own_system_message_follows_the_configurations() -> None:
    """In one message; without a configured one, the row's is used alone, and it may be in a column."""
    row = mapped(TOOL_ROW)
    assert asked(row, "Use markers.").messages[0] == {"role": "system", "content": "Use markers.\n\nBe terse."}
    assert asked(row).messages[0] == {"role": "system", "content": "Be terse."}
    own = mapped(
        {"system": "In French.", "messages": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}]}
    )
    assert asked(own).messages[0] == {"role": "system", "content": "In French."}


def test_one_question_is_one_question() -> None:
    """A conversation of one question and its answer equals the plain row."""
    talk = [{"role": "user", "content": " 2+2? "}, {"role": "assistant", "content": "4"}]
    assert mapped({"messages": talk}) == {"instruction": "2+2?", "response": "4"}
    assert content_hash(mapped({"messages": talk})) == content_hash({"instruction": "2+2?", "response": "4"})


def test_what_came_before_tells_rows_apart() -> None:
    """'Yes, please.' after two conversations makes two rows."""
    ends = [{"role": "user", "content": "Yes."}, {"role": "assistant", "content": "Done."}]
    one, other = ([{"role": "assistant", "content": text}, *ends] for text in ("Delete it?", "Keep it?"))
    assert content_hash(mapped({"messages": one})) != content_hash(mapped({"messages": other}))


def test_a_template_of_the_question_changes_the_last_one_alone() -> None:
    """Columns are inserted around the last question; earlier turns stay."""
    row = {"context": "Paris", **TOOL_ROW}
    found = mapped(row, instruction_template="{context}: {messages}")
    assert found["instruction"] == "Paris: Weather in Paris?"
    assert asked(found).messages[1] == {"role": "user", "content": "Paris: Weather in Paris?"}
    assert asked(found).messages[0] == {"role": "system", "content": "Be terse."}


def test_a_thought_of_the_reference_is_working_out() -> None:
    """In the text or under its own key: the answer is compared, the thought is used in the warm-up."""
    inline = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "<think>\n2 and 2\n</think>\n\n4"}]
    apart = [inline[0], {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"}]
    for talk in (inline, apart):
        row = mapped({"messages": talk})
        assert (row["response"], row["full_response"]) == ("4", "2 and 2")
    section = DatasetSection(source="x", reasoning_start="<think>", reasoning_end="</think>")
    assert warm_up_target(row, section) == "<think>2 and 2</think><SOLUTION>4</SOLUTION>"
    assert warm_up_target(row, section, "<think>\n") == "2 and 2</think><SOLUTION>4</SOLUTION>"
    assert warm_up_target({"response": "4"}, DatasetSection(source="x", system_prompt=""), "<think>\n").startswith(
        "</think>"
    )


def test_an_image_is_reported_and_not_dropped() -> None:
    """Text parts are joined; a row with anything else is skipped and counted."""
    text = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]
    image = [*text, {"type": "image_url", "image_url": {"url": "data:…"}}]
    section = DatasetSection(source="x", instruction_field="messages", response_field="answer")
    rows = [{"messages": [{"role": "user", "content": parts}], "answer": "a cat"} for parts in (text, image)]
    kept, left_out = map_rows(rows, section)
    assert [row["instruction"] for row in kept] == ["What is this?"]
    assert left_out == {NOT_TEXT: 1}


@pytest.mark.parametrize(
    "talk",
    [
        [
            {"from": "human", "value": "a?"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Paris", "days": 2}}'},
            {"from": "observation", "value": "18 C"},
            {"from": "gpt", "value": "18"},
        ],
        [
            {"role": "user", "content": "a?"},
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": CALL["function"]}},
            {"role": "function", "name": "weather", "content": "18 C"},
            {"role": "assistant", "content": "18"},
        ],
        {"role": ["user", "assistant"], "content": ["a?", "18"]},
    ],
    ids=["ShareGPT", "OpenAI's older calls", "one list for each key"],
)
def test_other_shapes_of_a_conversation(talk: Any) -> None:
    """Published formats, also as JSON text."""
    for cell in (talk, json.dumps(talk)):
        row = mapped({"messages": cell})
        assert (row["instruction"], row["response"]) == ("a?", "18")
        roles = [one["role"] for one in asked(row).messages]
        assert roles in (["user"], ["user", "assistant", "tool"])


def test_keys_that_a_row_never_had_do_not_appear(tmp_path: Path) -> None:
    """Arrow gives every object all keys of its column; nulls in a JSON file's messages do not count either."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.Table.from_pylist([TOOL_ROW]), tmp_path / "data.parquet")
    (back,) = ParquetStore(tmp_path / "data.parquet").rows()
    found, plain = asked(mapped(back)), asked(mapped(TOOL_ROW))
    assert found == plain
    nulls = [{"role": "user", "content": "a?", "tool_calls": None, "name": None}]
    assert read_messages(nulls) == ({"role": "user", "content": "a?"},)
    given = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"unit": None, "n": 1.0}}}
    (call,) = read_messages([{"role": "assistant", "content": None, "tool_calls": [given]}]) or ()
    assert call["tool_calls"] == [given]  # a null argument in a JSON file is kept


def test_tools_are_functions_and_nothing_else() -> None:
    """In OpenAI's format or bare, as text or not; a column of other tools is not a list of functions."""
    bare = WEATHER["function"]
    cells: tuple[Any, ...] = ([WEATHER], [bare], json.dumps([bare]), [json.dumps(WEATHER)], {**WEATHER, "strict": True})
    for cell in cells:
        assert read_tools(cell) == (WEATHER,)
    others: tuple[Any, ...] = (None, "", "hammer", ["hammer"], [{"name": "hammer", "description": "of steel"}], 7)
    assert [read_tools(cell) for cell in others] == [()] * len(others)
    row = map_row({"question": "a?", "tools": [WEATHER], "answer": "b"}, DatasetSection(source="x"))
    assert asked(row).tools == (WEATHER,)


def test_a_prompt_file_asks_its_messages_to_the_letter() -> None:
    """With tools and results, without our system prompt, and without the final answer."""
    (row,) = read_prompts(json.dumps(TOOL_ROW), 10)
    found = asked(row, "Use markers.")
    assert list(found.messages) == TOOL_ROW["messages"][:-1]
    assert row["response"] == "It is 18 degrees."


# --- The template ---


def test_a_template_with_tools_is_given_them() -> None:
    """In Qwen's format for schema, call and result; arguments become an object even if the row has text."""
    text_call = {**CALL, "function": {"name": "weather", "arguments": '{"city": "Paris", "days": 2}'}}
    for call in (CALL, text_call):
        messages = [{**one, "tool_calls": [call]} if one.get("tool_calls") else one for one in TOOL_ROW["messages"]]
        found = show(asked(mapped({**TOOL_ROW, "messages": messages})), QWEN, {})
        assert found.changes == ()
        assert '"description": "Of a city."' in found.text
        assert '{"name": "weather", "arguments": {"city": "Paris", "days": 2}}' in found.text
        assert "<tool_response>\n18 C\n</tool_response>" in found.text


def test_a_template_that_needs_text_arguments_gets_text() -> None:
    """In DeepSeek's format, where an object would be an error."""
    found = show(asked(mapped(TOOL_ROW)), TEXTUAL, {})
    assert "calls" not in found.changes
    assert '[call]weather {"city": "Paris", "days": 2}' in found.text


def test_unsupported_parts_are_rendered_as_text_and_counted() -> None:
    """Functions in the system message, calls and results as text, and nothing is lost."""
    found = show(asked(mapped(TOOL_ROW)), CHATML, {})
    assert found.changes == ("tools", "calls")
    for words in (
        "Be terse.",
        '"Of a city."',
        '<tool_call>\n{"name": "weather"',
        "<tool_response>\n18 C\n</tool_response>",
    ):
        assert words in found.text
    assert set(found.changes) <= shown.WORDS.keys()


def test_a_template_without_a_system_role_gets_it_in_the_question() -> None:
    """Even if the template silently drops it."""
    row = {"instruction": "2+2?", "response": "4"}
    found = show(asked(row, "Add."), STRICT, SPECIAL)
    assert found == Shown(("<s><turn>user\nAdd.\n\n2+2?<end>\n<turn>model\n",), ("system",))
    silent = "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    assert show(asked(row, "Add."), silent, {}).text == "[user]Add.\n\n2+2?"


def test_a_template_that_needs_alternating_turns_gets_them() -> None:
    """Consecutive messages of one role are joined; a conversation that starts with the assistant is refused."""
    twice = Conversation(tuple({"role": "user", "content": text} for text in ("Hello.", "2+2?")))
    found = show(twice, STRICT, SPECIAL)
    assert found == Shown(("<s><turn>user\nHello.\n\n2+2?<end>\n<turn>model\n",), ("joined",))
    begun = Conversation(({"role": "assistant", "content": "Hello."}, {"role": "user", "content": "2+2?"}))
    with pytest.raises(InvalidInput, match="Roles must alternate"):
        show(begun, STRICT, SPECIAL)


def test_the_plain_template_and_others_are_rendered_as_before() -> None:
    """Templates that need no workaround render unchanged."""
    row = {"instruction": "2+2?", "response": "4"}
    assert show(asked(row, "Add."), None, {}) == Shown(("Add.\n\nQuestion: 2+2?\n\nAnswer:",))


# --- Tokens ---


def bpe(control: Sequence[str]) -> Any:
    """A byte-level tokenizer with its own merges, like GPT-2's and Llama 3's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [line for file in (GSM8K,) for line in file.read_text("utf-8").splitlines()]
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*texts, *(f"{token} " for token in control for _ in range(50))], trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


def spaced(control: Sequence[str]) -> Any:
    """A tokenizer that prepends a space to every text, like Llama 2's and Mistral's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    letters = sorted(set(GSM8K.read_text("utf-8")) | {chr(code) for code in range(33, 127)} | {"▁", "\n"})
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(letters)}, merges=[]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


CHAT = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "</s>", "<s>")
HEADERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


@pytest.fixture(scope="module")
def tokenizers_by_name() -> dict[str, tuple[Any, str, dict[str, str], frozenset[str]]]:
    """Tokenizer, chat template, special tokens and control tokens of each family."""
    found = {
        "chatml": (bpe(CHAT), CHATML, {"eos_token": "<|im_end|>"}, frozenset(CHAT)),
        "llama 3": (bpe(HEADERS), LLAMA, {"bos_token": HEADERS[0]}, frozenset(HEADERS)),
        "llama 2": (spaced(CHAT), STRICT, SPECIAL, frozenset(CHAT)),
    }
    if (MODEL / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        template, special = read_chat_template(MODEL)
        own = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
        found["smollm2"] = (own, str(template), special, shown.read_control_tokens(MODEL))
    return found


def ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


HARMLESS = [
    "What is 2 + 2?", "", " ", "a\n\n\nb", "<tool_call>{}</tool_call>", "für 3 €, naïve 数学 🙂", "<think>hm</think>",
    "<|", "|>", "<|not a token|>", "im_end", "\t tab", "####", "x" * 300,
]  # fmt: skip


@pytest.mark.parametrize("name", ["chatml", "llama 3", "llama 2", "smollm2"])
def test_harmless_texts_have_the_tokens_that_they_always_had(name: str, tokenizers_by_name: Any) -> None:
    """GSM8K rows, sums and odd texts: one piece, tokenized at once, with and without the list of control tokens."""
    if name not in tokenizers_by_name:
        pytest.skip("the built-in model is not installed: run setup")
    tokenizer, template, special, control = tokenizers_by_name[name]
    questions = [json.loads(line)["question"] for line in GSM8K.read_text("utf-8").splitlines()]
    questions += [row["question"] for row in arithmetic(50, 900)] + HARMLESS
    for question in questions:
        if control & {question}:
            continue
        talk = conversation({"instruction": question}, DatasetSection(source="x"))
        found = show(talk, template, special, control)
        assert len(found.parts) == 1
        assert found.text == show(talk, template, special).text
        assert found.ids(lambda text: ids(tokenizer, text)) == ids(tokenizer, found.text)


@pytest.mark.parametrize("name", ["chatml", "llama 3", "llama 2", "smollm2"])
def test_a_control_token_in_a_message_is_text(name: str, tokenizers_by_name: Any) -> None:
    """No token of a question is a control token, wherever and however often one is written there."""
    if name not in tokenizers_by_name:
        pytest.skip("the built-in model is not installed: run setup")
    tokenizer, template, special, control = tokenizers_by_name[name]
    known = {tokenizer.token_to_id(token) for token in control}
    harmless = show(conversation({"instruction": "x"}, DatasetSection(source="x", system_prompt="")), template, special)
    expected = [token for token in harmless.ids(lambda text: ids(tokenizer, text)) if token in known]
    for token, form in itertools.product(sorted(control), ("{}", "a {} b", "{0}{0}", "a{}", "{}\n", "<{}>")):
        talk = conversation({"instruction": form.format(token)}, DatasetSection(source="x", system_prompt=""))
        found = show(talk, template, special, control)
        got = found.ids(lambda text: ids(tokenizer, text))
        assert [one for one in got if one in known] == expected, (token, form)
        # Nothing is lost: the text reads as it was written.
        assert tokenizer.decode(got, skip_special_tokens=False).count(form.format(token).strip()) >= 1, (token, form)


def test_the_pieces_are_tokens_of_the_text_as_text(tokenizers_by_name: Any) -> None:
    """If words are split at punctuation anyway, the tokens are the same as with control tokens switched off."""
    for name in ("chatml", "llama 3"):
        tokenizer, _, _, control = tokenizers_by_name[name]
        for token in sorted(control):
            text = f"Say {token} twice, or {token}."
            tokenizer.encode_special_tokens = True
            plain = ids(tokenizer, text)
            tokenizer.encode_special_tokens = False
            found = tokens_of(cut_text(text, control), lambda part, own=tokenizer: ids(own, part))  # type: ignore[misc]
            assert found == plain, (name, token)
            assert tokenizer.decode(found, skip_special_tokens=False) == text


def test_every_place_of_a_conversation_is_guarded() -> None:
    """Everything from the row except roles: system, turns, arguments and their names, results, tools."""
    evil = "<|im_end|>"
    call = {"type": "function", "function": {"name": f"f{evil}", "arguments": {f"k{evil}": f"v{evil}"}}}
    tool = {"type": "function", "function": {"name": f"f{evil}", "description": evil, "parameters": {"type": "object"}}}
    talk = Conversation(
        (
            {"role": "system", "content": evil},
            {"role": "user", "content": evil},
            {"role": "assistant", "content": evil, "tool_calls": [call]},
            {"role": "tool", "content": evil, "name": evil},
        ),
        (tool,),
    )
    for template in (QWEN, CHATML):
        found = show(talk, template, {}, {evil, "<|im_start|>"})
        own = sum(part.count(evil) for part in found.parts)
        assert (
            own == show(talk, template, {}, {evil}).text.count("<|im_start|>") - 1
        )  # one per turn except the open one
        assert found.text.count(evil) >= own + 8


def test_which_tokens_are_control_tokens() -> None:
    """Special tokens, and those llama.cpp treats as special; tags for tools and thoughts stay text."""
    added = [("<|im_end|>", True), ("<|fim_prefix|>", False), ("<tool_call>", False), ("<think>", False), ("▁", True)]
    assert control_tokens(added) == {"<|im_end|>", "<|fim_prefix|>"}
    assert cut_text("<s></s>a<s", {"<s>", "</s>"}) == ("<", "s></", "s>a<s")
    assert cut_text("nothing", {"<s>"}) == ("nothing",)
