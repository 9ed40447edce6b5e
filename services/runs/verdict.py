"""How a run stands, in one sentence that is the same wherever it is shown. Pure functions of what is stored.

A run that is over is judged by its held-out questions where it has them (:mod:`core.evaluation`), else by its
training rows. 'It did not learn this' is said where next to nothing was earned, where it got worse, or where a rule
of :mod:`services.runs.diagnosis` says why it could not; what lies between is not enough evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import sqrt
from statistics import fmean, pvariance
from typing import Any

from core.evaluation import PairedReport, PairedVerdict
from core.job import JobPhase, JobState
from core.job_rows import MetricRow, measure
from core.statistics import decimals
from services.runs.diagnosis import (
    EARLY,
    WINDOW,
    Finding,
    Remedy,
    Seen,
    diagnose,
    more_questions,
    otherwise,
    slower,
)

LOW = 0.1
"""Share of the largest reward up to which a run without a rise is said not to have learned."""


FEW = 30
"""Held-out questions below which more of them are what a new run should have."""


class Outcome(StrEnum):
    """What a verdict says, for programs."""

    WAITING = "waiting"
    UNDER_WAY = "under_way"
    LEARNED = "learned"
    NOT_LEARNED = "not_learned"
    NOT_ENOUGH = "not_enough_evidence"
    STOPPED = "stopped"
    BROKEN = "broken"
    """It failed or vanished after its first step."""
    NEVER_BEGAN = "never_began"
    """It failed or vanished before its first step."""


BRIEF = {
    Outcome.LEARNED: "learned this",
    Outcome.NOT_LEARNED: "did not learn this",
    Outcome.NOT_ENOUGH: "not enough evidence",
    Outcome.STOPPED: "stopped early",
    Outcome.BROKEN: "ended with an error",
}
"""The verdict where there is no place for a sentence: in a list of choices."""


class Action(StrEnum):
    """What to do first."""

    NONE = "none"
    STOP = "stop"
    RESUME = "resume"
    EXPORT = "export"
    EVALUATE = "evaluate"
    CHANGE = "change"
    """A new run with the remedy."""
    FIX = "fix"
    """The same choices again, to be mended."""


@dataclass(frozen=True)
class RunVerdict:
    """How a run stands and what to do about it.

    Attributes:
        outcome: For programs.
        level: ``good``, ``calm``, ``watch`` or ``problem``.
        headline: The one sentence.
        action: What to do first.
        evidence: What it rests on.
        advice: What to do, in order.
        remedy: What a new run should have; None where nothing needs to change.
        step: Step of the wizard at which to mend a run that failed.
        best: The most that an answer can earn, where that is known.
    """

    outcome: Outcome
    level: str
    headline: str
    action: Action = Action.NONE
    evidence: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    remedy: Remedy | None = None
    step: str = "train"
    best: float | None = None

    @property
    def brief(self) -> str:
        """The same in a word or two; empty where a run is not over."""
        return BRIEF.get(self.outcome, "")

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Stored:
    """What is known of a run beside its rows.

    Attributes:
        config: As it was stored; what is missing has its default.
        best: The most that an answer can earn.
        report: Its held-out answers before and after, compared.
        error: What the worker or the watcher said, where it failed or vanished.
        error_field: The setting that the error is about, or ''.
        checkpoint: Step from which a resume would go on.
        step: Steps done by the worker's own word, also where the rows are gone.
    """

    config: Mapping[str, Any]
    best: float | None = None
    report: PairedReport | None = None
    error: str | None = None
    error_field: str = ""
    checkpoint: int | None = None
    step: int = 0


def merge(rows: Iterable[MetricRow]) -> list[MetricRow]:
    """Rows with a later one of the same phase, step and moment in place of the earlier, in order of step.

    A resumed run repeats the steps after its last checkpoint.
    """
    latest: dict[tuple[Any, ...], MetricRow] = {}
    for row in rows:
        latest[row.get("phase"), row.get("step"), row.get("when")] = row
    return sorted(latest.values(), key=lambda row: measure(row, "row") or 0)


def verdict(rows: Sequence[MetricRow], state: JobState, stored: Stored | None = None, phase: str = "") -> RunVerdict:
    """How a run stands.

    Args:
        rows: Its metric rows, merged.
        state: Its state.
        stored: What else is known of it.
        phase: What it is doing while it runs, a :class:`core.job.JobPhase`.
    """
    return _Case(rows, state, stored or Stored({}), phase).verdict()


class _Case:
    def __init__(self, rows: Sequence[MetricRow], state: JobState, stored: Stored, phase: str) -> None:
        self.rows, self.state, self.stored, self.phase = rows, state, stored, phase
        self.training = [row for row in rows if row.get("phase") == "training" and measure(row, "reward") is not None]
        self.held = [row for row in rows if row.get("phase") == "evaluation" and measure(row, "reward") is not None]
        over = state in {JobState.COMPLETED, JobState.STOPPED, JobState.FAILED, JobState.CRASHED}
        self.seen = Seen(self.training, stored.config, stored.best, over)
        self.found = diagnose(self.seen) if self.training else None
        self.trend = _trend([row["reward"] for row in self.training]) if self.training else "flat"

    def verdict(self) -> RunVerdict:
        if self.state in {JobState.FAILED, JobState.CRASHED}:
            return self._broken()
        if self.state is JobState.COMPLETED and (self.training or self.stored.report):
            return self._finished()
        if not self.training:
            return self._not_yet()
        return self._stopped() if self.state is JobState.STOPPED else self._under_way()

    def say(self, outcome: Outcome, level: str, headline: str, **more: Any) -> RunVerdict:
        return RunVerdict(outcome, level, headline, best=self.stored.best, **more)

    # --- at work ---

    def _under_way(self) -> RunVerdict:
        path = self._path()
        if self.found:
            return self._with(self.found, Outcome.UNDER_WAY, self.found.sentence, Action.STOP, evidence=(path,))
        done = len(self.training)
        if done < EARLY:
            return self.say(
                Outcome.UNDER_WAY, "calm", f"Too early to say: {done} of the first {EARLY} steps are done.",
                advice=("Give it a few steps.",),
            )  # fmt: skip
        if self.trend == "rising":
            return self.say(
                Outcome.UNDER_WAY, "good", f"It is learning. {path}",
                advice=("Nothing to do. Read some answers now and then.",),
            )  # fmt: skip
        if self.trend == "falling":
            return self.say(
                Outcome.UNDER_WAY, "watch", f"The reward is falling. {path}", remedy=slower(self.seen),
                advice=(
                    "Read the latest answers: is it exploiting the reward or losing the form?",
                    "If it goes on, stop and lower the learning rate.",
                ),
            )  # fmt: skip
        return self.say(
            Outcome.UNDER_WAY, "calm", f"No clear movement yet. {path}",
            advice=("Small models may need tens of steps. If it stays like this, see whether any answer is right.",),
        )  # fmt: skip

    def _with(
        self, found: Finding, outcome: Outcome, headline: str, action: Action, evidence: tuple[str, ...] = ()
    ) -> RunVerdict:
        if found.level == "good" and action is Action.STOP:
            action = Action.NONE
        more = {"evidence": evidence, "advice": found.advice, "remedy": found.remedy}
        return self.say(outcome, found.level, headline, action=action, **more)

    def _not_yet(self) -> RunVerdict:
        if self.state is JobState.QUEUED:
            return self.say(
                Outcome.WAITING, "calm", "Waiting for the job before it to end.", advice=("It starts by itself.",)
            )
        if self.state is JobState.STOPPED:
            return self.say(
                Outcome.STOPPED, "calm", "Stopped before the first training step.",
                action=Action.RESUME, advice=(self._going_on(),),
            )  # fmt: skip
        if self.state is JobState.COMPLETED and self.stored.step:
            lost = "Its numbers are damaged or gone, so nothing can be said of how it went."
            return self.say(Outcome.NOT_ENOUGH, "watch", lost, action=Action.EVALUATE)
        if self.state is JobState.COMPLETED:
            return self.say(
                Outcome.NOT_LEARNED, "watch", "It finished without a training step, so it learned nothing.",
                action=Action.FIX, advice=("The log says why.",),
            )  # fmt: skip
        losses = [
            row["loss"] for row in self.rows if row.get("phase") == "warm_up" and measure(row, "loss") is not None
        ]
        if losses:
            moved = f" Its loss went from {losses[0]:.2f} to {losses[-1]:.2f}." if len(losses) > 1 else ""
            return self.say(
                Outcome.UNDER_WAY, "calm", f"Learning the form of an answer first (warm-up).{moved}",
                advice=("Rewards start after this phase.",),
            )  # fmt: skip
        if self.state is JobState.RUNNING and self.phase == JobPhase.EVALUATE:
            return self.say(Outcome.UNDER_WAY, "calm", "Scoring questions it will never train on, for comparison.")
        return self.say(
            Outcome.UNDER_WAY, "calm", "Getting ready: loading the model and the data.",
            advice=("The first numbers appear in about a minute.",),
        )  # fmt: skip

    # --- over ---

    def _broken(self) -> RunVerdict:
        failed = self.state is JobState.FAILED
        said = (self.stored.error or "The log has the details.",)
        step = _step_about(self.stored)
        if not self.stored.step and not any(row.get("phase") in {"training", "warm_up"} for row in self.rows):
            how = "It failed" if failed else "The process vanished (killed, out of memory, or a power cut)"
            return self.say(
                Outcome.NEVER_BEGAN, "problem", f"{how} before the first step.", action=Action.FIX,
                evidence=said, advice=("Fix what the message says, then start it again.",), step=step,
            )  # fmt: skip
        steps = [number for row in self.rows if row.get("phase") == "training" and (number := measure(row, "step"))]
        if not self.rows and self.stored.step:
            steps = [self.stored.step]
        kept = f"Everything up to step {max(steps)} is kept." if steps else "No training step was finished."
        what = "It stopped with an error." if failed else "The process vanished: killed, out of memory, or a power cut."
        mend = bool(self.stored.error_field) or self.stored.checkpoint is None
        seen, advice, remedy = self._also()
        return self.say(
            Outcome.BROKEN, "problem", f"{what} {kept}", action=Action.FIX if mend else Action.RESUME,
            evidence=said + seen, advice=(*advice, self._going_on()), remedy=remedy, step=step,
        )  # fmt: skip

    def _stopped(self) -> RunVerdict:
        at = f"Stopped after step {self.training[-1].get('step', '?')}"
        if not self.found:
            return self.say(
                Outcome.STOPPED, "calm", f"{at}. {self._path()}", action=Action.RESUME, advice=(self._going_on(),)
            )
        headline = f"{at}: {self.found.sentence[:1].lower()}{self.found.sentence[1:]}"
        if self.found.level == "good":
            return self._with(self.found, Outcome.STOPPED, headline, Action.EXPORT, evidence=(self._path(),))
        return self.say(
            Outcome.STOPPED, self.found.level, headline, action=Action.CHANGE, evidence=(self._path(),),
            advice=(*self.found.advice, self._going_on()), remedy=self.found.remedy,
        )  # fmt: skip

    def _also(self) -> tuple[tuple[str, ...], tuple[str, ...], Remedy | None]:
        """What the rows say of a run that ended for another reason: evidence, advice, remedy."""
        if not self.found or self.found.level == "good":
            return (), (), None
        return (self.found.sentence,), self.found.advice, self.found.remedy

    def _going_on(self) -> str:
        if self.stored.checkpoint is None:
            return "There is no checkpoint yet: starting again begins at the first step."
        return f"Resume goes on from step {self.stored.checkpoint}."

    # --- finished ---

    def _finished(self) -> RunVerdict:
        compared = self.stored.report.verdict if self.stored.report else None
        if compared is PairedVerdict.WORSE or (compared is None and self.trend == "falling" and self._change() <= 0):
            return self._failed_to_learn(f"It got worse: {self._score(then=True)}", slower(self.seen))
        if compared is PairedVerdict.BETTER or (compared is None and self.trend == "rising" and self._change() > 0):
            return self.say(
                Outcome.LEARNED, "good", f"It learned this: {self._score(then=True)}", action=Action.EXPORT,
                evidence=self._evidence(), advice=("Export it, or ask it something.",),
            )  # fmt: skip
        if self.found and self.found.level == "good":
            return self.say(
                Outcome.NOT_ENOUGH, "watch", f"There was little left to learn: {self._score(then=True)}",
                action=Action.CHANGE, evidence=self._evidence(), remedy=self.found.remedy,
                advice=("Train on harder questions; or export it, since it is good at these.",),
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
                "Evaluate it on more questions; read its answers before using it.",
                f"Or start a new run with {remedy.words}.",
            ),
        )  # fmt: skip

    def _failed_to_learn(self, headline: str, remedy: Remedy) -> RunVerdict:
        """``remedy`` is for a run of which no rule says why."""
        _, advice, known = self._also()
        remedy = known or remedy
        advice = advice or (f"Start a new run with {remedy.words}.",)
        return self.say(
            Outcome.NOT_LEARNED, "problem", headline, action=Action.CHANGE, remedy=remedy,
            evidence=self._evidence(), advice=(*advice, "Read its answers before using it."),
        )  # fmt: skip

    def _change(self) -> float:
        """Of the held-out reward; without two of them, what the trend says."""
        if len(self.held) > 1:
            return float(self.held[-1]["reward"] - self.held[0]["reward"])
        return {"rising": 1.0, "falling": -1.0}.get(self.trend, 0.0)

    def _low(self) -> bool:
        """Whether next to nothing is earned at the end, by what is known of the largest reward."""
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
        """'0.01 of 1.20, 0 of 5 right'; with ``then`` also what it was, and on which questions."""
        right = f", {self._right()}" if self._right() else ""
        if not then:
            return f"{self._earned(self._last())}{right}."
        unseen = len(self.held) > 1 or self.stored.report is not None
        where = "on questions it never trained on" if unseen else "in training"
        return f"from {decimals(self._first())} to {self._earned(self._last())} {where}{right}."

    def _right(self) -> str:
        """How many held-out answers earned all there is, at the end."""
        if report := self.stored.report:
            return f"{report.both + report.only_second} of {report.pairs} right"
        row: Mapping[str, object] = self.held[-1] if self.held else {}
        solved, asked = measure(row, "solved"), measure(row, "samples")
        return f"{round(solved * asked)} of {round(asked)} right" if solved is not None and asked else ""

    def _evidence(self) -> tuple[str, ...]:
        said = [self.found.sentence] if self.found else []
        if self.stored.report:
            sentence = self.stored.report.sentence
            said.append(sentence[:1].upper() + sentence[1:])
        elif not self.held:
            said.append("No question was held out, so how it does on new ones is not known.")
        path = self._path() if self.training else ""
        return (*said, *([f"In training: {path[:1].lower()}{path[1:]}"] if path else []))

    # --- words ---

    def _earned(self, value: float) -> str:
        best = self.stored.best
        return f"{decimals(value)} of {decimals(best)}" if best is not None else decimals(value)

    def _path(self) -> str:
        first, last = _ends(self.training)
        if len(self.training) < 2:
            return f"Reward {self._earned(last)}."
        return f"Reward from {decimals(first)} to {self._earned(last)}."


def _ends(training: Sequence[MetricRow]) -> tuple[float, float]:
    """Mean reward of the first and of the latest steps."""
    rewards = [row["reward"] for row in training]
    size = max(1, min(WINDOW, len(rewards) // 3))
    return fmean(rewards[:size]), fmean(rewards[-size:])


def _trend(rewards: Sequence[float]) -> str:
    """``rising`` or ``falling`` where the last third differs from the first by twice its standard error."""
    size = max(2, len(rewards) // 3)
    first, last = rewards[:size], rewards[-size:]
    noise = sqrt((pvariance(first) + pvariance(last)) / size)
    change = fmean(last) - fmean(first)
    if abs(change) <= max(2 * noise, 0.01):
        return "flat"
    return "rising" if change > 0 else "falling"


_ABOUT = (("memory", "configuration"), ("model", "model"), ("dataset", "dataset"), ("reward", "reward"))
_STEPS = {"model": "model", "dataset": "dataset", "reward": "reward"}


def _step_about(stored: Stored) -> str:
    """The wizard's step that an error is about: by its field, or by the words of one that names none."""
    section = stored.error_field.partition(".")[0]
    if section:
        return _STEPS.get(section, "configuration")
    words = (stored.error or "").partition("\n")[0].lower()
    return next((step for word, step in _ABOUT if word in words), "train")
