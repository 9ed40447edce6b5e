"""What a GGUF must contain about a tokenizer so that llama.cpp tokenizes prompts like the trained model.

transformers saves a tokenizer as ``tokenizer.json`` only. llama.cpp's converter reads SentencePiece tokenizers (Llama
2, Mistral, Phi-3, Gemma) from ``tokenizer.model``; without it they lose their merge order and special tokens, or are
rejected. So that file is written here from the tokenizer itself, including added tokens. The converter recognizes
byte-level tokenizers by a hash of one text's tokens. For those with a different vocabulary, it is given the name of the
rule that splits text, if llama.cpp has that rule.

Whether a prompt gets a first token, and whether a space is inserted before a text, is derived from the trained model's
own prompts. The check after the export compares every token.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

proto: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
"""Generated on import, so type checkers cannot read it."""
KIND = proto.ModelProto.SentencePiece
MARK = "\u2581"
"""SentencePiece's symbol for a space."""
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
PHI3 = re.compile("phi-?3", re.IGNORECASE)
PHI3_SPECIAL = ("<unk>", "<s>", "</s>", "<|endoftext|>")
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
LOWER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
PATHS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
RULES: dict[tuple[str, ...], str] = {
    ("gpt2",): "gpt-2",
    ("digits", "gpt2"): "smollm",
    (rf"{CONTRACTIONS}|{WORDS}|\p{{N}}|{REST}", "bytes"): "qwen2",
    (rf"{CONTRACTIONS}|{WORDS}|\p{{N}}{{1,3}}|{REST}", "bytes"): "dbrx",
    (rf"{UPPER}{CONTRACTIONS}?|{LOWER}{CONTRACTIONS}?|\p{{N}}{{1,3}}|{PATHS}", "bytes"): "gpt-4o",
    (rf"{UPPER}|{LOWER}|\p{{N}}|{PATHS}", "bytes"): "tekken",
}
"""llama.cpp's pre-tokenizer names, by the steps of the tokenizer's own pre-tokenizer."""
WHOLE_WORDS = {"dbrx": "llama-bpe"}
"""The same for tokenizers that take whole-word tokens without merging."""


@dataclass(frozen=True)
class Vocabulary:
    """What the converter needs besides the model's folder.

    Attributes:
        rule: llama.cpp's name of the pre-tokenizer, used if the converter does not recognize the tokenizer; empty if
            llama.cpp has none.
        flags: Header fields by name for the start and end of a prompt.
        strips: Whether special tokens consume the whitespace after them, as Phi-3's.
    """

    rule: str = ""
    flags: dict[str, bool] = field(default_factory=dict)
    strips: bool = False

    def named(self, name: str) -> str:
        """A model name for the file's header: llama.cpp strips if it contains Phi-3.

        It cannot load a model with that name without Phi-3's special tokens.
        """
        return f"{name} (phi3)" if self.strips else PHI3.sub("phi", name)


