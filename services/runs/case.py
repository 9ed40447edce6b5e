"""Shared by all verdicts of runs, whether they are judged by reward or by loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import sqrt
from statistics import fmean, pvariance
from typing import Any

from core.evaluation import PairedReport
from core.job import JobState
from core.job_rows import MetricRow, measure
from core.kept import Kept
from services.runs.diagnosis import EARLY, Finding, Remedy, Seen

FEW = 30
"""With fewer held-out rows than this, a new run should have more of them."""


class Outcome(StrEnum):
    """The verdict, for programs."""

    WAITING = "waiting"
    UNDER_WAY = "under_way"
    LEARNED = "learned"
    NOT_LEARNED = "not_learned"
    NOT_ENOUGH = "not_enough_evidence"
    STOPPED = "stopped"
    BROKEN = "broken"
    """It failed or crashed after its first step."""
    NEVER_BEGAN = "never_began"
    """It failed or crashed before its first step."""


BRIEF = {
    Outcome.LEARNED: "learned this",
    Outcome.NOT_LEARNED: "did not learn this",
    Outcome.NOT_ENOUGH: "not enough evidence",
    Outcome.STOPPED: "stopped early",
    Outcome.BROKEN: "ended with an error",
}
"""The verdict in one or two words, for places without space for a sentence, such as a menu."""


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
    """Open the same settings again to fix them."""


@dataclass(frozen=True)
class RunVerdict:
    """The state of a run and what to do next.

    Attributes:
        outcome: For programs.
        level: ``good``, ``calm``, ``watch`` or ``problem``.
        headline: The one sentence.
        action: What to do first.
        evidence: What the verdict is based on.
        advice: What to do, in order.
        remedy: What a new run should change; None if nothing needs to change.
        step: The wizard's step on which to fix a run that failed.
        best: The highest possible reward of an answer, if known.
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
        """The outcome in one or two words; empty until the run has ended."""
        return BRIEF.get(self.outcome, "")

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Stored:
    """Stored data of a run besides its rows.

    Attributes:
        config: The stored configuration; missing settings have their default.
        best: The highest possible reward of an answer.
        report: The comparison of its held-out answers before and after training.
        error: The error of the worker or the watcher, if it failed or crashed.
        error_field: The setting that the error is about, or ''.
        checkpoint: The step that a resume would continue from.
        step: Steps done according to the worker's status, even if the rows are missing.
        kept: Its best evaluation, if it keeps the best checkpoint or may end early.
    """

    config: Mapping[str, Any]
    best: float | None = None
    report: PairedReport | None = None
    error: str | None = None
    error_field: str = ""
    checkpoint: int | None = None
    step: int = 0
    kept: Kept | None = None


