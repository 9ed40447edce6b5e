"""What a dataset is, before and after its columns are mapped."""

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
        why: One sentence for a person.
    """

    model_config = ConfigDict(frozen=True)

    instruction: str | None
    response: str | None
    confidence: float
    why: str


class UploadInfo(BaseModel):
    """``uploads/<id>/info.json`` beside the uploaded file.

    Attributes:
        id: Upload id, as in ``upload:<id>``.
        name: File name as it was uploaded.
        format: Found from the content and the ending.
        size: Bytes.
        rows: Data rows.
        columns: Column names in order.
        sha256: Of the uploaded bytes.
        created_at: ISO 8601, UTC.
        fields: The detected mapping.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    format: Literal["jsonl", "csv", "json"]
    size: int
    rows: int
    columns: tuple[str, ...]
    sha256: str
    created_at: str
    fields: FieldGuess
