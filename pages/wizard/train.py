"""Step 5: the check before the start, and the run that was started."""

from __future__ import annotations

from dataclasses import dataclass

from core.config import RunConfig
from core.methods import method
from core.readiness import Readiness, Severity, State
from pages.probe import figure_lines
from pages.wizard.frame import Frame, frame
from services.container import Services
from services.forms.fields import field_id, field_title
from services.forms.labels import in_words
from services.probes.probes import ProbeView, fingerprint
from services.runs.view import RunView
from services.wizard.draft import suggest_name
from services.wizard.snapshot import LEVELS, Review, Snapshot, can_be_probed
from services.wizard.steps import step_of


@dataclass(frozen=True)
class Issue:
    """An entry of the readiness list: where to fix it and, with ``fix``, the button that does.

    ``level`` is ``problem``, ``watch``, ``note-text``, or '' if nothing is wrong yet.
    """

    level: str
    title: str
    url: str
    message: str
    fix: str = ""
    label: str = ""


@dataclass(frozen=True)
class TrainStep:
    """Step 5: the readiness list before the start; after it, the run in a line.

    Attributes:
        run: The run that was started from this setup.
        headline: Its verdict, or that of ``before_run``.
        changed: Whether the setup differs from the displayed run's.
        before_run: The previous run, if the setup has changed since.
        level, verdict: The readiness list in a sentence.
        advice: Other advice before the start.
    """

    frame: Frame
    run: RunView | None
    headline: str
    changed: bool
    before_run: RunView | None
    level: str
    verdict: str
    advice: str
    issues: tuple[Issue, ...]
    asks: bool
    name: str
    suggested_name: str
    before: BeforeStart


@dataclass(frozen=True)
class BeforeStart:
    """The result of the check before training, on the last page before a start.

    Attributes:
        probe: The draft's latest check.
        lines: Its figures.
        changed: Whether the draft has changed since the check.
        possible: Whether the draft is complete enough to be checked, and its method supports that.
        fix: Label of the button that follows the advice; empty if there is none.
    """

    probe: ProbeView | None
    lines: tuple[tuple[str, str], ...]
    changed: bool
    possible: bool
    fix: str


def before_start(probe: ProbeView | None, config: RunConfig | None, fix: str) -> BeforeStart:
    """For the draft's configuration; None if it is incomplete."""
    changed = bool(probe and config and probe.fingerprint != fingerprint(config))
    possible = config is not None and can_be_probed(method(config.method))
    return BeforeStart(probe, figure_lines(probe) if probe else (), changed, possible, fix)


def link(path: str) -> str:
    """Where a field is changed."""
    step = step_of(path)
    anchor = f"#field-{field_id(path)}" if "." in path and step.key != "reward" else ""
    return f"/new/{step.key}{anchor}"


def issues(review: Review) -> tuple[Issue, ...]:
    """The view of the readiness list."""
    return tuple(
        Issue(
            LEVELS[problem.severity] if step_of(problem.field).key not in review.unseen else "",
            field_title(problem.field) if "." in problem.field else step_of(problem.field).title,
            link(problem.field),
            in_words(problem.message) if step_of(problem.field).key not in review.unseen else "Not set up yet.",
            problem.field if problem.fix else "",
            problem.fix.label if problem.fix else "",
        )
        for problem in review.readiness.problems
    )


def verdict_line(readiness: Readiness) -> str:
    """The list in a sentence."""
    state = readiness.state
    if state is State.READY:
        return "Ready to start."
    count = len(readiness.of(Severity.BLOCKS if state is State.NOT_READY else Severity.WARNS))
    if state is State.NOT_READY:
        return f"Not ready: {count} problem{'' if count == 1 else 's'} to fix first."
    return f"Ready, but check {count} warning{'' if count == 1 else 's'} first."


def train_step(services: Services) -> TrainStep:
    """Step 5."""
    snapshot = services.snapshots.take(quick=False)
    draft, review, started = snapshot.draft, snapshot.review, snapshot.started
    fix, run = snapshot.fix_of(snapshot.probe), started.run or started.before
    return TrainStep(
        frame=frame(services, "train", snapshot),
        run=started.run,
        headline=services.runs.verdict(run).headline if run else "",
        changed=started.run is not None and started.before is not None,
        before_run=started.before,
        level={State.READY: "good", State.READY_BUT: "watch"}.get(
            review.readiness.state, "problem" if review.missing - review.unseen else ""
        ),
        verdict=verdict_line(review.readiness),
        advice=_advice(snapshot),
        issues=issues(review),
        asks=any(problem.confirm for problem in review.readiness.problems),
        name=draft.name,
        suggested_name=suggest_name(draft, services.settings.home),
        before=before_start(snapshot.probe, review.config if not review.missing else None, fix.label if fix else ""),
    )


def _advice(snapshot: Snapshot) -> str:
    """Its duration, and what it waits for."""
    if snapshot.review.config is None:
        return ""
    time = snapshot.time
    words = [f"The estimate is {time.basis[0].lower()}{time.basis[1:]}"] if time else []
    if waiting := sum(not run.job.over for run in snapshot.runs):
        words.append(f"It will wait for {waiting} other run{'' if waiting == 1 else 's'} to finish.")
    words.append("You can stop and resume at any time, and close this page while it runs.")
    return " ".join(words)
