"""Step 5: the check before the start, and the run."""

from __future__ import annotations

from dataclasses import dataclass

from core.config import RunConfig
from core.methods import method
from core.readiness import Readiness, Severity, State
from pages.probe import figure_lines
from pages.runs.answers import Wanted
from pages.runs.show import RunBoard, board
from pages.wizard.frame import Frame, frame
from services.container import Services
from services.forms.fields import field_id, field_title
from services.forms.labels import in_words
from services.probes.probes import ProbeView, fingerprint
from services.runs.verdict import RunVerdict
from services.runs.view import RunView
from services.wizard.draft import suggest_name
from services.wizard.snapshot import LEVELS, Review, can_be_probed
from services.wizard.steps import step_of


@dataclass(frozen=True)
class Issue:
    """An entry of the readiness list: where to mend it and, where ``fix`` names one, the button that does.

    ``level`` is ``problem``, ``watch``, ``note-text``, or '' where nothing is wrong yet.
    """

    level: str
    title: str
    url: str
    message: str
    fix: str = ""
    label: str = ""


@dataclass(frozen=True)
class TrainStep:
    """Step 5: the readiness list and the summary before the start, the run after it."""

    frame: Frame
    run: RunBoard | None
    changed: bool
    """Whether the choices differ from those of the run that is shown."""
    before_run: RunView | None
    before_verdict: RunVerdict | None
    level: str
    verdict: str
    issues: tuple[Issue, ...]
    asks: bool
    name: str
    suggested_name: str
    before: BeforeStart


@dataclass(frozen=True)
class BeforeStart:
    """On the last page before a start: what the probe said.

    Attributes:
        probe: The draft's latest probe.
        lines: Its figures.
        changed: Whether the draft is no longer what was probed.
        possible: Whether the draft is complete enough to be probed, and its method is one that can be.
        fix: What the button that follows the advice says; empty where there is none.
    """

    probe: ProbeView | None
    lines: tuple[tuple[str, str], ...]
    changed: bool
    possible: bool
    fix: str


def before_start(probe: ProbeView | None, config: RunConfig | None, fix: str) -> BeforeStart:
    """For the draft's configuration, None where it is not complete."""
    changed = bool(probe and config and probe.fingerprint != fingerprint(config))
    possible = config is not None and can_be_probed(method(config.method))
    return BeforeStart(probe, figure_lines(probe) if probe else (), changed, possible, fix)


def link(path: str) -> str:
    """Where a field is changed."""
    step = step_of(path)
    anchor = f"#field-{field_id(path)}" if "." in path and step.key != "reward" else ""
    return f"/new/{step.key}{anchor}"


def issues(review: Review) -> tuple[Issue, ...]:
    """The readiness list as a page shows it."""
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
        return "Everything is set."
    count = len(readiness.of(Severity.BLOCKS if state is State.NOT_READY else Severity.WARNS))
    if state is State.NOT_READY:
        return f"Not ready: {'one thing keeps' if count == 1 else f'{count} things keep'} the run from starting."
    return f"Ready, but {'one thing needs' if count == 1 else f'{count} things need'} a look."


def train_step(services: Services, wanted: Wanted, path: str) -> TrainStep:
    """Step 5."""
    snapshot = services.snapshots.take(quick=False)
    draft, review, started = snapshot.draft, snapshot.review, snapshot.started
    fix = snapshot.fix_of(snapshot.probe)
    return TrainStep(
        frame=frame(services, "train", snapshot),
        run=board(services, started.run.session_id, wanted, path) if started.run else None,
        changed=started.run is not None and started.before is not None,
        before_run=started.before,
        before_verdict=services.runs.verdict(started.before) if started.before else None,
        level={State.READY: "good", State.READY_BUT: "watch"}.get(
            review.readiness.state, "problem" if review.missing - review.unseen else ""
        ),
        verdict=f"{verdict_line(review.readiness)} {_plan(snapshot.runs, review.config)}".strip(),
        issues=issues(review),
        asks=any(problem.confirm for problem in review.readiness.problems),
        name=draft.name,
        suggested_name=suggest_name(draft, services.settings.home),
        before=before_start(snapshot.probe, review.config if not review.missing else None, fix.label if fix else ""),
    )


def _plan(runs: list[RunView], config: RunConfig | None) -> str:
    if config is None:
        return ""
    queued = [run for run in runs if not run.job.over]
    waits = f" It will wait for {len(queued)} run{'' if len(queued) == 1 else 's'} before it." if queued else ""
    return f"Training can be stopped and resumed at any time; closing this page changes nothing.{waits}"
