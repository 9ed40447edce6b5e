"""The contexts of the wizard's seven pages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.config import DatasetSection, RunConfig
from core.errors import InvalidConfig, TunesmithError
from core.methods import method_of
from core.probe import proposal
from core.readiness import Fix, Problem, Readiness, Severity, State, ordered
from core.run import JobState
from pages.exports.index import export_choices, export_lines, exportable, more_choices, number_formats
from pages.models.chats import chat_view
from pages.parts import Line
from pages.runs.show import Wanted, board
from pages.wizard import views as wizard_views
from pages.wizard.trial import trial
from pages.wizard.views import Frame, Place, StepLink
from services.container import Services
from services.forms.fields import FormField, checks, field_id, field_title, form_field, shown
from services.forms.labels import dataset_title, in_words, model_title, reward_title
from services.forms.reward_form import parts
from services.probes.probes import ProbeView, fingerprint
from services.runs.view import RunView
from services.wizard.wizard import LEVELS, STEP, STEPS, Review, kind_of, step_of, suggest_name
from services.words import num, size

SETUPS = (
    ("recommended", "Recommended", "An adapter that suits most tasks."),
    ("custom", "Custom", "Choose its size, strength and dropout."),
    ("advanced", "Advanced", "Also layers, scaling, 4-bit loading and number format."),
)
KINDS = (
    ("upload", "A file of mine", "JSON Lines, JSON, CSV, TSV or Parquet, also packed; or a dataset fetched before."),
    ("generated", "Made on the spot", "Small sums, as many as you like. Needs no network."),
    ("tasks", "Exercises made on the spot", "A hundred kinds from reasoning-gym, with exact checkers. No network."),
    ("hub", "The Hugging Face Hub", "A well-known dataset, or any by its name, for example openai/gsm8k."),
    (
        "mix",
        "Several mixed",
        "Datasets of this machine, of the Hub and exercises, by weight: 2 and 1 mean two thirds and one third.",
    ),
)
CUSTOM = ("lora_rank", "lora_alpha", "lora_dropout")
ADVANCED = ("target_modules", "use_rslora", "load_in_4bit", "dtype")


def review_of(services: Services, *, quick: bool = True) -> Review:
    """The draft's review, with what only a look at this machine can tell; not ``quick`` where it may take seconds."""
    review = services.wizard.review()
    problems = [*review.readiness.problems]
    draft = services.wizard.draft()
    for key, field, look in (("model", "name", _model_is_there), ("dataset", "source", _dataset_is_there)):
        section = draft.get(key) or {}
        if key in review.unset or any(problem.field.startswith(f"{key}.") for problem in problems):
            continue
        try:
            look(services, section)
        except TunesmithError as error:
            path = error.field if error.field and error.field.startswith(f"{key}.") else f"{key}.{field}"
            words = error.problems[0][1] if isinstance(error, InvalidConfig) else error.message
            problems.append(Problem(Severity.BLOCKS, path, words))
    lost = {problem.field.partition(".")[0] for problem in problems if problem.severity is Severity.BLOCKS}
    if review.standing:
        problems += services.preflight.look(review.standing, quick=quick, without=frozenset(lost)).problems
        problems += probe_remark(services, review.config)
    return replace(review, readiness=ordered(problems))


def probe_remark(services: Services, config: RunConfig | None) -> list[Problem]:
    """What the latest probe of exactly these choices found, where it is not that they will do."""
    probe = latest_probe(services)
    verdict = probe.verdict if probe and config and probe.fingerprint == fingerprint(config) else None
    if not verdict or verdict["outcome"] == "will_learn":
        return []
    words = f"The check before training says: {verdict['title']}. {verdict['reason']} {verdict['advice']}"
    return [Problem(Severity.WARNS, verdict["field"] or "training.max_steps", words)]


def probe_fix(services: Services, probe: ProbeView | None) -> Fix | None:
    """What a probe's advice comes to, where it is of the draft, names values, and these are not set yet."""
    if not probe or not probe.verdict or probe.probe_id != services.wizard.ui("train").get("probe_id"):
        return None
    config = services.probes.config(probe.probe_id)
    values = proposal(probe.verdict["outcome"], probe.figures or {}, config, services.preflight.proposed(config))
    draft = services.wizard.draft()
    now = {path: (draft.get(path.partition(".")[0]) or {}).get(path.partition(".")[2]) for path in values}
    if not values or now == values:
        return None
    path, value = next(iter(values.items()))
    words = f"Switch on '{field_title(path)}'" if value is True else f"Set '{field_title(path)}' to {shown(value)}"
    return Fix(f"{words} and probe again", values)


def latest_probe(services: Services) -> ProbeView | None:
    """The draft's latest probe."""
    kept = services.wizard.ui("train").get("probe_id")
    try:
        return services.probes.get(str(kept)) if kept else None
    except TunesmithError:
        return None


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


