"""The verdict of a run without a reward, from its losses on training rows and on held-out rows.

A loss is a mean over rows; the losses of single rows are not stored, so there is no interval for a difference. A
change therefore counts only if it is large compared with what so few rows could show by chance
(:func:`least_change`), and never if hardly any rows were held out. Training loss and held-out loss are not compared
with each other: the training loss may not be cross-entropy, and each value is from different rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt
from statistics import fmean, median

from core.job import JobPhase, JobState
from core.job_rows import MetricRow, measure
from core.methods import method_of
from core.metric import Level
from core.metrics import metric
from core.readiness import FEW_LOSSES
from core.statistics import decimals
from services.runs.case import FEW, Action, Case, Outcome, RunVerdict, Stored, trend
from services.runs.diagnosis import EARLY, LEAST, WINDOW, Change, Finding, Remedy, slower

SPREAD = 0.3
"""A change counts from this share of the loss over the square root of the rows: two standard errors, if the changes
of single rows have a spread of 15% of the loss. The actual spread is unknown."""
SMALLEST = 0.02
"""Share of the loss below which a change never counts, however many rows there are."""
KNOWN = 0.05
"""Nats per token below which little is left to learn: each token of the answers has a probability of about 95%."""
GROWN = 10
"""A gradient is exploding from this many times its usual size."""


@dataclass(frozen=True)
class Point:
    """A loss on the held-out rows.

    Attributes:
        step: Completed training steps.
        loss: In nats per token.
    """

    step: int
    loss: float


def least_change(rows: int) -> float:
    """The share of a loss by which two losses on the same rows must differ to count as different.

    >>> round(least_change(8), 3), round(least_change(32), 3), least_change(10_000)
    (0.106, 0.053, 0.02)
    """
    return max(SMALLEST, SPREAD / sqrt(max(1, rows)))


def in_words(first: float, last: float) -> str:
    """What a lower loss means for the answers; '' if the change is implausibly large.

    >>> in_words(2.31, 1.12)
    'on average, each token of the answers became 3.3 times as likely'
    """
    if first - last > 20:
        return ""
    return f"on average, each token of the answers became {decimals(exp(first - last), 1)} times as likely"


class ByLoss(Case):
    """A run of a method that minimizes a plain loss.

    Args:
        rows, state, stored, phase: As for :func:`services.runs.verdict.verdict`.
    """

    def __init__(self, rows: Sequence[MetricRow], state: JobState, stored: Stored, phase: str) -> None:
        self.method = method_of(stored.config)
        training = [row for row in rows if row.get("phase") == "training" and measure(row, "step") is not None]
        self.losses = [loss for row in training if (loss := measure(row, "loss")) is not None]
        self.trend = trend(self.losses) if self.losses else "flat"
        held = [row for row in rows if row.get("phase") == "evaluation"]
        self.held = [
            Point(int(step), loss)
            for row in held
            if (loss := measure(row, "loss")) is not None and (step := measure(row, "step")) is not None
        ]
        self.rows_held = int(min((measure(row, "samples") or 0 for row in held), default=0))
        self.lost = _not_finite(training, self.method.metrics)
        super().__init__(rows, state, stored, phase, training)

    # --- rules ---

    def _diagnosis(self) -> Finding | None:
        if self.lost:
            return self._diverged(f"The {self.lost} is no longer a finite number, so the model stopped learning.")
        return self._exploding() or self._overfitting()

    def _diverged(self, sentence: str) -> Finding:
        remedy = self._slower()
        return Finding("problem", sentence, (f"Start a new run with {remedy.words}.",), remedy)

    def _exploding(self) -> Finding | None:
        """Clipping limits large gradients, so they are a problem only if the loss rises too."""
        norms = [norm for row in self.training if (norm := measure(row, "grad_norm")) is not None]
        if len(norms) < EARLY or self.trend != "rising":
            return None
        size = max(1, min(WINDOW, len(norms) // 3))
        lately, usual = fmean(norms[-size:]), median(norms[:-size])
        if lately <= max(GROWN * usual, metric("grad_norm").above(Level.WATCH)):
            return None
        said = f"The loss is rising and the gradients are exploding (norm {lately:.3g}, previously {usual:.3g})."
        return self._diverged(said)

    def _overfitting(self) -> Finding | None:
        """The held-out loss has passed its minimum, while the training loss did not rise."""
        if len(self.held) < 2 or self.rows_held < FEW_LOSSES:
            return None
        low, last = self._lowest(), self.held[-1]
        if not self._differs(low.loss, last.loss) or low.step <= self.held[0].step:
            return None
        after = [loss for row in self.training if row["step"] > low.step and (loss := measure(row, "loss")) is not None]
        if not after or trend(after) == "rising":
            return None
        remedy = self._shorter(low.step)
        return Finding(
            "watch",
            f"It is overfitting: the loss on {self._where()} was lowest at step {low.step} ({decimals(low.loss)}) "
            f"and has risen to {decimals(last.loss)} since, while the training loss has not.",
            (f"Start a new run with {remedy.words}.", "Or train on more rows."),
            remedy,
        )

    # --- in training ---

    def _preparing(self) -> RunVerdict | None:
        if self.state is JobState.RUNNING and self.phase == JobPhase.EVALUATE:
            words = "Measuring the loss on held-out rows for comparison."
            return self.say(Outcome.UNDER_WAY, "calm", words)
        return None

    def _under_way(self) -> RunVerdict:
        if self.found:
            found = (self.found, Outcome.UNDER_WAY, self.found.sentence, Action.STOP)
            return self._with(*found, evidence=(self._path(),))
        if early := self._too_early():
            return early
        first, last = (self.held[0].loss, self.held[-1].loss) if self._measured() else (0.0, 0.0)
        if self._differs(first, last):
            said = f"{self._from_to(self.held[0], self.held[-1])}."
            if last < first:
                return self.say(
                    Outcome.UNDER_WAY, "good", f"It is learning: the loss on {self._where()} {said}",
                    evidence=(self._path(),), advice=("No action needed.",),
                )  # fmt: skip
            return self._rising(f"It is getting worse: the loss on {self._where()} {said}", (self._path(),))
        if self.trend == "rising":
            return self._rising(f"The training loss is rising. {self._path()}")
        if self.trend == "falling":
            advice = ("No action needed.",)
            if not self.held:
                advice = ("No rows are held out, so its performance on new rows is unknown.",)
            return self.say(Outcome.UNDER_WAY, "good", f"The loss is falling. {self._path()}", advice=advice)
        return self.say(
            Outcome.UNDER_WAY, "calm", f"No clear trend yet. {self._path()}",
            advice=("Wait for more steps: the loss of a single step depends on its rows.",),
        )  # fmt: skip

    def _rising(self, headline: str, evidence: tuple[str, ...] = ()) -> RunVerdict:
        remedy = self._slower()
        return self.say(
            Outcome.UNDER_WAY, "watch", headline, evidence=evidence, remedy=remedy,
            advice=(f"If this continues, stop the run and start a new one with {remedy.words}.",),
        )  # fmt: skip

    # --- finished ---

    def _finished(self) -> RunVerdict:
        if self.lost or not self._compared():
            return self._by_training()
        if self.rows_held < FEW_LOSSES:
            few = "one held-out row was" if self.rows_held == 1 else f"{self.rows_held} held-out rows were"
            return self._unclear(f"only {few} measured.", self._more_held_out())
        first, last, low = self.held[0], self.held[-1], self._lowest()
        back = self._differs(low.loss, last.loss) and low.step > first.step
        lowest = f"; it was lowest at step {low.step} ({decimals(low.loss)})" if back else ""
        if self._differs(first.loss, last.loss):
            said = f"the loss on {self._where()} {self._from_to(first, last)}"
            if last.loss < first.loss:
                return self._learned(said, lowest)
            return self._not_learned(f"It got worse: {said}{lowest}.", self._slower())
        return self._unmoved(first, last, lowest)

    def _unmoved(self, first: Point, last: Point, lowest: str) -> RunVerdict:
        """``lowest`` is the part of the sentence that says it was better in between, or ''."""
        values = f"from {decimals(first.loss)} to {decimals(last.loss)}"
        hardly = abs(first.loss - last.loss) <= SMALLEST * max(first.loss, last.loss)
        how = "hardly changed" if hardly else "did not clearly change"
        moved = f"the loss on {self._where()} {how}, {values}{lowest}."
        if lowest:
            return self._not_learned(f"It did not keep what it learned: {moved}", self._slower())
        if first.loss <= KNOWN:
            return self._change(
                Outcome.NOT_ENOUGH, "watch", f"There was little left to learn: {moved}",
                Remedy("harder rows", step="dataset"),
            )  # fmt: skip
        if self.rows_held < FEW or self.found or self.trend == "falling":
            remedy = self._more_held_out() if self.rows_held < FEW else self._longer()
            return self._unclear(moved, self.found.remedy if self.found else remedy)
        remedy = self._slower() if self.trend == "rising" else self._longer()
        return self._not_learned(f"It did not learn this: {moved}", remedy)

    def _learned(self, said: str, lowest: str) -> RunVerdict:
        factor = in_words(self.held[0].loss, self.held[-1].loss)
        meant = lowest or (f" ({factor})" if factor else "")
        headline = f"It learned this: {said}{meant}."
        if not self.found:
            return self.say(
                Outcome.LEARNED, "good", headline, action=Action.EXPORT, evidence=self._evidence(),
                advice=("Export it or chat with it.",),
            )  # fmt: skip
        if self.found.level == "watch":
            headline = f"It learned this, then overfitted: {said}{meant}."
        return self.say(
            Outcome.LEARNED, "watch", headline, action=Action.CHANGE, evidence=self._evidence(),
            advice=(*self.found.advice, "Or export it as it is."), remedy=self.found.remedy,
        )  # fmt: skip

    def _by_training(self) -> RunVerdict:
        """Without held-out losses to compare, the training rows can show a failure but not a success."""
        if self.found or self.trend == "rising":
            headline = self.found.sentence if self.found else f"It got worse: {self._lowered()}"
            return self._not_learned(headline, self._slower())
        return self._unclear(self._lowered(), self._more_held_out())

    def _unclear(self, why: str, remedy: Remedy) -> RunVerdict:
        headline = f"Not enough evidence that it learned: {why}"
        return self._change(Outcome.NOT_ENOUGH, "watch", headline, remedy)

    def _not_learned(self, headline: str, remedy: Remedy) -> RunVerdict:
        """``remedy`` is used if no rule explains why it did not learn."""
        return self._change(Outcome.NOT_LEARNED, "problem", headline, self.found.remedy if self.found else remedy)

    def _change(self, outcome: Outcome, level: str, headline: str, remedy: Remedy) -> RunVerdict:
        advice = self.found.advice if self.found else (f"Start a new run with {remedy.words}.",)
        return self.say(
            outcome, level, headline, action=Action.CHANGE, remedy=remedy,
            evidence=self._evidence(headline), advice=(*advice, "Chat with it before you use it."),
        )  # fmt: skip

    # --- remedies: only settings that the method uses, else what a person can choose ---

    def _remedy(self, *wanted: Remedy) -> Remedy:
        """The first that changes only settings with an effect."""
        return next(one for one in wanted if all(self.method.uses(change.path) for change in one.changes))

    def _slower(self) -> Remedy:
        return self._remedy(slower(self.seen), Remedy("other rows", step="dataset"))

    def _longer(self) -> Remedy:
        """The remedy for a run that hardly changed."""
        rate, steps = (self.seen.setting(f"training.{name}") for name in ("learning_rate", "max_steps"))
        wanted = [Remedy("other rows", step="dataset")]
        if steps:
            wanted.insert(0, Remedy("more steps", (self.seen.change("training.max_steps", steps * 3),)))
        elif (passes := self.seen.setting("training.num_epochs")) < 10:
            wanted.insert(0, Remedy("more epochs", (self.seen.change("training.num_epochs", passes * 3),)))
        usual = self.method.rates.of(str((self.stored.config.get("model") or {}).get("adapter") or "lora"))
        if rate < usual.low:
            higher = self.seen.change("training.learning_rate", usual.usual)
            wanted.insert(0, Remedy("a higher learning rate", (higher,)))
        return self._remedy(*wanted)

    def _shorter(self, step: int) -> Remedy:
        change = self.seen.change("training.max_steps", step)
        return self._remedy(Remedy("fewer steps", (change,)), Remedy("more rows", step="dataset"))

    def _more_held_out(self) -> Remedy:
        """A higher limit, a larger share of the rows or, if neither is possible, another dataset."""
        words = "more held-out rows" if self.rows_held else "held-out rows"
        by_hand = Remedy(words, step="dataset")
        most, share = (self.seen.setting(f"evaluation.{name}") for name in ("max_prompts", "holdout_fraction"))
        change: Change | None = None
        if self.rows_held and self.rows_held >= most:
            change = self.seen.change("evaluation.max_prompts", most * 4)
        elif not self.seen.setting("evaluation.split") and share < 0.5:
            change = self.seen.change("evaluation.holdout_fraction", min(0.5, round(share * 3, 2)) or 0.1)
        return self._remedy(Remedy(words, (change,)), by_hand) if change else by_hand

    # --- words and figures ---

    def _measured(self) -> bool:
        return len(self.held) > 1 and self.rows_held > 0

    def _compared(self) -> bool:
        """Whether the final model was measured too."""
        done = self.training[-1]["step"] if self.training else 0
        return self._measured() and self.held[-1].step >= done

    def _lowest(self) -> Point:
        return min(self.held, key=lambda point: point.loss)

    def _differs(self, first: float, last: float) -> bool:
        least = max(0.01, least_change(self.rows_held) * max(first, last))
        return self.rows_held >= FEW_LOSSES and abs(first - last) > least

    def _where(self) -> str:
        return f"{self.rows_held} held-out rows"

    @staticmethod
    def _from_to(first: Point, last: Point) -> str:
        """'fell from 2.31 to 1.12'."""
        how = "fell" if last.loss < first.loss else "rose"
        return f"{how} from {decimals(first.loss)} to {decimals(last.loss)}"

    def _ends(self) -> tuple[float, float]:
        """Mean training loss of the first and of the latest steps."""
        size = max(1, min(WINDOW, len(self.losses) // 3))
        return fmean(self.losses[:size]), fmean(self.losses[-size:])

    def _path(self) -> str:
        if not self.losses:
            return "No training loss was measured."
        first, last = map(decimals, self._ends())
        return f"Training loss {last}." if len(self.losses) < 2 else f"Training loss from {first} to {last}."

    def _lowered(self) -> str:
        """What the training rows alone show."""
        if not self.losses:
            return "no loss was measured."
        how = {"falling": "fell", "rising": "rose"}.get(self.trend, "hardly changed:")
        first, last = map(decimals, self._ends())
        return (
            f"the training loss {how} from {first} to {last}, and the held-out loss was not measured before and after."
        )

    def _evidence(self, headline: str = "") -> tuple[str, ...]:
        said = [self.found.sentence] if self.found and self.found.sentence != headline else []
        if not self._compared():
            said.append(
                "The held-out loss was not measured before and after, so its performance on new rows is unknown."
            )
        elif self.rows_held >= FEW:
            said.append("The held-out loss is a mean over rows that the model never trained on.")
        elif self.rows_held >= FEW_LOSSES:
            said.append(f"Only {self.rows_held} held-out rows were measured, so small changes in the loss do not show.")
        return (*said, self._path())


def _not_finite(training: Sequence[MetricRow], metrics: Sequence[str]) -> str:
    """Which metric is no longer a finite number, or ''. Rows leave such values out, so their absence shows it."""
    lately = training[-LEAST:]
    for key, name in (("loss", "loss"), ("grad_norm", "gradient")):
        # Methods differ in whether they report gradients; one that has reported some keeps doing so.
        told = key in metrics and (key == "loss" or any(measure(row, key) is not None for row in training))
        if lately and told and all(measure(row, key) is None for row in lately):
            return name
    return ""
