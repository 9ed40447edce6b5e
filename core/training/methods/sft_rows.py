"""The training rows of supervised fine-tuning: tokens with a weight each, for every choice of ``training.train_on``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from core.config import RunConfig
from core.data.rows import is_text
from core.data.spans import NOTES, Template, texts_of
from core.data.trained_on import TrainingText, weighted
from core.errors import InvalidInput
from core.methods import method
from core.training.job.status import Status
from core.training.method_rows import Item, control_of, encode, special_tokens
from core.training.methods.examples import end_of_turn, reference_examples
from core.training.methods.loop import IGNORED, WEIGHTS, Example

SHOWN = 5
"""Row numbers in a note; more would hide the reason."""
NOTHING_TRAINED = "no message in them is trained with this choice of what is trained on"


@dataclass
class TrainingRows:
    """Rows to train on, and what has to be said about them.

    Attributes:
        examples: All have :data:`WEIGHTS` in their values if the weight of any token is neither 0 nor 1.
        cut: Examples that are truncated at the end.
        skipped: Numbers of the rows without a trained token, counted from 1, by the reason.
        changes: Rows by what was done to train on them.
        noun: What an example is called.
    """

    examples: list[Example] = field(default_factory=list)
    cut: int = 0
    skipped: dict[str, list[int]] = field(default_factory=dict)
    changes: Counter[str] = field(default_factory=Counter)
    noun: str = "training texts"

    @property
    def are_weighted(self) -> bool:
        """Whether their loss needs weights."""
        return any(one.values for one in self.examples)

    def note(self, status: Status, config: RunConfig) -> None:
        """Report what was skipped, truncated and changed.

        Raises:
            InvalidInput: Too few are left for a step.
        """
        for reason, numbers in self.skipped.items():
            status.note(f"{_named(numbers)} skipped: {reason}.")
        self.require(method(config.method).rows_a_step(config))
        if self.cut:
            status.note(
                f"{self.cut} of {len(self.examples)} {self.noun} are cut off at the maximum sequence length "
                f"({config.training.max_sequence_length}), so the model does not learn how they end. Raise it."
            )
        for change, count in self.changes.items():
            status.note(f"{count} rows: {NOTES[change]}.")

    def require(self, needed: int) -> None:
        """Reject too few rows, with the reasons.

        Raises:
            InvalidInput: There are fewer than needed.
        """
        if len(self.examples) >= needed:
            return
        reasons = "; ".join(f"{_named(numbers)} skipped: {reason}" for reason, numbers in self.skipped.items())
        left = f"{len(self.examples)} {self.noun} are left, and {needed} are needed." if self.examples else ""
        raise InvalidInput(
            f"There are not enough rows with a token to train on. {left} {reasons}.".replace("  ", " "),
            field="training.train_on" if NOTHING_TRAINED in self.skipped else "training.max_sequence_length",
        )


def training_rows(items: Sequence[Item], config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> TrainingRows:
    """Tokenize rows for training; longer ones are truncated at the end.

    Args:
        items: The rows. Unless conversations are trained whole, their prompts are used as they are.
        config: Determines what is trained on.
        tokenizer: The model's.
    """
    if config.trains_conversations or any(is_text(item.row) for item in items):
        return _Whole(config, tokenizer).rows(items)
    limit = config.training.max_sequence_length
    found = reference_examples(list(items), config, tokenizer, max_length=limit)
    end = encode(end_of_turn(tokenizer), tokenizer)[-1]
    return TrainingRows(found, cut=sum(one.ids[-1] != end for one in found), noun="answers")


class _Whole:
    """Tokenizes whole conversations and plain texts."""

    def __init__(self, config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        self._config, self._tokenizer = config, tokenizer
        self._limit = config.training.max_sequence_length
        self._template = template_of(tokenizer)
        self._found = TrainingRows()

    def rows(self, items: Sequence[Item]) -> TrainingRows:
        found, config = self._found, self._config
        for item in items:
            try:
                texts = texts_of(item.row, config.dataset, config.training.train_on, self._template)
            except InvalidInput as error:
                self._skip(item, error.message.rstrip("."))
                continue
            found.changes.update(change for change in texts.changes if change in NOTES)
            self._add(item, [self._example(text) for text in texts.texts])
        if not any(set(one.values[WEIGHTS]) - {0.0, 1.0} for one in found.examples):
            found.examples = [Example(one.ids, one.labels) for one in found.examples]
        return found

    def _add(self, item: Item, examples: list[Example]) -> None:
        trained = [one for one in examples if _trains(one)]
        kept = [one for one in trained if _trains(_first(one, self._limit))]
        if not trained:
            self._skip(item, NOTHING_TRAINED)
        elif not kept:
            self._skip(item, f"the maximum sequence length ({self._limit}) cuts off everything in them that is trained")
        elif len(kept) < len(trained):
            self._skip(item, f"of these only the turns that are trained after the maximum length ({self._limit})")
        self._found.cut += sum(len(one.ids) > self._limit for one in kept)
        self._found.examples += [_first(one, self._limit) for one in kept]

    def _skip(self, item: Item, reason: str) -> None:
        self._found.skipped.setdefault(reason, []).append(item.number)

    def _example(self, text: TrainingText) -> Example:
        ids, weights = weighted(text, lambda part: encode(part, self._tokenizer))
        labels = [one if weight else IGNORED for one, weight in zip(ids, weights, strict=True)]
        return Example(ids, labels, {WEIGHTS: weights})


def template_of(tokenizer: PreTrainedTokenizerBase) -> Template:
    """A tokenizer's chat template, and its special tokens."""
    whole, plain = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
    first = str(tokenizer.convert_ids_to_tokens(whole[0]))
    begin = first if whole[1 : 1 + len(plain)] == plain and whole[0] == tokenizer.bos_token_id else ""
    return Template(str(tokenizer.chat_template), special_tokens(tokenizer), control_of(tokenizer), begin)


def _trains(one: Example) -> bool:
    """Whether a token is learned. The first of a text never is: no token precedes it."""
    return any(one.values[WEIGHTS][1:])


def _first(one: Example, count: int) -> Example:
    values = {name: cells[:count] for name, cells in one.values.items()}
    return Example(one.ids[:count], one.labels[:count], values)


def _named(numbers: Sequence[int]) -> str:
    """Some row numbers as the beginning of a sentence.

    >>> _named([4]), _named([1, 2]), _named(range(1, 9))
    ('Training row 4 was', 'Training rows 1, 2 were', 'Training rows 1, 2, 3, 4, 5 and 3 more were')
    """
    if len(numbers) == 1:
        return f"Training row {numbers[0]} was"
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"Training rows {', '.join(map(str, numbers[:SHOWN]))}{more} were"
