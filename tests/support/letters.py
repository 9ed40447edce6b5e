"""A random character-level model of a few kilobytes, with its tokenizer."""

from __future__ import annotations

import string
from pathlib import Path

NAME = "letters"
BASE = f"builtin:{NAME}"
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_base(models: Path) -> None:
    """Write it to ``models/letters``; the same weights every time."""
    import torch
    from tokenizers import Tokenizer, decoders
    from tokenizers import models as kinds
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>"]
    letters = [*special, *sorted(set(string.printable) - set("\r\t\v\f"))]
    tokenizer = Tokenizer(kinds.BPE({letter: place for place, letter in enumerate(letters)}, [], unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>",
        unk_token="<unk>", additional_special_tokens=["<|endoftext|>"],
    )  # fmt: skip
    fast.chat_template = _TEMPLATE
    fast.save_pretrained(models / NAME)
    torch.manual_seed(1)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        **shape, num_key_value_heads=1, vocab_size=len(letters), max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=2, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(models / NAME)