def _model_is_there(services: Services, section: dict[str, Any]) -> None:
    services.models.validate(str(section["name"]))


def _dataset_is_there(services: Services, section: dict[str, Any]) -> None:
    services.datasets.check(DatasetSection.model_validate(section))


def frame(services: Services, key: str, review: Review) -> Frame:
    """Stepper, summary and neighbours of a step."""
    place = [step.key for step in STEPS].index(key)
    before, after = (
        Place(STEPS[index].title, f"/new/{STEPS[index].key}") if 0 <= index < len(STEPS) else None
        for index in (place - 1, place + 1)
    )
    states = step_states(services, review)
    links = tuple(
        StepLink(step.key, step.title, f"/new/{step.key}", *states[step.key], step.key == key) for step in STEPS
    )
    broad = key == "test" or (key == "train" and shown_run(services)[0] is not None)
    was = services.wizard.page_state(key)
    return Frame(STEP[key], links, summary(services, review), was, before, after, broad=broad)


def step_states(services: Services, review: Review) -> dict[str, tuple[str, str]]:
    """By step: ``done``, ``missing`` or ``open``, and the same in words."""
    states = {}
    for step in STEPS[:4]:
        states[step.key] = "open" if step.key in review.unseen else "missing" if step.key in review.missing else "done"
    session_id = services.wizard.session_id()
    run = next((run for run in services.runs.list() if run.session_id == session_id), None)
    same = shown_run(services)[1] is None
    states["train"] = "done" if run and run.job.state is JobState.COMPLETED and same else "open"
    made = services.exports.of_session(session_id) if run and session_id else []
    states["export"] = "done" if any(export.job.state is JobState.COMPLETED for export in made) else "open"
    states["test"] = "done" if run and services.wizard.ui("test").get("session_id") == session_id else "open"
    words = {"done": "(done)", "missing": "(something is missing)", "open": "(not done yet)"}
    return {key: (state, words[state]) for key, state in states.items()}


def summary(services: Services, review: Review) -> tuple[Line, ...]:
    """The choices so far, in words."""
    draft = services.wizard.draft()
    model, dataset, training = (draft.get(key) or {} for key in ("model", "dataset", "training"))
    chosen = method_of(draft)
    steps = training.get("max_steps")
    length = f"{steps} steps" if steps else f"{shown(training.get('num_epochs', 1))} passes over the data"
    warm = "warm-up first, " if (draft.get("pre_training") or {}).get("enabled") else ""
    return (
        Line("Model", model_title(str(model.get("name") or "")) or "not chosen yet"),
        Line("Dataset", dataset_title(str(dataset.get("source") or ""), services.settings.home) or "not chosen yet"),
        Line("Plan", f"{warm}{length} of {chosen.variant(draft.get(chosen.section_name) or {})}"),
        Line(
            "Answers",
            f"{training.get('num_generations', 8)} a question, up to {training.get('max_new_tokens', 256)} tokens",
        ),
        Line("Reward", reward_title(draft.get("reward") or {}) or "not chosen yet"),
        Line("Ready to start", _in_a_word(review)),
    )


def _in_a_word(review: Review) -> str:
    if review.missing:
        return f"Not yet: {', '.join(STEP[key].title for key in STEP if key in review.missing)}"
    warned = len(review.readiness.of(Severity.WARNS))
    return f"Yes, but {warned} thing{'' if warned == 1 else 's'} to look at" if warned else "Yes"


