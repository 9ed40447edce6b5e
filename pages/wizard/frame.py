"""What the wizard's pages have in common: the stepper, the summary, and what the page was made from."""

from __future__ import annotations

from dataclasses import dataclass

from core.job import JobState
from core.methods import Need
from core.readiness import Severity
from pages.parts import Line
from services.container import Services
from services.forms.fields import shown
from services.forms.labels import dataset_title, model_title, reward_title
from services.wizard.merge import page_state
from services.wizard.snapshot import Review, Snapshot
from services.wizard.steps import STEP, StepInfo, choices_of, steps_of


@dataclass(frozen=True)
class Place:
    """Where Back or Continue leads."""

    title: str
    url: str


@dataclass(frozen=True)
class StepLink:
    """A step in the stepper; ``state`` is ``done``, ``missing`` or ``open``."""

    key: str
    title: str
    url: str
    state: str
    word: str
    current: bool


@dataclass(frozen=True)
class Frame:
    """What the steps share. ``broad`` pages take the whole width and show no summary.

    ``needs`` is what the draft's method needs, for words that hold for some methods only. ``was`` is what the page was
    made from; its form brings it back, so that another tab's changes are not undone.
    """

    step: StepInfo
    steps: tuple[StepLink, ...]
    summary: tuple[Line, ...]
    was: str
    previous: Place | None
    following: Place | None
    needs: tuple[Need, ...]
    broad: bool = False


def frame(services: Services, key: str, snapshot: Snapshot) -> Frame:
    """Stepper, summary and neighbours of a step."""
    chosen = snapshot.draft.chosen_method
    steps = steps_of(chosen)
    place = steps.index(STEP[key])
    before, after = (
        Place(steps[index].title, f"/new/{steps[index].key}") if 0 <= index < len(steps) else None
        for index in (place - 1, place + 1)
    )
    states = _states(services, snapshot)
    links = tuple(
        StepLink(step.key, step.title, f"/new/{step.key}", *states[step.key], step.key == key) for step in steps
    )
    broad = key == "test" or (key == "train" and snapshot.started.run is not None)
    was = page_state(snapshot.draft, key)
    return Frame(STEP[key], links, _summary(services, snapshot), was, before, after, chosen.needs, broad=broad)


def _states(services: Services, snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    """By step: ``done``, ``missing`` or ``open``, and the same in words."""
    review, run, states = snapshot.review, snapshot.own_run, {}
    for step in choices_of(snapshot.draft.chosen_method):
        states[step.key] = "open" if step.key in review.unseen else "missing" if step.key in review.missing else "done"
    same = snapshot.started.before is None
    states["train"] = "done" if run and run.job.state is JobState.COMPLETED and same else "open"
    made = services.exports.of_session(run.session_id) if run else []
    states["export"] = "done" if any(export.job.state is JobState.COMPLETED for export in made) else "open"
    tested = snapshot.draft.page("test").get("session_id")
    states["test"] = "done" if run and tested == run.session_id else "open"
    words = {"done": "(done)", "missing": "(something is missing)", "open": "(not done yet)"}
    return {key: (state, words[state]) for key, state in states.items()}


def _summary(services: Services, snapshot: Snapshot) -> tuple[Line, ...]:
    """The choices so far, in words."""
    draft = snapshot.draft
    training, warm_up, chosen = draft.training.values, draft.section("pre_training"), draft.chosen_method
    method = chosen.variant(draft.section(chosen.section_name).values)
    steps = training.get("max_steps")
    length = f"{steps} steps" if steps else f"{shown(training.get('num_epochs', 1))} passes over the data"
    warm = "warm-up first, " if chosen.uses("pre_training") and warm_up.values.get("enabled") else ""
    lines = [
        Line("Model", model_title(draft.model.name) or "not chosen yet"),
        Line("Dataset", dataset_title(draft.dataset.source, services.settings.home) or "not chosen yet"),
        Line("Plan", f"{warm}{length} of {method}"),
    ]
    if Need.ROLLOUTS in chosen.needs:
        answers = f"{training.get('num_generations', 8)} a question, up to {training.get('max_new_tokens', 256)} tokens"
        lines.append(Line("Answers", answers))
    if Need.REWARD in chosen.needs:
        lines.append(Line("Reward", reward_title(draft.reward.values) or "not chosen yet"))
    return (*lines, Line("Ready to start", _in_a_word(snapshot.review)))


def _in_a_word(review: Review) -> str:
    if review.missing:
        return f"Not yet: {', '.join(STEP[key].title for key in STEP if key in review.missing)}"
    warned = len(review.readiness.of(Severity.WARNS))
    return f"Yes, but {warned} thing{'' if warned == 1 else 's'} to look at" if warned else "Yes"
