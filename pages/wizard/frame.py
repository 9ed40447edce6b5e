"""Shared by the wizard's pages: the stepper, the summary, and the state the page was rendered from."""

from __future__ import annotations

from dataclasses import dataclass

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
    """What the steps share. Pages about the run that was started, Export and Test, have no stepper and no summary.

    ``needs`` is what the draft's method needs, for text that applies to some methods only. ``was`` is the state the
    page was rendered from; its form sends it back, so that another tab's changes are not undone.
    """

    step: StepInfo
    steps: tuple[StepLink, ...]
    summary: tuple[Line, ...]
    was: str
    previous: Place | None
    following: Place | None
    needs: tuple[Need, ...]


def frame(services: Services, key: str, snapshot: Snapshot) -> Frame:
    """Stepper, summary and neighbors of a step."""
    chosen, step = snapshot.draft.chosen_method, STEP[key]
    steps = steps_of(chosen)
    if step not in steps:
        return _afterwards(step, snapshot)
    place = steps.index(step)
    before, after = (
        Place(steps[index].title, f"/new/{steps[index].key}") if 0 <= index < len(steps) else None
        for index in (place - 1, place + 1)
    )
    states = _states(snapshot)
    links = tuple(StepLink(one.key, one.title, f"/new/{one.key}", *states[one.key], one is step) for one in steps)
    was = page_state(snapshot.draft, key)
    return Frame(step, links, _summary(services, snapshot), was, before, after, chosen.needs)


def _afterwards(step: StepInfo, snapshot: Snapshot) -> Frame:
    run = snapshot.own_run
    place = Place("Run", f"/runs/{run.session_id}") if run else Place(STEP["train"].title, "/new/train")
    return Frame(step, (), (), "", place, None, snapshot.draft.chosen_method.needs)


def _states(snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    """By step: ``done``, ``missing`` or ``open``, and the same in words. Unvisited steps have no errors."""
    review, draft, states = snapshot.review, snapshot.draft, {}
    for step in choices_of(draft.chosen_method):
        missing = step.key in review.missing
        if draft.page(step.key).get("visited"):
            states[step.key] = ("missing", "Needs attention") if missing else ("done", "Done")
        else:
            states[step.key] = ("open", "Not set up yet" if missing else "Suggested values")
    states["train"] = ("done", "Started") if snapshot.started.run else ("open", "Not started yet")
    return states


def _summary(services: Services, snapshot: Snapshot) -> tuple[Line, ...]:
    """The choices so far, in words."""
    draft = snapshot.draft
    training, warm_up, chosen = draft.training.values, draft.section("pre_training"), draft.chosen_method
    method = chosen.variant(draft.section(chosen.section_name).values)
    steps, epochs = training.get("max_steps"), shown(training.get("num_epochs", 1))
    length = f"{steps} step{'' if steps == 1 else 's'}" if steps else f"{epochs} epoch{'' if epochs == '1' else 's'}"
    warm = ", after a warm-up" if chosen.uses("pre_training") and warm_up.values.get("enabled") else ""
    lines = [
        Line("Model", model_title(draft.model.name) or "Not chosen yet"),
        Line("Dataset", dataset_title(draft.dataset.source, services.settings.home) or "Not chosen yet"),
        Line("Training", f"{method}, {length}{warm}"),
    ]
    if Need.ROLLOUTS in chosen.needs:
        count, longest = training.get("num_generations", 8), training.get("max_new_tokens", 256)
        lines.append(Line("Answers", f"{count} per question, up to {longest} tokens each"))
    if Need.REWARD in chosen.needs:
        lines.append(Line("Reward", reward_title(draft.reward.values) or "Not chosen yet"))
    if time := snapshot.time:
        lines.append(Line("Time", time.words.capitalize()))
    return (*lines, Line("Status", _in_a_word(snapshot.review)))


def _in_a_word(review: Review) -> str:
    if review.missing:
        return f"Not ready. Next: {', '.join(STEP[key].title for key in STEP if key in review.missing)}"
    warned = len(review.readiness.of(Severity.WARNS))
    return f"Ready, with {warned} warning{'' if warned == 1 else 's'}" if warned else "Ready"
