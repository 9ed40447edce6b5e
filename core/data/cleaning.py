"""Cleaning a dataset for training: every step is optional and counted, and examples of removed rows are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from core.config import DatasetSection
from core.data.cells import text_of
from core.data.near import NearDuplicates
from core.data.rows import asked_text, content_hash
from core.dataset import Row

LOOK = 50
"""Removed rows that are kept as examples, for each reason."""

EXACT = "duplicate of an earlier row"
NEAR = "near-duplicate of an earlier question"
UNPARSEABLE = "the reward cannot read the answer"
OVERLAP = "nearly the same question as a held-out row"
TOO_LONG = "too long for the model's limits"

Parses = Callable[[Row], bool]
"""Whether the chosen reward can use a row's reference."""


@dataclass
class Removed:
    """Rows removed for one reason."""

    count: int = 0
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.count += 1
        if len(self.rows) < LOOK:
            self.rows.append(row)


class Preparation:
    """The steps that a configuration asks for, applied row by row.

    Args:
        dataset: Which steps.
        parses: For ``drop_unparseable``.
        fits: Whether a row's prompt fits, for previews; training does this itself.
    """

    def __init__(
        self, dataset: DatasetSection, parses: Parses | None = None, fits: Callable[[Row], bool] | None = None
    ) -> None:
        self.removed: dict[str, Removed] = {}
        self._seen: set[str] = set()
        self._near = NearDuplicates()
        self._dataset = dataset
        self._parses = parses
        self._fits = fits

    def keep(self, rows: Iterable[Row]) -> list[Row]:
        """The rows that pass every step; the others are in :attr:`removed` by reason."""
        kept = []
        for row in rows:
            reason = self._reason(row)
            if reason:
                self.removed.setdefault(reason, Removed()).add(row)
            else:
                kept.append(row)
        return kept

    @property
    def counts(self) -> dict[str, int]:
        return {reason: removed.count for reason, removed in self.removed.items()}

    def _reason(self, row: Row) -> str | None:
        if self._dataset.drop_personal and (found := personal(row)):
            return found
        if self._dataset.drop_unparseable and self._parses and not self._parses(row):
            return UNPARSEABLE
        if self._dataset.deduplicate != "off" and self._repeated(row):
            return EXACT
        if self._dataset.deduplicate == "near" and self._near.add(asked_text(row)) is not None:
            return NEAR
        return TOO_LONG if self._fits and not self._fits(row) else None

    def _repeated(self, row: Row) -> bool:
        # Another worse answer to the same better one is another pair.
        key = content_hash(row) + (f" {text_of(row['rejected'])}" if {"chosen", "rejected"} <= row.keys() else "")
        if key in self._seen:
            return True
        self._seen.add(key)
        return False


def without_overlap(train: Iterable[Row], holdout: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Training rows whose question is not nearly that of a held-out row, and the others."""
    known = NearDuplicates()
    for row in holdout:
        known.add(asked_text(row))
    kept: list[Row] = []
    removed: list[Row] = []
    for row in train:
        (removed if known.find(asked_text(row)) is not None else kept).append(row)
    return kept, removed


_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}(?![\w-])")
_HARMLESS = re.compile(r"@(?:[\w-]+\.)*example\.(?:com|org|net)$|@(?:test|localhost)\b", re.IGNORECASE)
_SECRETS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("a private key", r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
        ("an AWS access key", r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
        ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})\b"),
        ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{30,}\b"),
        ("an API key", r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}"),
        ("a Slack token", r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
        ("a Google key", r"\bAIza[A-Za-z0-9_-]{35}\b"),
        ("a JSON web token", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
        ("a password in a URL", r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,100}:[^\s/:@]{3,100}@[\w.-]+"),
        (
            "a password",
            r"(?i)\b(?:password|passwd|secret[_-]?key|api[_-]?key)\s{0,3}[:=]\s{0,3}['\"][^\s'\"]{8,100}['\"]",
        ),
    )
)


def personal(row: Mapping[str, object]) -> str | None:
    """Personal data in a row that a model should not memorize, or None.

    >>> personal({"instruction": "Write to anna.b@firma.de", "response": ""})
    'contains an email address'
    >>> personal({"instruction": "Write to user@example.com", "response": "4"}) is None
    True
    """
    for cell in row.values():
        text = text_of(cell)
        if "@" in text and any(not _HARMLESS.search(found) for found in _EMAIL.findall(text)):
            return "contains an email address"
        for name, pattern in _SECRETS:
            if pattern.search(text):
                return f"contains {name}"
    return None
