"""The verdict of a run, in one sentence that is the same everywhere. Pure functions of the stored files.

A finished run is judged by its held-out questions if it has any (:mod:`core.evaluation`), otherwise by its training
rows. The verdict is 'It did not learn this' if it earned next to nothing, got worse, or a rule of
:mod:`services.runs.diagnosis` explains why it could not learn; anything in between is 'not enough evidence'. A run
without a reward is judged by its accuracy on held-out preferences (:mod:`services.runs.preference_verdict`) or by its
losses (:mod:`services.runs.loss_verdict`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from core.evaluation import PairedReport, PairedVerdict
from core.job import JobPhase, JobState
from core.job_rows import MetricRow, measure
from core.methods import Method, Need, method_of
from core.statistics import decimals
from services.runs.case import FEW, Action, Case, Outcome, RunVerdict, Stored, trend
from services.runs.diagnosis import WINDOW, Finding, Remedy, diagnose, more_questions, otherwise, slower
from services.runs.loss_verdict import ByLoss
from services.runs.preference_verdict import ACCURACY, ByPreference

__all__ = ["Action", "Outcome", "RunVerdict", "Stored", "merge", "verdict"]

LOW = 0.1
"""A run whose reward did not rise and is below this share of the highest possible one has not learned."""


def merge(rows: Iterable[MetricRow]) -> list[MetricRow]:
    """Rows ordered by step; of several with the same phase, step and time, the latest one counts.

    A resumed run repeats the steps after its last checkpoint.
    """
    latest: dict[tuple[Any, ...], MetricRow] = {}
    for row in rows:
        latest[row.get("phase"), row.get("step"), row.get("when")] = row
    return sorted(latest.values(), key=lambda row: measure(row, "row") or 0)


def verdict(rows: Sequence[MetricRow], state: JobState, stored: Stored | None = None, phase: str = "") -> RunVerdict:
    """The verdict of a run.

    Args:
        rows: Its metric rows, merged.
        state: Its state.
        stored: Its other stored data.
        phase: Its current phase, a :class:`core.job.JobPhase`.
    """
    stored = stored or Stored({})
    return _judge(method_of(stored.config))(rows, state, stored, phase).verdict()


def _judge(method: Method) -> type[_ByReward | ByLoss]:
    if Need.REWARD in method.needs:
        return _ByReward
    return ByPreference if ACCURACY in method.metrics else ByLoss


class _ByReward(Case):
    """A run of a method with a reward."""

    def __init__(self, rows: Sequence[MetricRow], state: JobState, stored: Stored, phase: str) -> None:
        training = [row for row in rows if row.get("phase") == "training" and measure(row, "reward") is not None]
        super().__init__(rows, state, stored, phase, training)
        self.held = [row for row in rows if row.get("phase") == "evaluation" and measure(row, "reward") is not None]
        self.trend = trend([row["reward"] for row in self.training]) if self.training else "flat"

    def _diagnosis(self) -> Finding | None:
        return diagnose(self.seen)

    # --- in training ---

    def _under_way(self) -> RunVerdict:
        path = self._path()
        if self.found:
            return self._with(self.found, Outcome.UNDER_WAY, self.found.sentence, Action.STOP, evidence=(path,))
        if early := self._too_early():
            return early
        if self.trend == "rising":
            return self.say(
                Outcome.UNDER_WAY, "good", f"It is learning. {path}",
                advice=("No action needed. Read a few answers now and then.",),
            )  # fmt: skip
        if self.trend == "falling":
            return self.say(
                Outcome.UNDER_WAY, "watch", f"The reward is falling. {path}", remedy=slower(self.seen),
                advice=(
                    "Read the latest answers: is the model exploiting the reward or losing the answer format?",
                    "If this continues, stop the run and lower the learning rate.",
                ),
            )  # fmt: skip
        return self.say(
            Outcome.UNDER_WAY, "calm", f"No clear trend yet. {path}",
            advice=("Small models can take dozens of steps. If nothing changes, check whether any answer is right.",),
        )  # fmt: skip

    def _preparing(self) -> RunVerdict | None:
        losses = [
            row["loss"] for row in self.rows if row.get("phase") == "warm_up" and measure(row, "loss") is not None
        ]
        if losses:
            moved = f" Loss from {losses[0]:.2f} to {losses[-1]:.2f}." if len(losses) > 1 else ""
            return self.say(
                Outcome.UNDER_WAY, "calm", f"Warm-up: learning the answer format.{moved}",
                advice=("Training by reward starts after the warm-up.",),
            )  # fmt: skip
        if self.state is JobState.RUNNING and self.phase == JobPhase.EVALUATE:
            return self.say(Outcome.UNDER_WAY, "calm", "Scoring held-out questions for comparison.")
        return None

    # --- finished ---

    def _finished(self) -> RunVerdict:
        compared = self.stored.report.verdict if self.stored.report else None
        if compared is PairedVerdict.WORSE or (compared is None and self.trend == "falling" and self._change() <= 0):
            return self._failed_to_learn(f"It got worse: {self._score(then=True)}", slower(self.seen))
        if compared is PairedVerdict.BETTER or (compared is None and self.trend == "rising" and self._change() > 0):
            return self.say(
                Outcome.LEARNED, "good", f"It learned this: {self._score(then=True)}", action=Action.EXPORT,
                evidence=self._evidence(), advice=("Export it or chat with it.",),
            )  # fmt: skip
        if self.found and self.found.level == "good":
            return self.say(
                Outcome.NOT_ENOUGH, "watch", f"There was little left to learn: {self._score(then=True)}",
                action=Action.CHANGE, evidence=self._evidence(), remedy=self.found.remedy,
                advice=("Train on harder questions, or export it: it already does well on these.",),
            )  # fmt: skip
        if self.found or (self.trend != "rising" and self._low()):
            return self._failed_to_learn(f"It did not learn this: {self._score()}", otherwise(self.seen))
        report = self.stored.report
        few = report.pairs if report is not None and report.pairs < FEW else 0
        remedy = more_questions(self.seen, few) if few else otherwise(self.seen)
        return self.say(
            Outcome.NOT_ENOUGH, "watch", f"Not enough evidence that it learned: {self._score(then=True)}",
            action=Action.EVALUATE, evidence=self._evidence(), remedy=remedy,
            advice=(
                "Evaluate it on more questions, and read its answers before you use it.",
                f"Or start a new run with {remedy.words}.",
            ),
        )  # fmt: skip

    def _failed_to_learn(self, headline: str, remedy: Remedy) -> RunVerdict:
        """``remedy`` is used if no rule explains why it did not learn."""
        _, advice, known = self._also()
        remedy = known or remedy
        advice = advice or (f"Start a new run with {remedy.words}.",)
        return self.say(
            Outcome.NOT_LEARNED, "problem", headline, action=Action.CHANGE, remedy=remedy,
            evidence=self._evidence(), advice=(*advice, "Read its answers before you use it."),
        )  # fmt: skip

    def _change(self) -> float:
        """Change of the held-out reward or, without two of them, the direction of the trend."""
        if len(self.held) > 1:
            return float(self.held[-1]["reward"] - self.held[0]["reward"])
        return {"rising": 1.0, "falling": -1.0}.get(self.trend, 0.0)

    def _low(self) -> bool:
        """Whether the final reward is next to nothing, compared with the highest possible one if it is known."""
        return self._last() <= max(0.01, LOW * (self.stored.best or 0))

    def _last(self) -> float:
        if self.stored.report:
            return self.stored.report.score.second
        return float(self.held[-1]["reward"]) if self.held else _ends(self.training)[1]

    def _first(self) -> float:
        if self.stored.report:
            return self.stored.report.score.first
        return float(self.held[0]["reward"]) if len(self.held) > 1 else _ends(self.training)[0]

    def _score(self, *, then: bool = False) -> str:
        """'0.01 of 1.20, 0 of 5 right'; with ``then`` also the value before, and on which questions."""
        right = f", {self._right()}" if self._right() else ""
        if not then:
            return f"reward {self._earned(self._last())}{right}."
        unseen = len(self.held) > 1 or self.stored.report is not None
        where = "on held-out questions" if unseen else "in training"
        return f"reward from {decimals(self._first())} to {self._earned(self._last())} {where}{right}."

    def _right(self) -> str:
        """How many held-out answers earned the highest possible reward at the end."""
        if report := self.stored.report:
            return f"{report.both + report.only_second} of {report.pairs} right"
        row: Mapping[str, object] = self.held[-1] if self.held else {}
        solved, asked = measure(row, "solved"), measure(row, "samples")
        return f"{round(solved * asked)} of {round(asked)} right" if solved is not None and asked else ""

    def _evidence(self) -> tuple[str, ...]:
        said = [self.found.sentence] if self.found else []
        if self.stored.report:
            said += _changes(self.stored.report)
        elif not self.held:
            said.append("No questions were held out, so its performance on new questions is unknown.")
        path = self._path() if self.training else ""
        return (*said, *([f"During training: {path[:1].lower()}{path[1:]}"] if path else []))

    # --- words ---

    def _earned(self, value: float) -> str:
        best = self.stored.best
        return f"{decimals(value)} of {decimals(best)}" if best is not None else decimals(value)

    def _path(self) -> str:
        first, last = _ends(self.training)
        if len(self.training) < 2:
            return f"Reward {self._earned(last)}."
        return f"Reward from {decimals(first)} to {self._earned(last)}."


def _changes(report: PairedReport) -> list[str]:
    """What the held-out questions show, in counts; the report itself has the statistics."""
    asked = f"On {report.pairs} held-out question{'' if report.pairs == 1 else 's'}"
    changed = f"{report.only_second} newly right, {report.only_first} newly wrong"
    said = [f"{asked}: {changed}, {report.both} right both times, {report.neither} wrong both times."]
    if report.verdict is PairedVerdict.NOT_ENOUGH:
        said.append("Not enough evidence: too few questions, or too small a change, to rule out chance.")
    return said


def _ends(training: Sequence[MetricRow]) -> tuple[float, float]:
    """Mean reward of the first and of the latest steps."""
    rewards = [row["reward"] for row in training]
    size = max(1, min(WINDOW, len(rewards) // 3))
    return fmean(rewards[:size]), fmean(rewards[-size:])
