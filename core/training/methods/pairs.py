"""Pairs of a better and a worse answer in tokens, for every method that learns from preferences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.config import RunConfig
from core.errors import InvalidInput
from core.methods import method
from core.training.job.status import Status
from core.training.method_rows import Item, answer_ids
from core.training.methods.examples import end_of_turn
from core.training.methods.training_job import TrainingJob

NAMED = 3
"""Rows that a note names."""


@dataclass(frozen=True)
class Pair:
    """One row.

    Attributes:
        item: The row with its prompt.
        chosen: Tokens of the better answer with the end of the turn, at most up to the length limit.
        rejected: The same of the worse one.
        cut: Whether the limit cut one of them.
    """

    item: Item
    chosen: list[int]
    rejected: list[int]
    cut: bool


def training_pairs(job: TrainingJob) -> list[Pair]:
    """The pairs to train on, with notes on those that the length limit cut.

    Raises:
        InvalidInput: Too few are left for a step.
    """
    found = pairs(job.data.train, job)
    kept = distinct(found, job.config, job.status)
    needed = method(job.config.method).rows_a_step(job.config)
    if len(kept) < needed:
        raise InvalidInput(
            f"There are {len(kept)} pairs to train on, but each step needs {needed}. Use more rows, a smaller batch, "
            f"or a maximum sequence length above {job.config.training.max_sequence_length}.",
            field="dataset.max_samples",
        )
    return kept


def pairs(items: Sequence[Item], job: TrainingJob) -> list[Pair]:
    """Every row as a pair; longer answers are truncated at the end."""
    tokenizer, most = job.loaded.tokenizer, job.config.training.max_sequence_length
    end = end_of_turn(tokenizer)
    found = []
    for item in items:
        both = [answer_ids(str(item.row[side]), item, tokenizer, end) for side in ("chosen", "rejected")]
        room = most - len(item.prompt_ids)
        found.append(Pair(item, both[0][:room], both[1][:room], any(len(ids) > room for ids in both)))
    return found


def distinct(found: Sequence[Pair], config: RunConfig, status: Status) -> list[Pair]:
    """The pairs whose answers differ within the length limit; notes on the others, and on those that were cut."""
    kept = [pair for pair in found if pair.chosen != pair.rejected]
    limit = config.training.max_sequence_length
    if lost := [pair for pair in found if pair.chosen == pair.rejected]:
        names = "; ".join(repr(str(pair.item.row["instruction"])[:60]) for pair in lost[:NAMED])
        more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
        status.note(
            f"{len(lost)} of {len(found)} pairs were skipped: their answers differ only after the maximum sequence "
            f"length ({limit}). Raise it. They are the rows {names}{more}."
        )
    if cut := sum(pair.cut for pair in kept):
        status.note(
            f"In {cut} of {len(kept)} pairs an answer is cut off at the maximum sequence length ({limit}), so the "
            "model does not learn how it ends. Raise it."
        )
    return kept
