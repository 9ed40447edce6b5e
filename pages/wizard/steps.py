"""The contexts of the wizard's seven pages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.config import RunConfig
from core.errors import TunesmithError
from core.readiness import Readiness, Severity, State
from pages.exports.index import export_choices, export_lines, exportable, more_choices, number_formats
from pages.models.chats import chat_view
from pages.rewards.pages import before_start
from pages.runs.show import Wanted, board
from pages.wizard import views as wizard_views
from pages.wizard.frame import frame
from pages.wizard.groups import groups
from pages.wizard.trial import trial
from services.container import Services
from services.forms.fields import FormField, checks, field_id, field_title, form_field, shown
from services.forms.labels import in_words, reward_title
from services.forms.reward_form import parts
from services.runs.view import RunView
from services.wizard.draft import DatasetDraft, Section, suggest_name
from services.wizard.forms import ADVANCED, CUSTOM
from services.wizard.snapshot import LEVELS, Review
from services.wizard.steps import STEP, step_of
from services.words import num, size

SETUPS = (
    ("recommended", "Recommended", "An adapter that suits most tasks."),
    ("custom", "Custom", "Choose its size, strength and dropout."),
    ("advanced", "Advanced", "Also layers, scaling, 4-bit loading and number format."),
)


def link(path: str) -> str:
    """Where a field is changed."""
    step = step_of(path)
    anchor = f"#field-{field_id(path)}" if "." in path and step.key != "reward" else ""
    return f"/new/{step.key}{anchor}"


def issues(review: Review) -> tuple[wizard_views.Issue, ...]:
    """The readiness list as a page shows it."""
    return tuple(
        wizard_views.Issue(
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


def model_step(services: Services) -> wizard_views.ModelStep:
    """Step 1."""
    snapshot = services.snapshots.take()
    review, model = snapshot.review, snapshot.draft.model
    items = services.models.families()
    listed = {item.info.name for item in items}
    name = model.name
    other = bool(name) and name not in listed
    device = services.system.device()
    fields = {key: form_field("model", key, model.values, review.remarks) for key in ("revision", *CUSTOM, *ADVANCED)}
    return wizard_views.ModelStep(
        frame=frame(services, "model", snapshot),
        checks=checks("model"),
        device=f"{device.name}, {size(device.memory)} of memory, {'a GPU' if device.kind == 'cuda' else 'no GPU'}",
        families=tuple(
            wizard_views.Family(family, tuple(_choice(item) for item in items if item.info.family == family))
            for family in dict.fromkeys(item.info.family for item in items)
        ),
        chosen="" if other else name,
        other=other,
        name=_shown_only_if(other, form_field("model", "name", model.values, review.remarks)),
        revision=fields["revision"],
        setup=snapshot.draft.page("model").get("setup", "recommended"),
        setups=SETUPS,
        custom=tuple(fields[key] for key in CUSTOM),
        advanced=tuple(fields[key] for key in ADVANCED),
    )


def _shown_only_if(wanted: bool, field: FormField) -> FormField:
    return field if wanted else replace(field, value="")


def _choice(item: Any) -> wizard_views.ModelChoice:
    memory = size(item.memory_4bit if item.needs_4bit else item.memory) + (" in 4 bit" if item.needs_4bit else "")
    return wizard_views.ModelChoice(
        item.info.name, item.info.title, item.info.note, memory, item.fits, item.info.gated, item.here
    )


def configuration_step(services: Services) -> wizard_views.ConfigurationStep:
    """Step 3."""
    snapshot = services.snapshots.take()
    draft, review = snapshot.draft, snapshot.review
    problems = sum(problem.severity is Severity.BLOCKS for problem in review.of(STEP["configuration"]))
    shown_groups = groups(draft, review.remarks)
    return wizard_views.ConfigurationStep(
        frame(services, "configuration", snapshot),
        # Only of boxes that are shown: one that is named here and not sent is switched off.
        " ".join(field.path for group in shown_groups for field in group.fields if field.kind == "check"),
        problems,
        shown_groups,
        _per_step(draft.training),
    )


def _per_step(training: Section) -> str:
    try:
        answers = training.whole("batch_size", 1) * training.whole("gradient_accumulation_steps", 8)
        group = training.whole("num_generations", 8)
    except (TypeError, ValueError):
        return "as many answers as the numbers above say, once they can be read"
    return f"{answers} answers to {num(answers / group)} question{'' if answers == group else 's'}"


def reward_step(services: Services) -> wizard_views.RewardStep:
    """Step 4."""
    from core.rewards import CATALOGUE, PRESETS

    snapshot = services.snapshots.take()
    draft, review = snapshot.draft, snapshot.review
    reward, section = draft.reward, draft.reward.values
    return wizard_views.RewardStep(
        frame=frame(services, "reward", snapshot),
        problems=tuple((LEVELS[problem.severity], in_words(problem.message)) for problem in review.of(STEP["reward"])),
        type=reward.type,
        preset_name=reward.preset_name or ("arithmetic" if draft.dataset.kind == "generated" else "math"),
        presets=tuple(
            wizard_views.PresetView(
                item.name, item.title, item.description, any(CATALOGUE[part.name].verifies for part in item.components)
            )
            for item in PRESETS.values()
        ),
        parts=parts(section),
        normalise=bool(section.get("normalise")),
        clip_low=shown(section.get("clip_low")),
        clip_high=shown(section.get("clip_high")),
        suggestion=_suggestion(services, draft.dataset),
        trial=trial(services, draft),
    )


def _suggestion(services: Services, dataset: DatasetDraft) -> str:
    """Which reward suits the rows, in words; empty where they cannot be read here."""
    if not dataset.source.startswith(("upload:", "generated:")):
        return ""
    try:
        found = services.bench.suggestion(dataset.filled())
    except TunesmithError:
        return ""
    return f"Suggested for this dataset: {reward_title(found['reward'])}. {found['reason']}"


def train_step(services: Services, wanted: Wanted, path: str) -> wizard_views.TrainStep:
    """Step 5."""
    snapshot = services.snapshots.take(quick=False)
    draft, review, started = snapshot.draft, snapshot.review, snapshot.started
    fix = snapshot.fix_of(snapshot.probe)
    return wizard_views.TrainStep(
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


def export_step(services: Services) -> wizard_views.ExportStep:
    """Step 6."""
    snapshot = services.snapshots.take()
    session_id = snapshot.draft.session_id or ""
    run = next((run for run in exportable(services) if run.session_id == session_id), None)
    return wizard_views.ExportStep(
        frame(services, "export", snapshot),
        run,
        (run,) if run else (),
        {session_id: services.runs.verdict(run)} if run else {},
        session_id,
        export_choices(),
        more_choices(),
        number_formats(),
        tuple(services.exports.checkpoints(session_id)) if run and session_id else (),
        export_lines(services, session_id) if run else (),
    )


def chat_step(services: Services) -> wizard_views.TestStep:
    """Step 7. To open it is all that the step asks for, so the draft remembers for which run it was opened."""
    draft = services.wizard.draft()
    draft = services.wizard.remember("test", of=draft, session_id=draft.session_id)
    session_id = draft.session_id or ""
    chat = chat_view(services, session_id=session_id, form={}, keep=f"test:{session_id}")
    return wizard_views.TestStep(frame(services, "test", services.snapshots.of(draft)), chat)
