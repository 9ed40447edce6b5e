"""The context of a chat side by side, and a whole answer for those without scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from core.config import parse
from core.data.prompts import system_prompt
from core.errors import InvalidConfig, InvalidInput, TunesmithError
from core.export import ExportFormat
from core.model import DEMO_MODEL
from core.run import JobState
from services.container import Services
from services.models import Chat
from services.views import ChatSide, ChatView, ModelOption
from services.words import num


def chat_view(found: Services, *, session_id: str = "", model: str = "", form: Mapping[str, str]) -> ChatView:
    """Both sides, the models to choose from, and what each was told when it was trained.

    Args:
        session_id: The run whose original and trained model are compared; the newest one without it.
        model: What the right side starts with, over ``session_id``.
        form: A form that was sent, for the answers to it.
    """
    trained = found.models.trained()
    best = sorted(trained, key=lambda item: item.status != JobState.COMPLETED)
    run = next((item for item in best if session_id in {"", item.session_id}), None)
    options = _options(found)
    values = {option.value for option in options}
    base = (run.base if run else DEMO_MODEL) if not model.startswith("export:") else _base_of(found, model)
    if base not in values:
        options = (ModelOption(base, base), *options)
    left, right = (
        form.get("model_base") or base,
        form.get("model_trained") or model or (run.model_path if run else base),
    )
    sides = (ChatSide("base", "Original", left, options), ChatSide("trained", "Trained", right, options))
    prompts = _system_prompts(found)
    return ChatView(
        sides=tuple(_answered(found, side, form) for side in sides) if form.get("prompt") else sides,
        trained=run is not None,
        hint="" if trained else "Nothing is trained yet; the built-in model is there to talk to.",
        prompt=form.get("prompt", ""),
        temperature=form.get("temperature", "0"),
        max_tokens=form.get("max_tokens", "128"),
        top_p=form.get("top_p", "1"),
        system_prompt=form.get("system_prompt", prompts.get(right, "")),
        data={"system_prompts": prompts},
    )


def _options(found: Services) -> tuple[ModelOption, ...]:
    trained = [
        ModelOption(item.model_path, f"{item.name}, trained ({item.created_at[:10]})")
        for item in found.models.trained()
    ]
    files = [
        ModelOption(item.model_path, f"{item.name}, GGUF {(item.quantization or '').upper()} ({item.created_at[:10]})")
        for item in found.exports.list()
        if item.model_path
    ]
    bases = dict.fromkeys([DEMO_MODEL, *(item.base for item in found.models.trained())])
    titles = {item.info.name: item.info.title for item in found.models.families()}
    return (*(ModelOption(name, titles.get(name, name)) for name in bases), *trained, *files)


def _base_of(found: Services, model_path: str) -> str:
    export_id = model_path.removeprefix("export:").partition("/")[0]
    session_id = next((item.session_id for item in found.exports.list() if item.export_id == export_id), "")
    return next((item.base for item in found.models.trained() if item.session_id == session_id), DEMO_MODEL)


def _system_prompts(found: Services) -> dict[str, str]:
    """What each trained model was told in training, by its reference; at most the 20 newest."""
    known: dict[str, str] = {}
    for item in found.models.trained()[:20]:
        try:
            known[item.model_path] = system_prompt(parse(found.runs.get(item.session_id).config).dataset)
        except InvalidConfig:
            continue
    for export in found.exports.list()[:20]:
        told = known.get(f"session:{export.session_id}")
        if export.model_path and export.format == ExportFormat.GGUF and told is not None:
            known[export.model_path] = told
    return known


def _answered(found: Services, side: ChatSide, form: Mapping[str, str]) -> ChatSide:
    turn = {"role": "user", "content": form["prompt"]}
    try:
        answer = found.models.test(_request(side.model, form))
    except TunesmithError as error:
        return replace(side, turns=(turn,), problem=error.message)
    return replace(
        side,
        turns=(turn, {"role": "assistant", "content": answer["response"]}),
        facts=f"{answer['tokens']} tokens in {num(answer['seconds'])} s",
    )


def _request(model: str, form: Mapping[str, str]) -> Chat:
    system = form.get("system_prompt", "")
    messages = (
        *(({"role": "system", "content": system},) if system.strip() else ()),
        {"role": "user", "content": form["prompt"]},
    )
    try:
        return Chat(
            model,
            messages,
            float(form.get("temperature", 0)),
            int(form.get("max_tokens", 128)),
            float(form.get("top_p", 1)),
        )
    except ValueError:
        raise InvalidInput("Variety, longest answer and top-p are numbers.", field="temperature") from None