def model_step(services: Services) -> wizard_views.ModelStep:
    """Step 1."""
    review = review_of(services)
    section = services.wizard.draft().get("model") or {}
    items = services.models.families()
    listed = {item.info.name for item in items}
    name = str(section.get("name") or "")
    other = bool(name) and name not in listed
    device = services.system.device()
    fields = {key: form_field("model", key, section, review.remarks) for key in ("revision", *CUSTOM, *ADVANCED)}
    return wizard_views.ModelStep(
        frame=frame(services, "model", review),
        checks=checks("model"),
        device=f"{device.name}, {size(device.memory)} of memory, {'a GPU' if device.kind == 'cuda' else 'no GPU'}",
        families=tuple(
            wizard_views.Family(family, tuple(_choice(item) for item in items if item.info.family == family))
            for family in dict.fromkeys(item.info.family for item in items)
        ),
        chosen="" if other else name,
        other=other,
        name=_shown_only_if(other, form_field("model", "name", section, review.remarks)),
        revision=fields["revision"],
        setup=services.wizard.ui("model").get("setup", "recommended"),
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
    review = review_of(services)
    draft = services.wizard.draft()
    problems = sum(problem.severity is Severity.BLOCKS for problem in review.of(STEP["configuration"]))
    groups = services.wizard.groups(review.remarks)
    return wizard_views.ConfigurationStep(
        frame(services, "configuration", review),
        # Only of boxes that are shown: one that is named here and not sent is switched off.
        " ".join(field.path for group in groups for field in group.fields if field.kind == "check"),
        problems,
        groups,
        _per_step(draft.get("training") or {}),
    )


def _per_step(training: dict[str, Any]) -> str:
    try:
        answers = int(training.get("batch_size", 1)) * int(training.get("gradient_accumulation_steps", 8))
        group = int(training.get("num_generations", 8))
    except (TypeError, ValueError):
        return "as many answers as the numbers above say, once they can be read"
    return f"{answers} answers to {num(answers / group)} question{'' if answers == group else 's'}"


def reward_step(services: Services) -> wizard_views.RewardStep:
    """Step 4."""
    from core.rewards import CATALOGUE, PRESETS

    review = review_of(services)
    draft = services.wizard.draft()
    section = draft.get("reward") or {}
    arithmetic = kind_of(str((draft.get("dataset") or {}).get("source") or "")) == "generated"
    return wizard_views.RewardStep(
        frame=frame(services, "reward", review),
        problems=tuple((LEVELS[problem.severity], in_words(problem.message)) for problem in review.of(STEP["reward"])),
        type=section.get("type", "preset"),
        preset_name=section.get("preset_name") or ("arithmetic" if arithmetic else "math"),
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
        suggestion=_suggestion(services, draft),
        trial=trial(services),
    )


def _suggestion(services: Services, draft: dict[str, Any]) -> str:
    """Which reward suits the rows, in words; empty where they cannot be read here."""
    dataset = draft.get("dataset") or {}
    if not str(dataset.get("source") or "").startswith(("upload:", "generated:")):
        return ""
    try:
        found_one = services.bench.suggestion({key: value for key, value in dataset.items() if value != ""})
    except TunesmithError:
        return ""
    return f"Suggested for this dataset: {reward_title(found_one['reward'])}. {found_one['reason']}"


def train_step(services: Services, wanted: Wanted, path: str) -> wizard_views.TrainStep:
    """Step 5."""
    review = review_of(services, quick=False)
    draft = services.wizard.draft()
    from pages.rewards.pages import before_start

    shown_one, before_run = shown_run(services)
    state = review.readiness.state
    plan = _plan(services, review.config)
    probe = latest_probe(services)
    fix = probe_fix(services, probe)
    return wizard_views.TrainStep(
        frame=frame(services, "train", review),
        run=board(services, shown_one.session_id, wanted, path) if shown_one else None,
        changed=shown_one is not None and before_run is not None,
        before_run=before_run,
        before_verdict=services.runs.verdict(before_run) if before_run else None,
        level={State.READY: "good", State.READY_BUT: "watch"}.get(
            state, "problem" if review.missing - review.unseen else ""
        ),
        verdict=f"{verdict_line(review.readiness)} {plan}".strip(),
        issues=issues(review),
        asks=any(problem.confirm for problem in review.readiness.problems),
        name=draft["name"],
        suggested_name=suggest_name(draft, services.settings.home),
        before=before_start(probe, review.config if not review.missing else None, fix.label if fix else ""),
    )


def shown_run(services: Services) -> tuple[RunView | None, RunView | None]:
    """The draft's run where step 5 shows it, and the same again where the choices have changed since its start.

    A run that is over gives way to the form as soon as they have; one that is at work does not.
    """
    session_id = services.wizard.session_id()
    run = next((run for run in services.runs.list() if run.session_id == session_id), None)
    if run is None or services.wizard.starts(services.runs.get(run.session_id).config):
        return run, None
    return None if run.job.over else run, run


def gives_way(services: Services, session_id: str) -> bool:
    """Whether another run may start in place of the draft's: that one is gone, or over and of other choices."""
    run = next((run for run in services.runs.list() if run.session_id == session_id), None)
    return run is None or shown_run(services)[0] is None


def _plan(services: Services, config: RunConfig | None) -> str:
    if config is None:
        return ""
    queued = [run for run in services.runs.list() if not run.job.over]
    waits = f" It will wait for {len(queued)} run{'' if len(queued) == 1 else 's'} before it." if queued else ""
    return f"Training can be stopped and resumed at any time; closing this page changes nothing.{waits}"


def export_step(services: Services) -> wizard_views.ExportStep:
    """Step 6."""
    review = review_of(services)
    session_id = services.wizard.session_id() or ""
    run = next((run for run in exportable(services) if run.session_id == session_id), None)
    return wizard_views.ExportStep(
        frame(services, "export", review),
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
    """Step 7."""
    review = review_of(services)
    session_id = services.wizard.session_id() or ""
    chat = chat_view(services, session_id=session_id, form={}, keep=f"test:{session_id}")
    return wizard_views.TestStep(frame(services, "test", review), chat)
