"""From a configuration to the rows of a run: read, mapped, cleaned, split. Preview and training share this."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from core.config import RunConfig
from core.data.cleaning import OVERLAP, Parses, Preparation, Removed, without_overlap
from core.data.preferences import RATED_BAD, rated_bad
from core.data.rows import map_rows, split_rows
from core.data.sources import load_rows
from core.dataset import Row
from core.errors import InvalidInput
from core.methods import method
from core.settings import Home
from core.text import json_line


@dataclass(frozen=True)
class PreparedRows:
    """The rows of a run.

    Attributes:
        read: Number of raw rows.
        left_out: How many were left out, by reason.
        removed: The same with example rows, for the cleaning steps.
        train, holdout, test: See :class:`core.data.rows.Split`.
        spare: How many held-out rows are not scored.
        sha256: Content hash of the prepared dataset: of all used mapped rows, in order.
    """

    read: int
    left_out: dict[str, int]
    train: list[Row]
    holdout: list[Row]
    test: list[Row]
    spare: int
    sha256: str
    removed: dict[str, Removed] = field(default_factory=dict)


def prepare_rows(config: RunConfig, home: Home, parses: Parses | None = None) -> PreparedRows:
    """Read and prepare every row that a run uses.

    Args:
        config: Dataset, evaluation and seed are used.
        parses: Whether the reward can use a row's reference; for ``drop_unparseable``.

    Raises:
        InvalidInput, NotFound, Unavailable: As :func:`core.data.sources.load_rows` and ``map_rows``.
    """
    dataset, evaluation = config.dataset, config.evaluation
    whole = config.trains_conversations
    raw = load_rows(dataset, home, whole=whole)
    mapped, left_out = _examples(*map_rows(raw, dataset, whole=whole), config)
    steps = Preparation(dataset, parses)
    kept = steps.keep(mapped)
    if evaluation.split:
        other = dataset.model_copy(update={"split": evaluation.split, "max_samples": None})
        train, test, spare = kept, [], []
        held_out, _ = _examples(*map_rows(load_rows(other, home, whole=whole), other, whole=whole), config)
        holdout = held_out[: evaluation.max_rows]
    else:
        split = split_rows(kept, evaluation, config.training.seed)
        train, holdout, test, spare = split.train, split.holdout, split.test, split.spare
    if dataset.drop_overlap:
        train, overlapping = without_overlap(train, [*holdout, *spare, *test])
        for row in overlapping:
            steps.removed.setdefault(OVERLAP, Removed()).add(row)
    return PreparedRows(
        read=len(raw),
        left_out=left_out | steps.counts,
        removed=steps.removed,
        train=train,
        holdout=holdout,
        test=test,
        spare=len(spare),
        sha256=sha256_of([*train, *holdout, *test]),
    )


def _examples(rows: list[Row], left_out: dict[str, int], config: RunConfig) -> tuple[list[Row], dict[str, int]]:
    """Without answers that are rated bad, if the method takes answers as examples.

    Raises:
        InvalidInput: No row is left.
    """
    bad = 0 if method(config.method).prefers else sum(map(rated_bad, rows))
    if not bad:
        return rows, left_out
    if bad == len(rows):
        raise InvalidInput(
            "Every answer in this dataset is rated bad, so there is no example to learn from.",
            field="dataset.label_field",
        )
    return [row for row in rows if not rated_bad(row)], left_out | {RATED_BAD: bad}


def sha256_of(rows: Iterable[Row]) -> str:
    """SHA-256 over the rows in order: runs with the same hash used the same data."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json_line(row, sort_keys=True, default=str))
    return digest.hexdigest()
