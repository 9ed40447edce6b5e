"""The context of a side-by-side chat, and complete answers for pages without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.config import parse
from core.data.prompts import system_prompt
from core.errors import InvalidConfig, InvalidInput, NotFound, TunesmithError
from core.job import JobState
from core.model import DEMO_MODEL
from pages.models.playground import (
    MOST_SIDES,
    SETTINGS,
    ChatSide,
    ChatView,
    ModelGroup,
    Setting,
    model_groups,
    other_of,
    title_of,
)
from services.container import Services
from services.models.models import RANGES, Chat
from services.words import num

NEWEST = 20
"""Number of models whose training system prompt is looked up."""


def chat_view(
    services: Services,
    *,
    session_id: str = "",
    models: Sequence[str] = (),
    form: Mapping[str, str],
    keep: str = "playground",
) -> ChatView:
    """The sides, the models to choose from, and each one's training system prompt.

    Args:
        session_id: The run whose original and trained model are compared; the newest one without it.
        models: The initial models, overriding ``session_id``: a single one gets its base beside it.
        form: A submitted form to answer.
        keep: The name under which the browser stores this page's conversations.
    """
    trained = services.models.trained()
    best = sorted(trained, key=lambda item: item.status != JobState.COMPLETED)
    run = next((item for item in best if session_id in {"", item.session_id}), None)
    started = _sides(services, models, run.base if run else DEMO_MODEL, run.model_path if run else "")
    chosen = _sent(form) or started
    groups = model_groups(services)
    sides = tuple(
        ChatSide(str(place + 1), model, title_of(groups, model), other_of(groups, model))
        for place, model in enumerate(chosen)
    )
    prompts = _system_prompts(services, groups)
    return ChatView(
        sides=tuple(_answered(services, side, form) for side in sides) if form.get("prompt") else sides,
        groups=groups,
        trained=run is not None,
        hint="" if trained else "You have no trained models yet, so start with the built-in model.",
        prompt=form.get("prompt", ""),
        settings=tuple(replace(setting, value=form.get(setting.name, setting.value)) for setting in SETTINGS),
        system_prompt=form.get("system_prompt", next((prompts[name] for name in chosen[::-1] if name in prompts), "")),
        data={"system_prompts": prompts, "keep": keep, "asked": bool(models or session_id), "titles": _titles(groups)},
    )


def _sides(services: Services, models: Sequence[str], base: str, trained: str) -> tuple[str, ...]:
    named = [name for name in models if name][:MOST_SIDES]
    if len(named) > 1:
        return tuple(named)
    if named:
        return (_base_of(services, named[0]) or base, named[0])
    return (base, trained or base)


def _sent(form: Mapping[str, str]) -> tuple[str, ...]:
    """The sides of a form: a typed model overrides the one in the list."""
    keys = [str(key + 1) for key in range(MOST_SIDES)]
    chosen = (form.get(f"other_{key}", "").strip() or form.get(f"model_{key}", "") for key in keys)
    return tuple(name for name in chosen if name and name != "other")


def _base_of(services: Services, model_path: str) -> str:
    """The base model of a run, a checkpoint or an export, or '' for other models."""
    kind, _, rest = model_path.partition(":")
    session_id = rest.partition("@")[0]
    if kind == "export":
        export_id = rest.partition("/")[0]
        session_id = next((item.session_id for item in services.exports.list() if item.export_id == export_id), "")
    return next((item.base for item in services.models.trained() if item.session_id == session_id), "")


def training_prompt(services: Services, model_path: str) -> str:
    """A run's training system prompt, also for its checkpoints and exports; '' for other models.

    Raises:
        NotFound: There is no such run or export.
    """
    kind, _, rest = model_path.partition(":")
    job_id = rest.replace("@", "/").partition("/")[0]
    if kind == "export":
        job_id = services.exports.get(job_id).session_id
    if kind not in {"session", "export"} or not job_id:
        return ""
    try:
        return system_prompt(parse(services.runs.config(job_id)).dataset)
    except (InvalidConfig, NotFound):  # an export may outlive its run
        if kind == "session":
            raise
        return ""


def _system_prompts(services: Services, groups: tuple[ModelGroup, ...]) -> dict[str, str]:
    """Training system prompts of the newest trained models, by reference."""
    told: dict[str, str] = {}
    for item in services.models.trained()[:NEWEST]:
        try:
            told[item.session_id] = system_prompt(parse(services.runs.config(item.session_id)).dataset)
        except InvalidConfig:
            continue
    exported = {item.export_id: item.session_id for item in services.exports.list()}
    known = {}
    for option in (option for group in groups for option in group.options):
        kind, _, rest = option.value.partition(":")
        session_id = exported.get(rest.partition("/")[0], "") if kind == "export" else rest.partition("@")[0]
        if kind in {"session", "export"} and session_id in told:
            known[option.value] = told[session_id]
    return known


def _titles(groups: tuple[ModelGroup, ...]) -> dict[str, str]:
    return {option.value: option.title for group in groups for option in group.options}


def _answered(services: Services, side: ChatSide, form: Mapping[str, str]) -> ChatSide:
    turn = {"role": "user", "content": form["prompt"]}
    try:
        answer = services.models.test(_request(side.model, form))
    except TunesmithError as error:
        return replace(side, turns=(turn,), problem=error.message)
    speed = answer["tokens"] / answer["seconds"] if answer["seconds"] else None
    return replace(
        side,
        turns=(turn, {"role": "assistant", "content": answer["response"]}),
        facts=f"{answer['tokens']} tokens in {num(answer['seconds'])} s, {num(speed)} tokens per second",
        seen=str(answer["prompt"] or ""),
    )


def _request(model: str, form: Mapping[str, str]) -> Chat:
    system = form.get("system_prompt", "")
    messages = (
        *(({"role": "system", "content": system},) if system.strip() else ()),
        {"role": "user", "content": form["prompt"]},
    )
    given = {setting.name: _number_of(setting, form[setting.name]) for setting in SETTINGS if form.get(setting.name)}
    return Chat(model, messages, **given)  # type: ignore[arg-type]


def _number_of(setting: Setting, text: str) -> float:
    try:
        return int(text) if setting.whole else float(text)
    except ValueError:
        low, high = next((low, high) for name, low, high in RANGES if name == setting.name)
        words = f"{setting.title}: enter a {'whole ' if setting.whole else ''}number from {low:g} to {high:.10g}."
        raise InvalidInput(words, field=setting.name) from None
