"""The verdict of a run that learns from preferences, from its accuracy on held-out rows.

Half of the rows are right by chance. A run has learned if the interval of its accuracy is above that and, where the
model preferred the better answers before training already, the interval of the change is above 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.job import JobPhase, JobState
from core.job_rows import measure
from core.statistics import decimals
from services.runs.case import FEW, Action, Outcome, RunVerdict
from services.runs.diagnosis import Finding, Remedy
from services.runs.loss_verdict import ByLoss
from services.runs.preference_rules import better_answers_fall

CHANCE = 0.5
MASTERED = 0.95
"""Accuracy before training above which little is left to learn."""
ACCURACY = "preference_accuracy"


@dataclass(frozen=True)
class Preferred:
    """An evaluation of the held-out rows: the share that was right, with its interval, and the change since the first.

    Attributes:
        step: Completed training steps.
        share, low, high: Accuracy and interval.
        count: Rows.
        gained, lost: Whether the interval of the change is above 0, or below.
    """

    step: int
    share: float
    low: float
    high: float
    count: int
    gained: bool
    lost: bool


class ByPreference(ByLoss):
    """A run of a method that learns from preferences. The losses show only whether training is stable."""

    @property
    def measured(self) -> list[Preferred]:
        """The evaluations, in order."""
        found = []
        for row in self.rows:
            share, count = measure(row, ACCURACY), measure(row, "samples")
            if row.get("phase") != "evaluation" or share is None or not count:
                continue
            low, high = (measure(row, f"{ACCURACY}_{end}") for end in ("low", "high"))
            changed = [measure(row, f"accuracy_change_{end}") or 0.0 for end in ("low", "high")]
            found.append(Preferred(
                int(measure(row, "step") or 0), share, share if low is None else low, share if high is None else high,
                int(count), gained=changed[0] > 0, lost=changed[1] < 0,
            ))  # fmt: skip
        return found

    # --- rules ---

    def _diagnosis(self) -> Finding | None:
        return super()._diagnosis() or better_answers_fall(self.seen)

    def _overfitting(self) -> Finding | None:
        """The loss of preferences says how sure the model is, not how often it is right."""
        return None

    # --- in training ---

    def _preparing(self) -> RunVerdict | None:
        if self.state is JobState.RUNNING and self.phase == JobPhase.EVALUATE:
            return self.say(Outcome.UNDER_WAY, "calm", f"Measuring the held-out {self._noun()} for comparison.")
        return None

    def _under_way(self) -> RunVerdict:
        if self.found:
            found = (self.found, Outcome.UNDER_WAY, self.found.sentence, Action.STOP)
            return self._with(*found, evidence=(self._path(),))
        if early := self._too_early():
            return early
        last = self.measured[-1] if self.measured else None
        if last and last.step and self._better(last):
            return self.say(
                Outcome.UNDER_WAY, "good", f"It is learning: {self._right(last)}.",
                evidence=(self._path(),), advice=("No action needed.",),
            )  # fmt: skip
        if last and last.step and self._worse(last):
            return self._rising(f"It is getting worse: {self._right(last)}", (self._path(),))
        advice = "Wait for more steps: the accuracy of a single step depends on its rows."
        return self.say(Outcome.UNDER_WAY, "calm", f"No clear trend yet. {self._path()}", advice=(advice,))

    # --- finished ---

    def _finished(self) -> RunVerdict:
        if self.lost or not self._compared():
            return self._by_training()
        first, last = self.measured[0], self.measured[-1]
        if (kept := self.stored.kept) and kept.published:
            last = next((found for found in reversed(self.measured) if found.step == kept.step), last)
        if self._worse(last):
            return self._not_learned(f"It got worse: {self._right(last)}{_from(first)}.", self._slower())
        if self._better(last):
            return self._learned(self._right(last), _from(first))
        if first.low > CHANCE and first.share >= MASTERED:
            return self._change(
                Outcome.NOT_ENOUGH, "watch", f"There was little left to learn: {self._right(last)}{_from(first)}.",
                Remedy("harder rows", step="dataset"),
            )  # fmt: skip
        said = f"{self._right(last)}{_from(first)}, which could be chance."
        remedy = self._more_held_out() if last.count < FEW else self._longer()
        return self._unclear(said, self.found.remedy if self.found else remedy)

    def _learned(self, said: str, lowest: str) -> RunVerdict:
        headline = f"It learned this: {said}{lowest}."
        if not self.found:
            return self.say(
                Outcome.LEARNED, "good", headline, action=Action.EXPORT, evidence=self._evidence(),
                advice=(self._next(),),
            )  # fmt: skip
        return self.say(
            Outcome.LEARNED, "watch", headline, action=Action.CHANGE, evidence=self._evidence(),
            advice=(*self.found.advice, "Or export it as it is."), remedy=self.found.remedy,
        )  # fmt: skip

    def _next(self) -> str:
        return "Use it as a reward, or export it." if self.method.head == "score" else "Export it or chat with it."

    # --- words and figures ---

    def _compared(self) -> bool:
        done = self.training[-1]["step"] if self.training else 0
        return len(self.measured) > 1 and self.measured[-1].step >= done

    @staticmethod
    def _better(found: Preferred) -> bool:
        return found.low > CHANCE and found.gained

    @staticmethod
    def _worse(found: Preferred) -> bool:
        return found.lost or found.high < CHANCE

    def _noun(self) -> str:
        # Single ratings are compared two by two as well, a good answer with a bad one.
        return "pairs"

    def _right(self, found: Preferred) -> str:
        """'right on 46 of 50 held-out pairs (92%, 95% interval 81% to 97%)'."""
        right = decimals(found.share * found.count, 0 if float(found.share * found.count).is_integer() else 1)
        return (
            f"right on {right} of {found.count} held-out {self._noun()} ({_percent(found.share)}, 95% interval "
            f"{_percent(found.low)} to {_percent(found.high)})"
        )

    def _path(self) -> str:
        shares = [share for row in self.training if (share := measure(row, ACCURACY)) is not None]
        if not shares:
            return super()._path()
        size = max(1, min(10, len(shares) // 3))
        first, last = (sum(some) / size for some in (shares[:size], shares[-size:]))
        if len(shares) < 2:
            return f"Training accuracy {_percent(last)}."
        return f"Training accuracy from {_percent(first)} to {_percent(last)}."

    def _lowered(self) -> str:
        return f"no held-out {self._noun()} were measured before and after. {self._path()}"

    def _evidence(self, headline: str = "") -> tuple[str, ...]:
        said = [self.found.sentence] if self.found and self.found.sentence != headline else []
        if not self._compared():
            said.append(f"No held-out {self._noun()} were measured before and after, so new ones may go differently.")
        elif self.measured[-1].count < FEW:
            said.append(f"Only {self.measured[-1].count} held-out {self._noun()} were measured.")
        else:
            said.append(f"The model never trained on the held-out {self._noun()}; 50% is chance.")
        return (*said, self._path())


def _percent(share: float) -> str:
    return f"{decimals(100 * share, 0)}%"


def _from(first: Preferred) -> str:
    """', from 52% before training', unless it was at chance because nothing had been learned."""
    return "" if first.share == CHANCE else f", from {_percent(first.share)} before training"
