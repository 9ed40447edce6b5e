"""Prompts as llama.cpp tokenizes them, for tokenizers that its converter alone gets wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

from core.data.chat_template import Shown, cut_text
from core.errors import Unavailable
from core.settings import PROJECT, Home
from core.training.fidelity.backends import CHILD
from core.training.gguf import file as gguf_file
from core.training.gguf import vocabulary as gguf_vocabulary
from core.training.gguf.convert_child import NO_RULE
from core.training.gguf.vocabulary import MARK, RULES, Vocabulary
from core.training.method_rows import control_of, encode, ids_of
from core.training.rollouts.llama_cpp import base_gguf
from core.training.rollouts.llama_process import Child

pytestmark = pytest.mark.training
WORDS = [
    "the end of the line", "What is 12 + 30?   And   twice that?", "\tone\n\n  two  ", "Grüße aus Köln",
    "a a  a   a    a",
    "It's HERE, they're there; I'M 3.14159 or 2718", "end of line\r\nnext", "x = [1, 2, 3]; if (x) { return }",
]  # fmt: skip
NASTY = [
    *WORDS, "", " ", "  lead", "trail  ", "\n", "日本語 Привет", "👩‍👩‍👧 🚀", "a\u00a0nbsp\u200b", "word▁with▁mark",
    "A" * 30, "<0x41> [INST] <s>", "'LL we", "a <tool> b<tool>",
]  # fmt: skip
PROMPTS = {
    "mistral": "<s>[INST] {}[/INST]", "old": "<s> [INST] {} [/INST] yes</s> [INST] {} [/INST]",
    "phi3": "<|user|>\n{}<|end|>\n<|assistant|>\n", "unknown": "<|user|>\n{}<|end|>\n<|assistant|>\n",
}  # fmt: skip
"""The prompt format of each tokenizer below."""


def sentencepiece_like(*added: AddedToken, legacy: bool) -> PreTrainedTokenizerFast:
    """Like ``tokenizer.json`` of Llama 2, Mistral and Phi-3: merges, bytes, and a mark for a space."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", MARK)
    special = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=480, special_tokens=special, show_progress=False)
    made.train_from_iterator([f" {words}" for words in WORDS * 3], trainer)
    parts = json.loads(made.to_str())
    parts["added_tokens"] = parts["added_tokens"][:3]  # the bytes are ordinary tokens
    made = Tokenizer.from_str(json.dumps(parts))
    if legacy:
        made.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    else:
        made.normalizer = None
        made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_tokens(list(added))
    return fast(made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def byte_level(pattern: str, vocabulary: int = 400) -> PreTrainedTokenizerFast:
    """A tokenizer with its own vocabulary that splits by ``pattern``."""
    made = Tokenizer(models.BPE())
    steps = [
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    made.pre_tokenizer = pre_tokenizers.Sequence(steps)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(WORDS * 3, trainer)
    return fast(made, eos_token="<|endoftext|>", bos_token="<|endoftext|>")


def fast(made: Tokenizer, **names: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=made, clean_up_tokenization_spaces=False, **names)


def special(*texts: str, rstrip: bool = False) -> list[AddedToken]:
    return [AddedToken(text, special=True, normalized=False, rstrip=rstrip) for text in texts]


TOKENIZERS = {
    "mistral": sentencepiece_like(
        *special("[INST]", "[/INST]"), AddedToken("<tool>", special=False, normalized=False), legacy=False
    ),
    "old": sentencepiece_like(legacy=True),
    "phi3": sentencepiece_like(
        *special("<|endoftext|>"), *special("<|assistant|>", "<|end|>", "<|user|>", rstrip=True), legacy=True
    ),
    "unknown": byte_level(next(steps[0] for steps, rule in RULES.items() if rule == "dbrx")),
}


def prompts_of(name: str) -> list[str]:
    return [PROMPTS[name].replace("{}", text) for text in NASTY]


def told(name: str) -> Vocabulary:
    return gguf_vocabulary.read(TOKENIZERS[name], prompts_of(name)[:2])


@pytest.mark.parametrize("name", ["mistral", "old", "phi3"])
def test_a_rebuilt_tokenizer_model_reads_text_as_the_tokenizer_does(name: str) -> None:
    """SentencePiece itself, with the written file, makes the same tokens of any text."""
    tokenizer = TOKENIZERS[name]
    rebuilt = sentencepiece.SentencePieceProcessor(model_proto=gguf_vocabulary.sentencepiece_model(tokenizer))
    assert rebuilt.vocab_size() == len(tokenizer)
    plain = [text for text in NASTY if text.strip() and text[0] != " " and "<s>" not in text]
    assert [rebuilt.encode(text) for text in plain] == [encode(text, tokenizer) for text in plain]
    control = [rebuilt.id_to_piece(number) for number in range(len(tokenizer)) if rebuilt.is_control(number)]
    assert control == [token for token in tokenizer.get_added_vocab() if token not in {"<unk>", "<tool>"}]
    assert [rebuilt.is_byte(tokenizer.convert_tokens_to_ids(token)) for token in ("<0x0A>", "t")] == [True, False]


def test_where_prompts_begin_is_read_off_the_prompts() -> None:
    """A token once at the start is added by the program; one that opens every turn, or none, is not."""
    begins = "tokenizer.ggml.add_bos_token"
    assert told("mistral").flags == {
        begins: True, "tokenizer.ggml.add_eos_token": False, "tokenizer.ggml.add_space_prefix": False,
    }  # fmt: skip
    assert told("old").flags["tokenizer.ggml.add_space_prefix"] is True
    assert told("phi3").flags[begins] is False
    every_turn = ["<s>[INST] a[/INST]", "<s>[INST] a[/INST] b</s><s>[INST] c[/INST]"]
    assert gguf_vocabulary.read(TOKENIZERS["mistral"], every_turn).flags[begins] is False


def test_the_rule_that_splits_text_is_known_by_its_steps() -> None:
    """Whatever its vocabulary; one without a rule in llama.cpp has no name."""
    for steps, rule in RULES.items():
        if steps[-1] == "bytes":
            assert gguf_vocabulary.read(byte_level(steps[0], 270), ["x"]).rule == rule
    assert gguf_vocabulary.read(byte_level(r"\p{N}{1,2}|\s+|\S", 270), ["x"]).rule == ""


def test_a_name_with_phi_3_is_for_phi_3_alone() -> None:
    """llama.cpp takes the name for the tokenizer type and aborts if the tokens are missing."""
    assert told("phi3").named("Mine") == "Mine (phi3)"
    assert told("mistral").named("My Phi-3 phi3 run") == "My phi phi run"


SCRIPT = """
import json, runpy, sys
sys.path.insert(0, {tools!r}); sys.path.append({project!r})
from conversion.base import TextModel
from gguf import GGUFWriter
from core.training.gguf import convert_child
own = TextModel.get_vocab_base_pre, GGUFWriter.write_header_to_file
for folder, told, name in json.loads({jobs!r}):
    TextModel.get_vocab_base_pre, GGUFWriter.write_header_to_file = own
    convert_child.tell(**told)
    sys.argv = ["convert", folder, "--outfile", folder + ".gguf", "--outtype", "f16", "--model-name", name]
    try:
        runpy.run_path({script!r}, run_name="__main__")
    except SystemExit as end:
        print("ended", end.code)
"""


def model_folder(name: str, root: Path) -> Path:
    """A meaningless model around a tokenizer, as an export writes it."""
    tokenizer = TOKENIZERS[name]
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    config, model = (Phi3Config, Phi3ForCausalLM) if name == "phi3" else (LlamaConfig, LlamaForCausalLM)
    folder = root / name
    model(config(**shape, **ends, vocab_size=len(tokenizer), max_position_embeddings=256)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    gguf_vocabulary.write(folder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF for each: the converter as the export runs it, in one process, because it loads slowly."""
    if not gguf_file.CONVERTER.is_file():
        pytest.skip("the GGUF converter is not installed: run setup")
    root = tmp_path_factory.mktemp("vocabularies")
    jobs = [(str(model_folder(name, root)), asdict(told(name)), told(name).named(name)) for name in TOKENIZERS]
    for _, facts, _ in jobs:
        facts.pop("strips")
    jobs.append((jobs[-1][0], {"rule": "", "flags": {}}, "no rule"))
    script = SCRIPT.format(
        tools=str(gguf_file.CONVERTER.parent), project=str(PROJECT), jobs=json.dumps(jobs),
        script=str(gguf_file.CONVERTER),
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["ended", str(NO_RULE)], done.stderr[-2000:]
    return root


@pytest.mark.parametrize("name", TOKENIZERS)
def test_llama_cpp_reads_every_prompt_as_transformers_does(name: str, converted: Path) -> None:
    """Spaces, line breaks, other scripts, bytes, special tokens: token by token, without a doubled first token."""
    prompts = prompts_of(name)
    with closing(Child(converted / f"{name}.gguf", 1, lambda: False, CHILD)) as child:
        read = child.ask({"op": "tokenize", "texts": [[prompt] for prompt in prompts]})["ids"]
    wanted = [encode(prompt, TOKENIZERS[name]) for prompt in prompts]
    assert dict(zip(prompts, read, strict=True)) == dict(zip(prompts, wanted, strict=True))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_control_token_in_a_message_is_the_same_text_for_both(name: str, converted: Path) -> None:
    """llama.cpp and transformers read the same tokens, with no control token but the template's own."""
    tokenizer = TOKENIZERS[name]
    control = control_of(tokenizer)
    said = [form.format(token) for token in sorted(control) for form in ("say {} now", "{0}{0}", "{}")]
    before, _, after = PROMPTS[name].partition("{}")
    after = after.replace("{}", "no")
    asked = [[before + first, *rest[:-1], rest[-1] + after] for first, *rest in (cut_text(t, control) for t in said)]
    with closing(Child(converted / f"{name}.gguf", 1, lambda: False, CHILD)) as child:
        read = child.ask({"op": "tokenize", "texts": asked})["ids"]
        assert set(child.ask({"op": "inspect"})["control"]) == control
    wanted = [ids_of(Shown(tuple(parts)), tokenizer) for parts in asked]
    assert dict(zip(said, read, strict=True)) == dict(zip(said, wanted, strict=True))
    known = {tokenizer.convert_tokens_to_ids(token) for token in control}
    own = [token for token in encode(before + "x" + after, tokenizer) if token in known]
    assert all([token for token in ids if token in known] == own for ids in wanted)
    assert all(text in tokenizer.decode(ids) for text, ids in zip(said, wanted, strict=True))


def test_rollouts_need_no_rule(tmp_path: Path) -> None:
    """Their prompts are tokens: a base model with an unknown tokenizer still runs in llama.cpp."""
    if not gguf_file.CONVERTER.is_file():
        pytest.skip("the GGUF converter is not installed: run setup")
    base = base_gguf(model_folder(list(TOKENIZERS)[-1], tmp_path), Home(tmp_path))
    rules = {"temperature": 0.0}
    request = {"prompts": [[5, 6, 7]], "max_tokens": 3, "stop": [], "rules": rules, "seed": 0, "slots": 1, "cells": 256}
    with closing(Child(base, 1, lambda: False)) as child:
        assert len(child.ask({"op": "generate", **request})["completions"][0]) == 3


def test_a_tokenizer_without_a_llama_cpp_rule_is_refused_with_a_message() -> None:
    """The child's exit code has a meaning; other errors are quoted."""
    ends = [sys.executable, "-c", f"import sys; sys.exit({NO_RULE})"]
    with pytest.raises(Unavailable, match="does not support the way this model's tokenizer splits text"):
        gguf_file.run_child(ends, "It failed", lambda: False, {NO_RULE: gguf_file.NO_RULE_WORDS})
    with pytest.raises(Unavailable, match=rf"It failed \(exit code {NO_RULE}\)"):
        gguf_file.run_child(ends, "It failed", lambda: False)
