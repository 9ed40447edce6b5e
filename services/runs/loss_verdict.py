"""The verdict of a run without a reward, from its losses on training rows and on held-out rows.

A loss is a mean over rows. The worker compares the same rows in two evaluations, so a change has an interval
(:mod:`core.training.evaluation.row_losses`): it counts if the interval does not contain 0. In rows without one, as
older versions wrote them, it counts only if it is large compared with what so few rows could show by chance
(:func:`least_change`). It never counts if hardly any rows were held out, or if it is too small to matter. Training loss
and held-out loss are not compared with each other: the training loss may not be cross-entropy, and each value is from
different rows.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from services.runs.losses import SMALLEST, Point, in_words, least_change

KNOWN = 0.05
"""Nats per token below which little is left to learn: each token of the answers has a probability of about 95%."""
GROWN = 10
"""A gradient is exploding from this many times its usual size."""


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
        self.held = [point for row in held if (point := Point.of(row))]
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
        if not self._differs(low, last) or low.step <= self.held[0].step:
            return None
        after = [loss for row in self.training if row["step"] > low.step and (loss := measure(row, "loss")) is not None]
        if not after or trend(after) == "rising":
            return None
        if (kept := self.stored.kept) and kept.published and self.state is JobState.COMPLETED:
            return None  # The result is the adapter of the lowest loss.
        remedy = self._shorter(low.step)
        keeping = Remedy("the best checkpoint kept", (self.seen.change("evaluation.keep_best", True),))
        advice: tuple[str, ...] = (f"Start a new run with {remedy.words}.", "Or train on more rows.")
        if kept and kept.published:
            advice = (f"Stop it if you like: step {kept.step} is kept.", *advice[1:])
        elif self._possible(keeping):
            advice = (*advice, "Early stopping and keeping the best checkpoint are in the evaluation settings.")
        return Finding(
            "watch",
            f"It is overfitting: the loss on {self._where()} was lowest at step {low.step} ({decimals(low.loss)}) "
            f"and has risen to {decimals(last.loss)} since, while the training loss has not.",
            advice,
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
        if self._measured() and self._differs(self.held[0], self.held[-1]):
            said = f"{self._from_to(self.held[0], self.held[-1])}."
            if self.held[-1].loss < self.held[0].loss:
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
        first, last, low = self.held[0], self._result(), self._lowest()
        back = self._differs(low, last) and low.step > first.step
        lowest = f"; it was lowest at step {low.step} ({decimals(low.loss)})" if back else ""
        if self._differs(first, last):
            said = f"the loss on {self._where()} {self._from_to(first, last)}"
            if last.loss < first.loss:
                return self._learned(said, lowest)
            return self._not_learned(f"It got worse: {said}{lowest}.", self._slower())
        return self._unmoved(first, last, lowest)

    def _unmoved(self, first: Point, last: Point, lowest: str) -> RunVerdict:
        """``lowest`` is the part of the sentence that says it was better in between, or ''."""
        values = f"from {decimals(first.loss)} to {decimals(last.loss)}"
        if last.change:
            low, high = (f"{'' if decimals(end).startswith('-') else '+'}{decimals(end)}" for end in last.change)
            values += f" (95% interval of the change: {low} to {high})"
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
        more = f"; {factor}" if said.endswith(")") else f" ({factor})"
        meant = lowest or (more if factor else "")
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
        return next(one for one in wanted if self._possible(one))

    def _possible(self, wanted: Remedy) -> bool:
        return all(self.method.uses(change.path) for change in wanted.changes)

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

    def _result(self) -> Point:
        """The measurement of the adapter that is the run's result: the last one, or the best if that was kept."""
        kept = self.stored.kept
        if kept and kept.published:
            return next((point for point in reversed(self.held) if point.step == kept.step), self.held[-1])
        return self.held[-1]

    def _differs(self, one: Point, later: Point) -> bool:
        """Whether a change since the first or the lowest measurement counts."""
        gap, larger = abs(one.loss - later.loss), max(one.loss, later.loss)
        if self.rows_held < FEW_LOSSES or gap <= max(0.01, SMALLEST * larger):
            return False
        interval = later.change if one is self.held[0] else later.rise
        if interval is None:
            return gap > least_change(self.rows_held) * larger
        return interval[0] > 0 or interval[1] < 0

    def _where(self) -> str:
        return f"{self.rows_held} held-out rows"

    @staticmethod
    def _from_to(first: Point, last: Point) -> str:
        """'fell from 2.31 to 1.12', with the interval of the change if it is known."""
        how = "fell" if last.loss < first.loss else "rose"
        ends = " to ".join(decimals(abs(end)) for end in sorted(last.change or (), key=abs))
        known = last.change and (last.change[0] > 0 or last.change[1] < 0)
        interval = f", by {ends} (95% interval)" if known else ""
        return f"{how} from {decimals(first.loss)} to {decimals(last.loss)}{interval}"

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
