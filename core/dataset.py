"""Types of datasets, before and after their columns are mapped."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Row = dict[str, Any]
"""One mapped row: ``instruction``, ``response`` and every other column under its own name."""


class Shape(StrEnum):
    """What a mapped row holds besides its question."""

    EXAMPLES = "examples"
    """``response``: one answer."""
    PAIRS = "pairs"
    """``chosen`` and ``rejected``: a better and a worse answer; ``response`` is the better one."""
    RATINGS = "ratings"
    """``response`` and ``label``: an answer, and whether it is good. ``rated`` is the answer with its reasoning."""

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> Shape:
        """What rows hold, by the columns that a mapping names."""
        if mapping.get("chosen_field") and mapping.get("rejected_field"):
            return cls.PAIRS
        return cls.RATINGS if mapping.get("label_field") else cls.EXAMPLES


class FieldGuess(BaseModel):
    """Which columns look like question and answer.

    Attributes:
        instruction: Column with the question, or None.
        response: Column with the reference answer, or None. Of pairs, the better answer.
        rejected: Column with the worse answer, if the rows are pairs.
        label: Column that says whether an answer is good, if the rows are ratings.
        text: The only column with text, if it has no answer beside it.
        confidence: 0 to 1.
        why: The reasons for the guess, in whole sentences.
        ask: What the user should choose or check before the rows are used; empty if the guess is certain enough.
        template: Text of the question with ``{column}`` for cells, if it needs several columns.
        extraction, pattern: Rule that extracts the reference from the answer column.
        columns: Extra columns for rewards, ``{name: column}``.
    """

    model_config = ConfigDict(frozen=True)

    instruction: str | None
    response: str | None
    confidence: float
    why: str
    ask: str = ""
    template: str | None = None
    extraction: str = "none"
    pattern: str = ""
    columns: dict[str, str] = {}
    rejected: str | None = None
    label: str | None = None
    text: str | None = None


class BadRow(BaseModel):
    """A row of an uploaded file that cannot be used: its line, and the reason."""

    model_config = ConfigDict(frozen=True)

    line: int
    reason: str


class Damage(BaseModel):
    """A folder among the datasets that cannot be used as one, and why."""

    model_config = ConfigDict(frozen=True)

    id: str
    message: str


class UploadInfo(BaseModel):
    """``uploads/<id>/info.json``: a dataset on this machine, uploaded or fetched from Hugging Face.

    Attributes:
        id: Upload id, as in ``upload:<id>``.
        name: Its name: the file's or Hugging Face's, until a user renames it.
        format: Detected from the content and the suffix.
        size: Bytes as uploaded.
        rows: Data rows.
        columns: Column names in order.
        kinds: What each column holds in the first rows, such as ``text`` or ``number, text``.
        sha256: Hash of the uploaded bytes; for Hugging Face, of the stored rows.
        created_at: ISO 8601, UTC.
        fields: The detected mapping.
        compression, encoding, delimiter: As detected.
        heading: For CSV and TSV, whether the first line is a header row: ``yes`` or ``no``.
        bad_rows: Rows that were skipped.
        bad: The first of them.
        notes: Other remarks on the file, such as a part that was not read; whole sentences.
        origin: ``upload``, or Hugging Face's ``owner/name``.
        hub: Subset, split and commit on Hugging Face.
        mapping: Fields of the configuration's dataset section that a user set.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    format: Literal["jsonl", "json", "csv", "tsv", "parquet"]
    size: int
    rows: int
    columns: tuple[str, ...]
    sha256: str
    created_at: str
    fields: FieldGuess
    kinds: dict[str, str] = {}
    compression: Literal["none", "gzip", "zstd"] = "none"
    encoding: str = "utf-8"
    delimiter: str = ""
    heading: Literal["", "yes", "no", "unsure"] = ""
    bad_rows: int = 0
    bad: tuple[BadRow, ...] = ()
    notes: tuple[str, ...] = ()
    origin: str = "upload"
    hub: dict[str, str | None] = {}
    mapping: dict[str, Any] = {}

    @property
    def short_hash(self) -> str:
        """Start of the content hash: distinguishes files with the same name."""
        return self.sha256[:6]
