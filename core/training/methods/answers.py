"""Answers that were rated good or bad, in tokens, and an order that mixes the two kinds in every batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Sampler

from core.errors import InvalidInput
from core.training.method_rows import Item, answer_ids
from core.training.methods.examples import end_of_turn
from core.training.methods.training_job import TrainingJob


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        item: The row with its prompt. The two answers of a pair share it.
        ids: Tokens of the answer with the end of the turn, at most up to the length limit.
        good: Whether it was rated good, or is the better one of a pair.
        cut: Whether the limit cut it.
    """

    item: Item
    ids: list[int]
    good: bool
    cut: bool

    @property
    def alone(self) -> bool:
        """Whether it is a single rated answer, not one of a pair."""
        return "rated" in self.item.row

    def row(self) -> dict[str, Any]:
        """As TRL's trainers take tokenized answers with a rating."""
        return {"prompt_ids": self.item.prompt_ids, "completion_ids": self.ids, "label": self.good}


def training_answers(job: TrainingJob) -> list[Answer]:
    """The answers to train on, with a note on those that the length limit cut.

    Raises:
        InvalidInput: They are all good or all bad, or fewer than a step needs.
    """
    found = answers(job.data.train, job)
    good = sum(one.good for one in found)
    if not 0 < good < len(found):
        raise InvalidInput(
            f"All {len(found)} answers to train on are {'good' if good else 'bad'}. KTO needs both kinds: add answers "
            f"that are {'bad' if good else 'good'}, or learn from the good ones with SFT.",
            field="dataset.label_field",
        )
    training = job.config.training
    needed = training.batch_size * training.gradient_accumulation_steps
    if len(found) < needed:
        raise InvalidInput(
            f"There are {len(found)} answers to train on, but each step needs {needed}. Use more rows or a smaller "
            "batch.",
            field="dataset.max_samples",
        )
    if cut := sum(one.cut for one in found):
        job.status.note(
            f"{cut} of {len(found)} answers are cut off at the maximum sequence length "
            f"({training.max_sequence_length}), so the model does not learn how they end. Raise it."
        )
    return found


def held_out_answers(job: TrainingJob) -> list[Answer]:
    """The answers that evaluations measure: of at most as many rows as configured, both kinds where there are any.

    The first held-out rows may all be of one kind, which says nothing about the other.
    """
    most = job.config.evaluation.max_prompts
    return answers(both_kinds(job.data.holdout, most), job)


def both_kinds(items: Sequence[Item], most: int) -> list[Item]:
    """At most ``most`` rows in their order, half of them rated good and half bad as far as there are enough."""
    kinds = [[i for i, item in enumerate(items) if rated(item.row)[0][1] is good] for good in (True, False)]
    half = max(most // 2, most - len(kinds[1]))
    good = kinds[0][:half]
    chosen = {*good, *kinds[1][: most - len(good)]}
    return [item for i, item in enumerate(items) if i in chosen]


def answers(items: Sequence[Item], job: TrainingJob) -> list[Answer]:
    """Every answer of the rows; longer ones are truncated at the end."""
    tokenizer, most = job.loaded.tokenizer, job.config.training.max_sequence_length
    end = end_of_turn(tokenizer)
    found = []
    for item in items:
        room = most - len(item.prompt_ids)
        for text, good in rated(item.row):
            ids = answer_ids(text, item, tokenizer, end)
            found.append(Answer(item, ids[:room], good, len(ids) > room))
    return found


def rated(row: Mapping[str, Any]) -> tuple[tuple[str, bool], ...]:
    """The answers of a row, and whether each is good.

    >>> rated({"chosen": "4", "rejected": "5"}), rated({"rated": "5", "label": False})
    ((('4', True), ('5', False)), (('5', False),))
    """
    if "rated" not in row:
        return (str(row["chosen"]), True), (str(row["rejected"]), False)
    return ((str(row["rated"]), bool(row["label"])),)


class MixedOrder(Sampler[int]):
    """A random order in which every batch has as many good answers as their share allows, rounded up or down.

    Answers that are left over after the last whole batch wait for another epoch: an answer alone in a batch could not
    be compared with others.

    Args:
        good: Whether each answer is good, in the order of the dataset.
        batch: Answers per batch.

    Attributes:
        generator: Draws the order; set before iterating.
    """

    generator: torch.Generator

    def __init__(self, good: Sequence[bool], batch: int) -> None:
        self._kinds = ([i for i, one in enumerate(good) if one], [i for i, one in enumerate(good) if not one])
        self._count, self._batch = len(good), batch

    def __len__(self) -> int:
        return self._count // self._batch * self._batch

    def __iter__(self) -> Iterator[int]:
        good, bad = ([kind[i] for i in self._drawn(len(kind))] for kind in self._kinds)
        # Of the first n answers, (n * share of good ones), rounded, are good: counted in whole numbers and shifted by
        # a random phase, every window of a batch then has the rounded share. See tests/training/test_kto.py.
        phase = int(torch.randint(self._count, (1,), generator=self.generator))
        before = 0
        for place in range(1, len(self) + 1):
            until = (place * len(good) + phase) // self._count
            yield good[until - 1] if until > before else bad[place - until - 1]
            before = until

    def _drawn(self, count: int) -> list[int]:
        order: list[int] = torch.randperm(count, generator=self.generator).tolist()
        return order
