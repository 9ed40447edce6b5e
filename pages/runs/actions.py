"""What can be done with a run, the most useful first: the buttons on its page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.job import ENDED, JobState
from services.forms.fields import field_title
from services.runs.diagnosis import Change
from services.runs.verdict import Action, Outcome, RunVerdict
from services.runs.view import RunView
from services.words import num


@dataclass(frozen=True)
class RunAction:
    """A button on a run's page.

    Attributes:
        key: Also its test id.
        url: Its link, or the target of its form.
        post: Whether it is a form.
        live: Whether a script sends the form, so that the page stays.
        primary: Whether it is the main button.
        style: Further classes.
        confirm: The question before it is done.
        hint: What it would change.
    """

    key: str
    title: str
    url: str
    icon: str = ""
    post: bool = False
    live: bool = False
    primary: bool = False
    style: str = ""
    confirm: str = ""
    hint: str = ""


def actions(run: RunView, found: RunVerdict, *, has_weights: bool, scores: bool = False) -> tuple[RunAction, ...]:
    """The buttons for a run in its current state.

    Args:
        has_weights: Whether it has saved a trained model, which can be exported and chatted with.
        scores: Whether it trained a reward model, which scores answers and writes none.
    """
    made = [*_at_work(run, found), *_new_runs(run, found), *_resume(run, found)]
    if has_weights and run.job.over:
        made += _with_scores(run, found) if scores else _with_model(run, found)
    return tuple(sorted(made, key=lambda action: not action.primary))


def changes_in_words(changes: tuple[Change, ...]) -> str:
    """'Maximum answer length: 40 → 160', for each change."""
    return "; ".join(f"{field_title(one.path)}: {_shown(one.was)} → {_shown(one.value)}" for one in changes)


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return num(value) if isinstance(value, int | float) else str(value)


def _at_work(run: RunView, found: RunVerdict) -> Iterator[RunAction]:
    state = run.job.state
    if state in ENDED or state is JobState.STOPPING:
        return
    if state is JobState.QUEUED:
        yield _post(run, "stop", "Remove from queue", "square", live=True)
        return
    wanted = found.action is Action.STOP
    yield _post(run, "stop", "Stop and save", "square", live=True, primary=wanted)
    sure = "Steps after the last checkpoint are lost."
    yield _post(run, "stop-now", "Stop without saving", "", live=True, style="danger quiet", confirm=sure)


def _new_runs(run: RunView, found: RunVerdict) -> Iterator[RunAction]:
    if found.action is Action.FIX:
        yield _post(run, "fix", "Fix and start again", "pencil", primary=True)
    if found.remedy and found.outcome is not Outcome.NEVER_BEGAN:
        first = found.action is Action.CHANGE
        hint = changes_in_words(found.remedy.changes)
        yield _post(run, "change", f"New run with {found.remedy.words}", "circle-plus", primary=first, hint=hint)


def _resume(run: RunView, found: RunVerdict) -> Iterator[RunAction]:
    if not run.job.resumable:
        return
    first = found.action is Action.RESUME
    if run.job.checkpoint_step is None:
        yield _post(run, "resume", "Try again", "play", live=True, primary=first)
    else:
        yield _post(run, "resume", f"Resume from step {run.job.checkpoint_step}", "play", live=True, primary=first)


def _with_model(run: RunView, found: RunVerdict) -> Iterator[RunAction]:
    for key, title, icon, place, action in (
        ("go-export", "Export", "package", "/exports", Action.EXPORT),
        ("go-test", "Chat with the model", "message-square", "/playground", Action.NONE),
        ("go-evaluate", "Evaluate", "table", "/evaluations/new", Action.EVALUATE),
    ):
        first = action is found.action and action is not Action.NONE
        words = "Evaluate on more questions" if first and action is Action.EVALUATE else title
        yield RunAction(key, words, f"{place}?session_id={run.session_id}", icon=icon, primary=first)
    yield _post(run, "continue", "Continue training", "circle-plus")


def _with_scores(run: RunView, found: RunVerdict) -> Iterator[RunAction]:
    first = found.action is Action.EXPORT
    yield RunAction("go-export", "Export", f"/exports?session_id={run.session_id}", icon="package", primary=first)
    yield _post(run, "use-reward", "Use as a reward", "sliders-horizontal")
    yield RunAction("go-reward", "Try it in the reward tester", f"/rewards/bench?first=run:{run.session_id}")


def _post(
    run: RunView,
    key: str,
    title: str,
    icon: str,
    *,
    primary: bool = False,
    live: bool = False,
    style: str = "",
    confirm: str = "",
    hint: str = "",
) -> RunAction:
    url = f"/runs/{run.session_id}/{key}"
    return RunAction(key, title, url, icon, True, live, primary, style, confirm, hint)
