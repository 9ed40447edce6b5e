"""What the playground and the page that serves a model show."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.export import ExportFormat
from core.job_dir import JobDir
from core.model import DEMO_MODEL
from services.container import Services

MOST_SIDES = 4
MOST_RUNS = 10
"""Runs whose single checkpoints are offered, others can be typed by hand; and whose outcome is said."""


@dataclass(frozen=True)
class ModelOption:
    """A model that can be talked to."""

    value: str
    title: str


@dataclass(frozen=True)
class ModelGroup:
    """Models of one kind."""

    title: str
    options: tuple[ModelOption, ...]


@dataclass(frozen=True)
class ChatSide:
    """One of the models side by side; ``turns``, ``facts`` and ``seen`` only where a form was sent.

    Attributes:
        key: 1 to 4.
        model: Its reference.
        other: The same where it is none of those offered, else empty.
    """

    key: str
    model: str
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
        """What one more side starts with."""
        return ChatSide(self.sides[0].key, self.sides[0].model, self.sides[0].other)

    @property
    def settings_line(self) -> str:
        told = "with a system prompt" if self.system_prompt.strip() else "without a system prompt"
        set_to = {setting.name: setting.value for setting in self.settings}
        return f"Variety: {set_to['temperature']} · longest answer: {set_to['max_tokens']} tokens · {told}"


@dataclass(frozen=True)
class PlaygroundPage:
    """Any two to four models."""

    chat: ChatView


SETTINGS = (
    Setting("temperature", "Variety (temperature)", "0 always takes the likeliest word.", "0"),
    Setting("max_tokens", "Longest answer (max tokens)", "About three quarters of a word each.", "128", whole=True),
    Setting("top_p", "Only the likely words (top-p)", "1 switches it off.", "1"),
    Setting("top_k", "Only so many words (top-k)", "0 switches it off.", "0", whole=True),
    Setting("min_p", "Nothing much less likely (min-p)", "0 switches it off; 0.05 is usual.", "0"),
    Setting("repetition_penalty", "Against repeating (repetition penalty)", "1 switches it off.", "1"),
    Setting("seed", "Same answer again (seed)", "A whole number; empty draws anew each time.", "", whole=True),
)


def model_groups(services: Services) -> tuple[ModelGroup, ...]:
    """Every model of this installation that can be talked to, by kind; empty groups are left out."""
    groups = (
        ModelGroup("Base models", tuple(_bases(services))),
        ModelGroup("Trained here", tuple(_trained(services))),
        ModelGroup("Checkpoints", tuple(_checkpoints(services))),
        ModelGroup("Exports", tuple(_exports(services))),
    )
    return tuple(group for group in groups if group.options)


def other_of(groups: tuple[ModelGroup, ...], model: str) -> str:
    """The reference itself where no group offers it."""
    offered = any(model == option.value for group in groups for option in group.options)
    return "" if offered else model


def _bases(services: Services) -> Iterator[ModelOption]:
    titles = {item.info.name: item.info.title for item in services.models.families()}
    for name in dict.fromkeys([DEMO_MODEL, *(item.base for item in services.models.trained())]):
        yield ModelOption(name, titles.get(name, name))


def _trained(services: Services) -> Iterator[ModelOption]:
    briefs = {run.session_id: services.runs.verdict(run).brief for run in services.runs.list()[:MOST_RUNS]}
    for item in services.models.trained():
        running = item.status not in {"completed", "stopped", "failed", "crashed"}
        what = f"running, as of its latest checkpoint (now step {item.step})" if running else "trained"
        how = briefs.get(item.session_id)
        yield ModelOption(item.model_path, f"{item.title}, {what} ({f'{how}, ' if how else ''}{item.created_at[:10]})")


def _checkpoints(services: Services) -> Iterator[ModelOption]:
    for item in services.models.trained()[:MOST_RUNS]:
        for path in reversed(JobDir(services.settings.home.outputs / item.session_id).numbered()):
            step = path.name.rpartition("-")[2]
            yield ModelOption(f"{item.model_path}@{step}", f"{item.title}, step {step} ({item.created_at[:10]})")


def _exports(services: Services) -> Iterator[ModelOption]:
    titles = services.runs.titles()
    for item in services.exports.list():
        if item.job.status != "completed":
            continue
        name, day = titles.get(item.session_id) or item.job.name or "Export", item.job.created_at[:10]
        if item.format == ExportFormat.GGUF:
            for file in item.files:
                if file["name"].endswith(".gguf"):
                    kind = file.get("file_type") or file["name"]
                    yield ModelOption(f"export:{item.export_id}/{file['name']}", f"{name}, GGUF {kind} ({day})")
        elif item.format in {ExportFormat.MERGED, ExportFormat.ADAPTER}:
            what = "merged" if item.format == ExportFormat.MERGED else "adapter on its base"
            yield ModelOption(f"export:{item.export_id}", f"{name}, {what} ({day})")
