"""Evaluation: which rows are held out, and when they are scored."""

from __future__ import annotations

from pydantic import Field

from core.section import Section


class EvaluationSection(Section):
    holdout_fraction: float = Field(0.1, ge=0, le=0.5, title="Held-out share", description="Rows that are never trained on. They show whether the model learned the task or memorized the rows. 0 turns evaluation off.")
    max_rows: int = Field(200, ge=1, le=10_000, title="Maximum held-out rows", description="An upper limit. A row's content decides whether it is held out, so rows you add later don't change which ones are.")
    split: str | None = Field(None, title="Evaluation split", description="A split of the Hugging Face dataset to evaluate on, such as test, instead of a share of the rows.")
    test_fraction: float = Field(0.0, ge=0, le=0.5, title="Test share", description="Rows this run neither trains on nor evaluates, kept for a final test.")
    every_steps: int | None = Field(None, ge=1, title="Evaluation interval", description="How many steps between evaluations. Leave empty to evaluate before the first step, halfway, and at the end.")
    max_prompts: int = Field(32, ge=1, le=10_000, title="Questions per evaluation", description="Held-out rows scored each time. More is slower and gives steadier results.")
    early_stop: int | None = Field(None, ge=1, le=1000, title="Early stopping", description="End the run after this many evaluations in a row without a better result. Leave empty to train for all steps.")
    keep_best: bool = Field(False, title="Keep the best checkpoint", description="The result is that of the best evaluation instead of the last step. Its checkpoint is never deleted.")
