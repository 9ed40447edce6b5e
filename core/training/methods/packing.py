"""Packing: several short rows in one sequence, without attention from one row to another.

Each row's positions start at 0 again, and there is no padding mask; transformers then builds a mask in which a token
sees only its own row (``find_packed_sequence_indices`` in ``transformers/masking_utils.py``). A model that ignores
positions, such as one with ALiBi or a recurrent state, mixes the rows instead, so :func:`check` compares a packed row
with the same row alone before training starts.

Not supported: splitting a row over two sequences.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from core.errors import InvalidInput
from core.training.methods.loop import IGNORED, Example
from core.training.rollouts.generate import evaluating

SHORT = 48
"""Tokens of each row that :func:`check` compares."""
SAME = 1e-5
"""Largest difference of a logit, as a share of the largest logit, that other tokens in the row before may make. Without
a leak the two are computed alike and usually equal. The smallest known leak, LFM2's convolution, reaches 1e-4."""
EXACT, ROUNDED = 1e-3, 0.1
"""The same between a row that is packed and one that is alone, in float32 and in 16 bits; they are computed
differently, so rounding differs. Models without positions of their own, such as Bloom, exceed it in float32."""
LEAKS = (
    "This model mixes rows that are packed into one sequence, so they would change each other's loss. Turn packing off."
)


def packs(examples: Sequence[Example], limit: int, seed: int) -> list[list[Example]]:
    """Distribute rows over sequences: longest first, each into the fullest sequence that has room for it.

    The result depends only on the arguments, so a resumed run packs the same rows together.

    Args:
        examples: Rows of at most ``limit`` tokens.
        limit: Tokens in a sequence.
        seed: Shuffles rows of the same length, so that neighbors in the dataset are not packed together.

    >>> rows = [Example([0] * size, [0] * size) for size in (5, 2, 3, 1)]
    >>> [[len(one.ids) for one in pack] for pack in packs(rows, 6, seed=0)]
    [[5, 1], [3, 2]]
    """
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)  # noqa: S311  # an order, not a secret
    found: list[list[Example]] = []
    rooms: list[tuple[int, int]] = []  # (free tokens, index of the sequence), sorted
    for place in sorted(order, key=lambda one: -len(examples[one].ids)):
        size = len(examples[place].ids)
        fullest = bisect_left(rooms, (size, -1))
        if fullest < len(rooms):
            room, at = rooms.pop(fullest)
        else:
            room, at = limit, len(found)
            found.append([])
        found[at].append(examples[place])
        insort(rooms, (room - size, at))
    return found


def in_one(rows: Sequence[Example]) -> Example:
    """The rows as one sequence. No row's first token is learned: the token before it belongs to another row."""
    names = rows[0].values
    return Example(
        ids=[token for row in rows for token in row.ids],
        labels=[label for row in rows for label in (IGNORED, *row.labels[1:])],
        values={name: [value for row in rows for value in row.values[name]] for name in names},
    )


def columns(rows: Sequence[Example]) -> dict[str, list[int]]:
    """A sequence for the trainer's dataset; ``seq_lengths`` has the rows' lengths."""
    whole = in_one(rows)
    return {"input_ids": whole.ids, "labels": whole.labels, "seq_lengths": [len(row.ids) for row in rows]}


class PackCollator:
    """Makes batches of packed sequences, without an attention mask: transformers derives it from the positions.

    A batch keeps its sequences apart, because attention over all of them in one long sequence takes time and memory
    with the square of its length. Padding has position 0, so every padding token is a row of its own.

    Args:
        pad: The padding token; any, because it is not learned and no row sees it.
    """

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, features: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, torch.Tensor]:
        """Returns ``input_ids``, ``labels`` and ``position_ids``, each ``(sequences, tokens)`` int64."""
        longest = max(len(one["input_ids"]) for one in features)

        def padded(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
            return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], dtype=torch.int64)

        return {
            "input_ids": padded([one["input_ids"] for one in features], self._pad),
            "labels": padded([one["labels"] for one in features], IGNORED),
            "position_ids": padded([positions(one["seq_lengths"]) for one in features], 0),
        }


def positions(lengths: Sequence[int]) -> list[int]:
    """Positions that start at 0 in each row.

    >>> positions([3, 2])
    [0, 1, 2, 0, 1]
    """
    return [place for length in lengths for place in range(length)]


def check(model: Any, examples: Sequence[Example]) -> None:
    """Compare rows that are packed with the same rows alone, on the model itself.

    Must be called before a trainer replaces the model's ``forward``: it needs all logits.

    Args:
        model: On its device; its parameters are not changed.
        examples: At least one; the first two are used.

    Raises:
        InvalidInput: The model mixes packed rows.
    """
    first, second = examples[0].ids[:SHORT], examples[-1 if len(examples) < 2 else 1].ids[:SHORT]
    lengths = [len(first), len(second)]
    try:
        alone = _logits(model, second, lengths[1:])
        packed, other = (_logits(model, [*before, *second], lengths)[len(first) :] for before in (first, first[::-1]))
    except (TypeError, ValueError) as error:  # The model takes no positions, or refuses them.
        raise InvalidInput(LEAKS, field="sft.packing") from error
    largest, limit = float(alone.abs().max()), EXACT if model.dtype is torch.float32 else ROUNDED
    # Not 'greater than', so that NaN is refused too.
    if not (_apart(packed, other) <= SAME * largest and _apart(packed, alone) <= limit * largest):
        raise InvalidInput(LEAKS, field="sft.packing")


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def _logits(model: Any, ids: Sequence[int], lengths: Sequence[int]) -> torch.Tensor:
    """``(tokens, vocabulary)`` float32."""
    device = model.device
    with evaluating(model), torch.no_grad():
        found: torch.Tensor = model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([positions(lengths)], device=device),
            use_cache=False,
        ).logits
    return found[0].float()
