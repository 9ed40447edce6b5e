"""Which rows are held out, and when they are scored."""

from __future__ import annotations

from pydantic import Field

from core.section import Section


class EvaluationSection(Section):
    holdout_fraction: float = Field(0.1, ge=0, le=0.5, title="Share held out", description="Rows never trained on, to see whether the model learnt the task or the rows. 0 switches evaluation off.")
    max_rows: int = Field(200, ge=1, le=10_000, title="At most", description="Upper limit of rows that are scored. Which rows are held out follows from their content, so that adding rows to the dataset never moves one across.")
    split: str | None = Field(None, title="The dataset's own split", description="A split of the Hub dataset to score on, such as test, instead of a share of the rows.")
    test_fraction: float = Field(0.0, ge=0, le=0.5, title="Share kept for a test", description="Rows that this run neither trains on nor scores, for a test afterwards.")
    every_steps: int | None = Field(None, ge=1, title="Score every … steps", description="Empty: before the first step, half-way and at the end.")
    max_prompts: int = Field(32, ge=1, le=10_000, title="Rows per evaluation", description="How many held-out rows are scored each time; more is slower and steadier.")