class Case(ABC):
    """A run to be judged. Subclasses add the sentences about its metrics.

    Args:
        rows: Its metric rows, merged.
        state, stored, phase: As for :func:`services.runs.verdict.verdict`.
        training: The rows that training is judged by, ordered by step.
    """

    def __init__(
        self, rows: Sequence[MetricRow], state: JobState, stored: Stored, phase: str, training: Sequence[MetricRow]
    ) -> None:
        self.rows, self.state, self.stored, self.phase, self.training = rows, state, stored, phase, training
        over = state in {JobState.COMPLETED, JobState.STOPPED, JobState.FAILED, JobState.CRASHED}
        self.seen = Seen(training, stored.config, stored.best, over)
        self.found = self._diagnosis() if training else None

    @abstractmethod
    def _diagnosis(self) -> Finding | None:
        """What is wrong with a run that has training rows, if anything."""

    @abstractmethod
    def _path(self) -> str:
        """The course of training, as a sentence."""

    @abstractmethod
    def _preparing(self) -> RunVerdict | None:
        """The verdict before the first training step; None if there is nothing specific to say."""

    @abstractmethod
    def _under_way(self) -> RunVerdict:
        """The verdict of a run in training."""

    @abstractmethod
    def _finished(self) -> RunVerdict:
        """The verdict of a completed run."""

    def verdict(self) -> RunVerdict:
        found = self._verdict()
        return replace(found, evidence=(*self._kept(), *found.evidence))

    def _verdict(self) -> RunVerdict:
        if self.state in {JobState.FAILED, JobState.CRASHED}:
            return self._broken()
        if self.state is JobState.COMPLETED and (self.training or self.stored.report):
            return self._finished()
        if not self.training:
            return self._not_yet()
        return self._stopped() if self.state is JobState.STOPPED else self._under_way()

    def say(self, outcome: Outcome, level: str, headline: str, **more: Any) -> RunVerdict:
        return RunVerdict(outcome, level, headline, best=self.stored.best, **more)

    def _too_early(self) -> RunVerdict | None:
        """The verdict during the first few steps; None after them."""
        if (done := len(self.training)) >= EARLY:
            return None
        return self.say(
            Outcome.UNDER_WAY, "calm", f"Too early to tell: {done} of the first {EARLY} steps done.",
            advice=("Wait for a few more steps.",),
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
                Outcome.WAITING, "calm", "Waiting for another job to finish.", advice=("It starts automatically.",)
            )
        if self.state is JobState.STOPPED:
            return self.say(
                Outcome.STOPPED, "calm", "Stopped before the first training step.",
                action=Action.RESUME, advice=(self._going_on(),),
            )  # fmt: skip
        if self.state is JobState.COMPLETED and self.stored.step:
            lost = "Its metrics are damaged or missing, so the result is unknown."
            return self.say(Outcome.NOT_ENOUGH, "watch", lost, action=Action.EVALUATE)
        if self.state is JobState.COMPLETED:
            return self.say(
                Outcome.NOT_LEARNED, "watch", "It finished without a training step, so it learned nothing.",
                action=Action.FIX, advice=("Check the log for the reason.",),
            )  # fmt: skip
        if preparing := self._preparing():
            return preparing
        return self.say(
            Outcome.UNDER_WAY, "calm", "Preparing: loading the model and the data.",
            advice=("The first metrics appear in about a minute.",),
        )  # fmt: skip

    def _broken(self) -> RunVerdict:
        failed = self.state is JobState.FAILED
        said = (self.stored.error or "See the log for details.",)
        step = _step_about(self.stored)
        if not self.stored.step and not any(row.get("phase") in {"training", "warm_up"} for row in self.rows):
            return self.say(
                Outcome.NEVER_BEGAN, "problem", f"{_ended(failed, 'before the first step')}.", action=Action.FIX,
                evidence=said, advice=("Fix the problem described above, then start again.",), step=step,
            )  # fmt: skip
        steps = [number for row in self.rows if row.get("phase") == "training" and (number := measure(row, "step"))]
        if not self.rows and self.stored.step:
            steps = [self.stored.step]
        when = f"after step {max(steps)}" if steps else "before the first training step"
        mend = bool(self.stored.error_field) or self.stored.checkpoint is None
        seen, advice, remedy = self._also()
        return self.say(
            Outcome.BROKEN, "problem", f"{_ended(failed, when)}.", action=Action.FIX if mend else Action.RESUME,
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

    def _kept(self) -> tuple[str, ...]:
        """Why a completed run did not take all its steps, and which step is its result, if either is special."""
        kept, said = self.stored.kept, []
        if kept is None:
            return ()
        if kept.ended is not None and self.state is JobState.COMPLETED:
            times = "the last evaluation was" if kept.since == 1 else f"the last {kept.since} evaluations were"
            said.append(
                f"It ended early, after step {kept.ended} of {kept.planned}: {times} not better than that of step "
                f"{kept.step}."
            )
        if kept.published:
            so_far = "" if self.state is JobState.COMPLETED else " so far"
            said.append(f"The result{so_far} is step {kept.step}, which had the best evaluation.")
        return tuple(said)

    def _also(self) -> tuple[tuple[str, ...], tuple[str, ...], Remedy | None]:
        """What a failed run's rows show besides the failure: evidence, advice, remedy."""
        if not self.found or self.found.level == "good":
            return (), (), None
        return (self.found.sentence,), self.found.advice, self.found.remedy

    def _going_on(self) -> str:
        if self.stored.checkpoint is None:
            return "No checkpoint was saved, so trying again starts from the first step."
        return f"Resume continues from step {self.stored.checkpoint}."


def _ended(failed: bool, when: str) -> str:
    """'It failed after step 6', with the usual causes if the worker could not report one."""
    if failed:
        return f"It failed {when}"
    return f"It crashed {when} (it was killed, ran out of memory, or the power failed)"


def trend(values: Sequence[float]) -> str:
    """``rising`` or ``falling`` if the last third differs from the first by twice its standard error, else ``flat``."""
    size = max(2, len(values) // 3)
    first, last = values[:size], values[-size:]
    noise = sqrt((pvariance(first) + pvariance(last)) / size)
    change = fmean(last) - fmean(first)
    if abs(change) <= max(2 * noise, 0.01):
        return "flat"
    return "rising" if change > 0 else "falling"


_ABOUT = (("memory", "configuration"), ("model", "model"), ("dataset", "dataset"), ("reward", "reward"))
_STEPS = {"model": "model", "dataset": "dataset", "reward": "reward"}


def _step_about(stored: Stored) -> str:
    """The wizard's step that an error is about, by its field or, without one, by the words of its message."""
    section = stored.error_field.partition(".")[0]
    if section:
        return _STEPS.get(section, "configuration")
    words = (stored.error or "").partition("\n")[0].lower()
    return next((step for word, step in _ABOUT if word in words), "train")
