"""Training examples from rows with a reference answer, for the warm-up and supervised fine-tuning."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from core.config import RunConfig
from core.training.method_rows import Item, rendered, target_ids
from core.training.methods.loop import IGNORED, Example


def reference_examples(
    items: list[Item], config: RunConfig, tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> list[Example]:
    """Each row's prompt and reference answer. Only the answer and its end token are learned.

    Args:
        items: The rows, each with a reference answer.
        config: Determines the answer's format.
        tokenizer: The model's.
        max_length: Longer rows are truncated at the end.
    """
    end = end_of_turn(tokenizer)
    return [_example(item, config, tokenizer, end, max_length) for item in items]


def _example(item: Item, config: RunConfig, tokenizer: PreTrainedTokenizerBase, end: str, max_length: int) -> Example:
    answer = target_ids(item.row, config, tokenizer, item.opened, end)
    ids = [*item.prompt_ids, *answer][:max_length]
    labels = [*[IGNORED] * len(item.prompt_ids), *answer][:max_length]
    return Example(ids, labels)


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> str:
    """The token that this model's template puts after an answer, usually its end-of-sequence token."""
    probe = "answer-without-markup"
    talk = [{"role": "user", "content": "question"}, {"role": "assistant", "content": probe}]
    text = rendered(talk, tokenizer, ask=False)
    rest = text.rpartition(probe)[2]
    known = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    found = [token for token in known if token and rest.lstrip().startswith(token)]
    return max(found, key=len, default=str(tokenizer.eos_token))
