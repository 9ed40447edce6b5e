"""The context of the playground and the page that serves a model."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from core.export import ExportFormat
from core.job_dir import JobDir
from core.model import DEMO_MODEL
from services.container import Services
from services.words import when

MOST_SIDES = 4
MOST_RUNS = 10
"""Runs whose single checkpoints are offered, others can be typed by hand; and whose outcome is said."""


@dataclass(frozen=True)
class ModelOption:
    """A model for chats."""

    value: str
    title: str


@dataclass(frozen=True)
class ModelGroup:
    """Models of one kind."""

    title: str
    options: tuple[ModelOption, ...]


@dataclass(frozen=True)
class ChatSide:
    """One of the models side by side; ``turns``, ``facts`` and ``seen`` only for a submitted form.

    Attributes:
        key: 1 to 4.
        model: Its reference.
        called: Its full title in the list; empty if it is typed.
        other: The same if it is not in the list, else empty.
    """

    key: str
    model: str
    called: str = ""
    other: str = ""
    turns: tuple[dict[str, str], ...] = ()
    facts: str = ""
    seen: str = ""
    problem: str = ""

    @property
    def title(self) -> str:
        return f"Model {string.ascii_uppercase[int(self.key) - 1]}"


@dataclass(frozen=True)
class Setting:
    """One sampling setting of the form."""

    name: str
    title: str
    hint: str
    value: str
    whole: bool = False

    @property
    def id(self) -> str:
        return f"chat-{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class ChatView:
    """Two to four models side by side.

    Attributes:
        groups: The models to choose from.
        trained: Whether there is a trained one.
        settings: The sampling settings, in order.
        data: For the page's script.
    """

    sides: tuple[ChatSide, ...]
    groups: tuple[ModelGroup, ...]
    trained: bool
    hint: str
    prompt: str
    settings: tuple[Setting, ...]
    system_prompt: str
    data: dict[str, Any]

    @property
    def blank(self) -> ChatSide:
        """The initial state of another side."""
        return replace(self.sides[0], turns=(), facts="", seen="", problem="")

    @property
    def settings_line(self) -> str:
        told = "with a system prompt" if self.system_prompt.strip() else "without a system prompt"
        set_to = {setting.name: setting.value for setting in self.settings}
        return f"Temperature {set_to['temperature']} · up to {set_to['max_tokens']} tokens · {told}"


@dataclass(frozen=True)
class PlaygroundPage:
    """Any two to four models."""

    chat: ChatView


SETTINGS = (
    Setting("temperature", "Temperature", "0 always picks the most likely token. Higher values are more varied.", "0"),
    Setting("max_tokens", "Maximum length", "In tokens, about three quarters of a word each.", "128", whole=True),
    Setting("top_p", "Top-p", "Samples from the most likely tokens up to this total probability. 1 is off.", "1"),
    Setting("top_k", "Top-k", "Samples from this many of the most likely tokens. 0 is off.", "0", whole=True),
    Setting("min_p", "Min-p", "Drops tokens below this share of the top probability. 0 is off; 0.05 is typical.", "0"),
    Setting("repetition_penalty", "Repetition penalty", "Above 1, repeating is less likely. 1 is off.", "1"),
    Setting("seed", "Seed", "A whole number for repeatable answers. Default: random.", "", whole=True),
)


def model_groups(services: Services) -> tuple[ModelGroup, ...]:
    """Every model for chats, by kind; empty groups are left out."""
    groups = (
        ModelGroup("Base models", tuple(_bases(services))),
        ModelGroup("Trained here", tuple(_trained(services))),
        ModelGroup("Checkpoints", tuple(_checkpoints(services))),
        ModelGroup("Exports", tuple(_exports(services))),
    )
    return tuple(group for group in groups if group.options)


def title_of(groups: tuple[ModelGroup, ...], model: str) -> str:
    """A model's title in the list, or its reference."""
    return next((option.title for group in groups for option in group.options if option.value == model), model)


def other_of(groups: tuple[ModelGroup, ...], model: str) -> str:
    """The reference itself if no group has it."""
    offered = any(model == option.value for group in groups for option in group.options)
    return "" if offered else model


def _bases(services: Services) -> Iterator[ModelOption]:
    titles = {item.info.name: item.info.title for item in services.models.families()}
    for name in dict.fromkeys([DEMO_MODEL, *(item.base for item in services.models.trained())]):
        yield ModelOption(name, titles.get(name, name))


def _trained(services: Services) -> Iterator[ModelOption]:
    briefs = {run.session_id: services.runs.verdict(run).brief for run in services.runs.list()[:MOST_RUNS]}
    for item in services.models.trained():
        ended = item.status in {"completed", "stopped", "failed", "crashed"}
        step = f"step {item.step}" if ended else f"still training, latest checkpoint (now at step {item.step})"
        yield ModelOption(
            item.model_path, joined(item.title, step, briefs.get(item.session_id), made(item.title, item.created_at))
        )


def _checkpoints(services: Services) -> Iterator[ModelOption]:
    for item in services.models.trained()[:MOST_RUNS]:
        for path in reversed(JobDir(services.settings.home.outputs / item.session_id).numbered()):
            step = f"step {path.name.rpartition('-')[2]}"
            reference = f"{item.model_path}@{path.name.rpartition('-')[2]}"
            yield ModelOption(reference, joined(item.title, step, made(item.title, item.created_at)))


def _exports(services: Services) -> Iterator[ModelOption]:
    titles = services.runs.titles()
    for item in services.exports.list():
        if item.job.status != "completed":
            continue
        name = titles.get(item.session_id) or item.job.name or "Export"
        day = f"exported {plain_when(item.job.created_at)}"
        if item.format == ExportFormat.GGUF:
            for file in item.files:
                if file["name"].endswith(".gguf"):
                    kind = file.get("file_type") or file["name"]
                    yield ModelOption(f"export:{item.export_id}/{file['name']}", joined(name, f"GGUF {kind}", day))
        elif item.format in {ExportFormat.MERGED, ExportFormat.ADAPTER}:
            what = "merged model" if item.format == ExportFormat.MERGED else "adapter on its base model"
            yield ModelOption(f"export:{item.export_id}", joined(name, what, day))


def joined(*parts: str | None) -> str:
    """'Sums · step 40 · Jan 1, 2026'; empty parts are left out."""
    return " · ".join(part for part in parts if part)


def made(title: str, moment: str) -> str:
    """When a run was created, unless its title says so, as for runs with the same name."""
    said = plain_when(moment)
    return "" if said and said in title else said


def plain_when(moment: str) -> str:
    """A time as on pages, without markup, for lists."""
    return when(moment).striptags()
