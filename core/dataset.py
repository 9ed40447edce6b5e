"""Types of datasets, before and after their columns are mapped."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Row = dict[str, Any]
"""One mapped row: ``instruction``, ``response`` and every further column by its own name."""


class FieldGuess(BaseModel):
    """Which columns look like question and answer.

    Attributes:
        instruction: Column with the question, or None.
        response: Column with the reference answer, or None.
        confidence: 0 to 1.
        why: What the guess goes by, in whole sentences.
        ask: What a user is to choose or check before the rows are used; empty if the guess is sure enough.
        template: Text of the question with ``{column}`` for a cell, where it takes more than one column.
        extraction, pattern: Rule that takes the reference out of the answer column.
        columns: Further columns that rewards know by a name of their own, ``{name: column}``.
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


class BadRow(BaseModel):
    """A row of an uploaded file that cannot be used: where it begins, and why."""

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
        name: What it is called: the file's name or Hugging Face's, until a user renames it.
        format: Found from the content and the ending.
        size: Bytes as uploaded.
        rows: Data rows.
        columns: Column names in order.
        kinds: What each column holds in the first rows, such as ``text`` or ``number, text``.
        sha256: Of the uploaded bytes; for Hugging Face's, of the rows as they are kept.
        created_at: ISO 8601, UTC.
        fields: The detected mapping.
        compression, encoding, delimiter: As detected.
        heading: For tables of text, whether the first line was taken for the columns' names: ``yes`` or ``no``.
        bad_rows: Rows that were skipped.
        bad: The first of them.
        notes: What else there is to say of the file, such as a part of it that was not read; whole sentences.
        origin: ``upload``, or Hugging Face's ``owner/name``.
        hub: Subset, split and commit of what was fetched from Hugging Face.
        mapping: Fields of the configuration's dataset section as a user set them here.
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
        """Beginning of the content's hash: tells two files of one name apart."""
        return self.sha256[:6]
