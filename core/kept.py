"""The best evaluation of a run: which step's adapter is its result, and whether it ended early."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from core.job_rows import MetricRow

LARGEST = 2**53


class Kept(BaseModel):
    """``kept.json`` of a run.

    Attributes:
        metric: Key of the metric that the method is judged by.
        step, value: Step and held-out value of the best evaluation so far.
        since: Evaluations after it.
        published: Whether the run's adapter is that of ``step``, so that its checkpoint must not be deleted.
        ended: The last step, if the run ended early.
        planned: Steps that the run would have taken.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    metric: str
    step: int = Field(ge=0, le=LARGEST)
    value: float
    since: int = Field(0, ge=0, le=LARGEST)
    published: bool = False
    ended: int | None = Field(None, ge=0, le=LARGEST)
    planned: int | None = Field(None, ge=0, le=LARGEST)


def values_of(rows: Iterable[MetricRow], key: str) -> dict[int, float]:
    """Held-out values by step, in order, of the evaluations in and after training.

    An evaluation before the first step is not one of a trained model. Of several at one step, the latest counts.
    """
    found: dict[int, float] = {}
    for row in rows:
        value = row.get(key)
        if row.get("phase") == "evaluation" and row["step"] > 0 and isinstance(value, int | float):
            found[row["step"]] = float(value)
    return dict(sorted(found.items()))


def best_of(values: dict[int, float], *, lower: bool) -> tuple[int, int] | None:
    """The step with the best value and the number of values after it; of equal ones the first. None without values.

    >>> best_of({5: 2.0, 10: 1.0, 15: 1.0}, lower=True), best_of({}, lower=True)
    ((10, 1), None)
    """
    if not values:
        return None
    step = min(values, key=lambda one: values[one] if lower else -values[one])
    return step, sum(one > step for one in values)