def read(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> Vocabulary:
    """What to tell the converter.

    Args:
        tokenizer: The trained model's.
        prompts: Rendered conversations, with one turn and with several.
    """
    parts = _parts(tokenizer)
    added = parts["added_tokens"]
    flags = {
        # A first token that opens every turn is part of the text.
        "tokenizer.ggml.add_bos_token": _first_only(prompts, str(tokenizer.bos_token or "")),
        # No prompt ends with an end token.
        "tokenizer.ggml.add_eos_token": False,
    }
    if is_sentencepiece(parts):
        flags["tokenizer.ggml.add_space_prefix"] = _adds_space(tokenizer, prompts, [one["content"] for one in added])
    strips = any(one["rstrip"] for one in added) and {*PHI3_SPECIAL} <= tokenizer.get_vocab().keys()
    return Vocabulary("" if is_sentencepiece(parts) else _rule(parts), flags, strips)


def write(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Add the files that the converter looks for to a model's folder.

    Args:
        folder: A newly written model with its tokenizer.
        tokenizer: The same.
    """
    parts = _parts(tokenizer)
    if is_sentencepiece(parts):
        (folder / "tokenizer.model").write_bytes(sentencepiece_model(tokenizer))
        # The converter does not read added tokens from that file.
        _set(folder, added_tokens_decoder={str(one["id"]): one for one in parts["added_tokens"]})
    elif json.loads((folder / "config.json").read_text("utf-8")).get("model_type") == "phi3":
        # transformers writes its newer class name for any tokenizer; the converter tells Phi-4 from Phi-3 by the old
        # one.
        _set(folder, tokenizer_class="GPT2Tokenizer")


def _set(folder: Path, **values: Any) -> None:
    settings = folder / "tokenizer_config.json"
    given = json.loads(settings.read_text("utf-8"))
    settings.write_text(json.dumps({**given, **values}, indent=2), "utf-8")


def is_sentencepiece(parts: dict[str, Any]) -> bool:
    """Whether a ``tokenizer.json`` is a SentencePiece model with merges and byte fallback."""
    model = parts["model"]
    return model["type"] == "BPE" and bool(model.get("byte_fallback")) and "<0x00>" in model["vocab"]


def sentencepiece_model(tokenizer: PreTrainedTokenizerBase) -> bytes:
    """A tokenizer as the content of a ``tokenizer.model``."""
    parts = _parts(tokenizer)
    made = proto.ModelProto()
    for text, score, kind in _pieces(parts["model"], {one["id"]: one for one in parts["added_tokens"]}):
        made.pieces.add(piece=text, score=score, type=kind)
    trainer = made.trainer_spec
    trainer.model_type = proto.TrainerSpec.BPE
    trainer.byte_fallback = True
    trainer.vocab_size = len(made.pieces)
    trainer.unk_id = next(number for number, piece in enumerate(made.pieces) if piece.type == KIND.UNKNOWN)
    trainer.unk_piece = made.pieces[trainer.unk_id].piece
    for name in ("bos", "eos", "pad"):
        number = getattr(tokenizer, f"{name}_token_id")
        setattr(trainer, f"{name}_id", -1 if number is None else number)
        if number is not None:
            setattr(trainer, f"{name}_piece", str(getattr(tokenizer, f"{name}_token")))
    made.normalizer_spec.name = "identity"
    made.normalizer_spec.add_dummy_prefix = _space_after("", tokenizer)
    made.normalizer_spec.remove_extra_whitespaces = False
    return bytes(made.SerializeToString())


def _pieces(model: dict[str, Any], added: dict[int, dict[str, Any]]) -> Iterator[tuple[str, float, int]]:
    """Text, score and kind of each token, by id.

    SentencePiece merges the pair with the highest-scoring result, so a score is the rank of the token's first merge.
    """
    words: dict[int, str] = {number: text for text, number in model["vocab"].items()}
    unknown = model["vocab"].get(model.get("unk_token") or "<unk>", next(iter(added), 0))
    places: dict[str, int] = {}
    for place, merge in enumerate(model["merges"]):
        places.setdefault(merge.replace(" ", "") if isinstance(merge, str) else "".join(merge), place)
    for number in range(max([*words, *added]) + 1):
        text = words.get(number, f"[PAD{number}]")
        kind = KIND.NORMAL if number in words else KIND.UNUSED
        if number in added:
            text, kind = _added(added[number])
        elif BYTE.fullmatch(text):
            kind = KIND.BYTE
        yield text, -float(places.get(text, len(model["merges"]))), KIND.UNKNOWN if number == unknown else kind


def _added(token: dict[str, Any]) -> tuple[str, int]:
    if token["special"]:
        return token["content"], KIND.CONTROL
    # llama.cpp looks for these in the raw text.
    return token["content"].replace(MARK, " "), KIND.USER_DEFINED


def _parts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # written in Python: the converter gets no facts
        return {"model": {"type": ""}, "added_tokens": []}
    found: dict[str, Any] = json.loads(backend.to_str())
    return found


def _first_only(prompts: Sequence[str], first: str) -> bool:
    return bool(first) and all(prompt.startswith(first) and prompt.count(first) == 1 for prompt in prompts)


def _adds_space(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], added: Sequence[str]) -> bool:
    """Whether a space is added at the start of the trained model's prompts: after a special token or not."""
    start = max((one for one in added if prompts[0].startswith(one)), key=len, default="")
    return _space_after(start, tokenizer)


def _space_after(start: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    ids = tokenizer(f"{start}x", add_special_tokens=False)["input_ids"]
    return "".join(tokenizer.convert_ids_to_tokens(ids)).removeprefix(start).startswith(MARK)


def _rule(parts: dict[str, Any]) -> str:
    """llama.cpp's name of the tokenizer's pre-tokenizer; empty if it has none."""
    given = parts.get("pre_tokenizer") or {}
    steps = tuple(_step(step) for step in given.get("pretokenizers", [given]))
    rule = RULES.get(steps, "")
    return WHOLE_WORDS.get(rule, rule) if parts["model"].get("ignore_merges") else rule


def _step(step: dict[str, Any]) -> str:
    match step:
        case {"type": "Split", "pattern": {"Regex": pattern}}:
            return str(pattern)
        case {"type": "Digits", "individual_digits": True}:
            return "digits"
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": split}:
            return "gpt2" if split else "bytes"
    return "another"
