"""One gradient accumulation window: its rows, grouped by question, and the values computed for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class WindowRow(NamedTuple):
    """One completion of the window: its micro-batch and its row in it."""

    batch: int
    row: int


@dataclass
class Window:
    """One gradient accumulation window, computed at once.

    Attributes:
        batches: TRL's micro-batches, in order.
        log_probabilities, entropies: For each micro-batch ``(rows, C)``, without gradients.
        used: Micro-batches that TRL has already asked for.
    """

    batches: list[dict[str, Any]]
    log_probabilities: list[Tensor]
    entropies: list[Tensor]
    used: int = 0

    @classmethod
    def of(cls, batches: list[dict[str, Any]]) -> Window:
        """A window in which nothing is computed yet: skipped rows keep these values."""
        # The old policy's numbers, so that the ratio of a row that is skipped or not computed yet is 1: another one
        # might overflow, and infinity times an advantage of zero is NaN. TRL omits old_per_token_logps if they
        # would equal the new ones; the ratio is then always 1.
        empty = [torch.zeros(batch["completion_ids"].shape) for batch in batches]
        old = [batch.get("old_per_token_logps") for batch in batches]
        known = [(zeros if logps is None else logps).clone() for zeros, logps in zip(empty, old, strict=True)]
        return cls(batches, known, empty)

    def micro_batches(self) -> Iterator[list[WindowRow]]:
        """The rows that are not skipped, as TRL split them."""
        for batch, inputs in enumerate(self.batches):
            rows = [WindowRow(batch, row) for row in _kept(inputs).nonzero().flatten().tolist()]
            if rows:
                yield rows

    def groups(self, limit: int) -> Iterator[list[WindowRow]]:
        """The rows that are not skipped, in chunks of whole groups if they fit.

        Args:
            limit: Maximum tokens of a chunk; the largest micro-batch always fits.
        """
        # By their tokens: TRL has shuffled the rows, and a micro-batch does not record a row's group.
        groups: dict[tuple[int, ...], list[WindowRow]] = defaultdict(list)
        for row in (row for rows in self.micro_batches() for row in rows):
            groups[self._prompt(row)].append(row)
        limit = max([limit, *(_tokens(batch) for batch in self.batches)])
        chunk: list[WindowRow] = []
        tokens = 0
        for prompt, rows in groups.items():
            tokens += len(prompt)
            for row in rows:
                answer = int(self.batches[row.batch]["completion_mask"][row.row].sum())
                if chunk and tokens + answer > limit:
                    yield chunk
                    chunk, tokens = [], len(prompt)
                chunk.append(row)
                tokens += answer
        if chunk:
            yield chunk

    def stacked(self, chunk: list[WindowRow]) -> tuple[Tensor, Tensor, int]:
        """Token ids and mask, ``(rows, P + C)`` each, and C."""

        def column(name: str) -> Tensor:
            return torch.stack([self.batches[batch][name][row] for batch, row in chunk])

        completions = column("completion_ids")
        ids = torch.cat([column("prompt_ids"), completions], dim=1)
        return ids, torch.cat([column("prompt_mask"), column("completion_mask")], dim=1), completions.shape[1]

    def fill_entropies(self) -> None:
        """Skipped rows get the mean of the others, so that TRL's mean is that of the computed rows."""
        masks = [batch["completion_mask"] for batch in self.batches]
        kept = [_kept(batch) for batch in self.batches]
        weights = [mask * keep[:, None] for mask, keep in zip(masks, kept, strict=True)]
        total = sum(float((e * w).sum()) for e, w in zip(self.entropies, weights, strict=True))
        count = sum(int(weight.sum()) for weight in weights)
        mean = total / count if count else float("nan")
        for entropies, keep in zip(self.entropies, kept, strict=True):
            entropies[~keep] = mean

    def _prompt(self, row: WindowRow) -> tuple[int, ...]:
        batch = self.batches[row.batch]
        return tuple(batch["prompt_ids"][row.row][batch["prompt_mask"][row.row].bool()].tolist())


def constant_groups(rewards: Tensor, weights: Tensor, group: int) -> Tensor:
    """Which rows belong to a group whose raw rewards are all equal.

    Args:
        rewards: ``(B, functions)``; NaN where a function does not apply.
        weights: ``(functions,)``.
        group: Rows of one prompt, which are adjacent.

    Returns:
        ``(B,)`` of booleans.

    >>> constant_groups(torch.tensor([[0.2], [0.2], [0.0], [1.0]]), torch.ones(1), 2).tolist()
    [True, True, False, False]
    """
    totals = (rewards * weights).nansum(dim=1)
    totals[rewards.isnan().all(dim=1)] = torch.nan
    grouped = totals.view(-1, group)
    highest = grouped.nan_to_num(nan=-torch.inf).amax(dim=1)
    lowest = grouped.nan_to_num(nan=torch.inf).amin(dim=1)
    return (highest <= lowest).repeat_interleave(group)


def _kept(batch: dict[str, Any]) -> Tensor:
    skipped = batch.get("skipped")
    return torch.ones(batch["completion_ids"].shape[0], dtype=torch.bool) if skipped is None else ~skipped


def _tokens(batch: dict[str, Any]) -> int:
    return int(batch["prompt_mask"].sum() + batch["completion_mask"].sum())
