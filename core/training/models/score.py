"""Models that score: a question with its answer goes in, one number comes out.

The number is read at the last token of the conversation, rendered with the model's chat template, answer included.
transformers finds that token as the last one that is not padding, by its id alone. If the padding token were the one
that ends the text, the score would be read one token too early; :func:`score_at_the_end` prevents that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from core.data.conversation import Conversation, Message
from core.errors import InvalidInput
from core.training.method_rows import ids_of, shown

HEADS = frozenset({"score", "classifier"})
"""Names of the part that gives the score, as PEFT knows them, too."""
BATCH = 8
"""Texts of one forward pass."""


def check_scorable(source: str, revision: str | None = None) -> None:
    """Check from a model's ``config.json`` that it can be trained to score, before its weights are loaded.

    Raises:
        InvalidInput: It already is a classifier with several outputs, or transformers cannot put a score on it.
        OSError, ValueError: From transformers, if there is no such model.
    """
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    known = [str(name) for name in config.architectures or ()]
    if any("SequenceClassification" in name for name in known) and config.num_labels != 1:
        raise InvalidInput(
            f"{source} is a classifier with {config.num_labels} outputs, and a reward model has one: the score. Choose "
            "a language model, or a classifier with one output.",
            field="model.name",
        )
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise InvalidInput(
            f"{source} cannot become a reward model: for its architecture ({config.model_type}), transformers has no "
            "model that scores. Choose another base model, such as a Llama or Qwen.",
            field="model.name",
        )


def with_score(source: str, revision: str | None = None, *, seed: int, dtype: str, **extra: Any) -> Any:
    """A model with a score in place of the output layer of a language model.

    Args:
        source: A folder or a Hugging Face id; a language model, or a classifier with one output.
        revision: Of a Hugging Face id.
        seed: Determines the score's weights if they are new.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        extra: Further arguments of transformers.

    Raises:
        InvalidInput: See :func:`check_scorable`; or weights other than the score's are missing.
        OSError, ValueError: From transformers.
    """
    check_scorable(source, revision)
    set_seed(seed)
    with _quiet():  # A report on the missing score would be the first thing in the log.
        model, info = AutoModelForSequenceClassification.from_pretrained(
            source,
            revision=revision,
            num_labels=1,
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **extra,
        )
    missing = sorted(name for name in info["missing_keys"] if name.split(".")[0] not in HEADS)
    if missing:
        raise InvalidInput(
            f"The weights of {source} are incomplete: {missing[0]} is missing. Download it again, or choose another "
            "base model.",
            field="model.name",
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def score_at_the_end(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give model and tokenizer a padding token that never ends a text; pad on the right, shorten on the left."""
    last = text_ids(Conversation(({"role": "user", "content": "question"},)), "answer", tokenizer)[-1]
    specials = [token for token in tokenizer.added_tokens_decoder.values() if token.special]
    usual = (tokenizer.pad_token, tokenizer.unk_token, tokenizer.bos_token)
    known = [*(str(token) for token in (*usual, *specials) if token)]
    tokenizer.pad_token = next(
        (token for token in known if tokenizer.convert_tokens_to_ids(token) != last), tokenizer.pad_token
    )
    tokenizer.padding_side, tokenizer.truncation_side = "right", "left"
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id


def text_ids(prompt: Conversation, answer: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens of a conversation that ends with an answer, as the chat template renders it.

    Args:
        prompt: Everything before the answer.
        answer: May have reasoning; control tokens in it are text. May be empty.
        tokenizer: The model's.

    Raises:
        InvalidInput: The chat template cannot render it.
    """
    said: Message = {"role": "assistant", "content": answer}
    whole = Conversation((*prompt.messages, said), prompt.tools, prompt.as_is)
    return ids_of(shown(whole, tokenizer, ask=False), tokenizer)


def shortened(ids: list[int], most: int) -> list[int]:
    """The last ``most`` tokens: the end of the answer is kept, because the score is read there.

    >>> shortened([1, 2, 3], 2)
    [2, 3]
    """
    return ids[-most:]


def scores(model: Any, texts: Sequence[list[int]], batch: int = BATCH) -> list[float]:
    """The score of each text, in order.

    Args:
        model: With one output, as :func:`score_at_the_end` leaves it. Its mode is restored afterwards.
        texts: Tokens; not empty.
        batch: Texts of one forward pass, which is padded on the right. Texts of like length share one.
    """
    found = [0.0] * len(texts)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(order), batch):
                places = order[start : start + batch]
                values = forward(model, [texts[place] for place in places]).tolist()
                for place, value in zip(places, values, strict=True):
                    found[place] = value
    finally:
        model.train(was_training)
    return found


def forward(model: Any, texts: Sequence[list[int]]) -> torch.Tensor:
    """One forward pass: shape (texts,), in float32."""
    longest, pad = max(map(len, texts)), model.config.get_text_config().pad_token_id
    ids = torch.tensor([[*text, *[pad] * (longest - len(text))] for text in texts], device=model.device)
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts], device=model.device)
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits[:, 0].float()
