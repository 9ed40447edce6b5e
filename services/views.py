"""What each page is given: one frozen dataclass a page, its fields the template's variables.

A test holds every template to the fields of its class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.dataset import UploadInfo
from services.forms import FieldGroup, FormField
from services.run_view import RunView
from services.verdict import Verdict
from services.wizard import StepInfo


@dataclass(frozen=True)
class NavItem:
    title: str
    url: str
    icon: str
    current: bool = False
    apart: bool = False


@dataclass(frozen=True)
class Gauge:
    """A reading in the top bar; ``key`` is its name in ``system_update``."""

    key: str
    label: str
    value: str
    title: str


@dataclass(frozen=True)
class Shell:
    """The frame around every page. Without ``nav`` only the name is shown, as before a login."""

    theme: str = ""
    next_theme: str = "light"
    path: str = "/"
    nav: tuple[NavItem, ...] = ()
    gauges: tuple[Gauge, ...] = ()
    active: RunView | None = None
    job: RunView | None = None
    log: str = ""
    palette: tuple[dict[str, str], ...] = ()
    polling: bool = False
    """A live page that fetches itself: words for the next page stay for the next page."""


@dataclass(frozen=True)
class Line:
    title: str
    value: str


@dataclass(frozen=True)
class Card:
    title: str
    text: str
    url: str
    action: str


@dataclass(frozen=True)
class PhaseView:
    """A phase of a run or of the demo; ``state`` is ``past``, ``now``, ``ahead`` or ``off``."""

    title: str
    text: str = ""
    state: str = ""
    word: str = ""


@dataclass(frozen=True)
class Demo:
    """The shipped demo. ``ready`` is whether its model is on this machine."""

    ready: bool
    words: str
    phases: tuple[PhaseView, ...]


@dataclass(frozen=True)
class HomePage:
    first_time: bool
    demo: Demo | None
    device: str
    runs: tuple[RunView, ...]
    sparks: dict[str, str]
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class HelpPage:
    """The glossary is in every template's reach."""


@dataclass(frozen=True)
class Place:
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
    """What the seven steps share. ``broad`` pages take the whole width and show no summary."""

    step: StepInfo
    steps: tuple[StepLink, ...]
    summary: tuple[Line, ...]
    previous: Place | None
    following: Place | None
    broad: bool = False


@dataclass(frozen=True)
class ModelChoice:
    name: str
    title: str
    note: str
    memory: str
    fits: bool
    gated: bool
    local: bool


@dataclass(frozen=True)
class Family:
    title: str
    models: tuple[ModelChoice, ...]


@dataclass(frozen=True)
class ModelStep:
    frame: Frame
    checks: str
    device: str
    families: tuple[Family, ...]
    chosen: str
    other: bool
    name: FormField
    revision: FormField
    setup: str
    setups: tuple[tuple[str, str, str], ...]
    custom: tuple[FormField, ...]
    advanced: tuple[FormField, ...]


@dataclass(frozen=True)
class Guess:
    """The detected mapping; ``differs`` where the draft has another."""

    level: str
    percent: str
    why: str
    instruction: str
    response: str
    differs: bool


@dataclass(frozen=True)
class Preview:
    rows: list[dict[str, Any]]
    columns: list[str]
    total: int | None


@dataclass(frozen=True)
class PromptView:
    text: str
    words: str


@dataclass(frozen=True)
class DatasetStep:
    frame: Frame
    kinds: tuple[tuple[str, str, str], ...]
    kind: str
    uploads: tuple[UploadInfo, ...]
    source: FormField
    source_hub: FormField
    generated: tuple[FormField, ...]
    hub: tuple[FormField, ...]
    mapping: tuple[FormField, ...]
    guess: Guess | None
    prompt_fields: tuple[FormField, ...]
    prompt_values: str
    preview: Preview | None
    preview_problem: str
    preview_hint: str
    prompts: tuple[PromptView, ...]
    prompts_problem: str


@dataclass(frozen=True)
class ConfigurationStep:
    frame: Frame
    checks: str
    problems: int
    groups: tuple[FieldGroup, ...]
    per_step: str


@dataclass(frozen=True)
class ParamView:
    name: str
    title: str
    description: str
    value: str
    choices: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PartView:
    """A reward that can be a part of one's own combination."""

    name: str
    title: str
    description: str
    verifies: bool
    used: bool
    weight: str
    params: tuple[ParamView, ...]


@dataclass(frozen=True)
class PresetView:
    name: str
    title: str
    description: str
    verifies: bool


@dataclass(frozen=True)
class ScoredPart:
    title: str
    score: float
    weight: float
    why: str


@dataclass(frozen=True)
class Trial:
    """The reward tried on one row. ``total`` is None until something was scored."""

    row: dict[str, Any] | None
    index: int
    completion: str
    samples: tuple[tuple[str, str], ...]
    hint: str
    problem: str = ""
    total: float | None = None
    best: float = 0.0
    parts: tuple[ScoredPart, ...] = ()


@dataclass(frozen=True)
class RewardStep:
    frame: Frame
    problems: tuple[str, ...]
    type: str
    preset_name: str
    presets: tuple[PresetView, ...]
    parts: tuple[PartView, ...]
    trial: Trial


@dataclass(frozen=True)
class Missing:
    title: str
    url: str
    words: str


@dataclass(frozen=True)
class Tile:
    key: str
    title: str
    value: str
    unit: str
    hint: str


@dataclass(frozen=True)
class Column:
    key: str
    title: str


@dataclass(frozen=True)
class Piece:
    """A stretch of an answer; ``found`` where it is the reference."""

    text: str
    found: bool


@dataclass(frozen=True)
class AnswerView:
    pieces: tuple[Piece, ...]
    tokens: int
    cut_off: bool
    total: float
    advantage: float | None
    components: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class GroupView:
    instruction: str
    reference: str
    prompt: str
    answers: tuple[AnswerView, ...]


@dataclass(frozen=True)
class AnswersView:
    """The answers of one step; ``place`` is the step's index in ``steps``."""

    phase: str
    steps: tuple[int, ...]
    step: int
    place: int
    special: bool
    groups: tuple[GroupView, ...]
    total: int


@dataclass(frozen=True)
class RunBoard:
    """Everything of a run's page that is drawn on the server."""

    view: RunView
    path: str
    verdict: Verdict
    doing: str
    phase_word: str
    speed: str
    left: str
    phases: tuple[PhaseView, ...]
    can_stop: bool
    has_adapter: bool
    finished: bool
    tiles: tuple[Tile, ...]
    columns: tuple[Column, ...]
    table: tuple[dict[str, Any], ...]
    answers: AnswersView
    log: str
    config_line: str
    config_text: str
    data: dict[str, Any]


@dataclass(frozen=True)
class RunPage:
    run: RunBoard


@dataclass(frozen=True)
class TrainStep:
    frame: Frame
    run: RunBoard | None
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    plan: str
    name: str
    suggested_name: str


@dataclass(frozen=True)
class RunsPage:
    runs: tuple[RunView, ...]
    sparks: dict[str, str]
    total: int
    q: str
    state: str
    states: tuple[tuple[str, str], ...]
    page: int
    pages: int


@dataclass(frozen=True)
class FormatChoice:
    value: str
    title: str
    text: str
    chosen: bool


@dataclass(frozen=True)
class ExportLine:
    export_id: str
    title: str
    detail: str
    status: str
    active: bool
    step: int
    max_steps: int
    created_at: str


@dataclass(frozen=True)
class ExportStep:
    frame: Frame
    run: RunView | None
    run_choices: tuple[RunView, ...]
    session_id: str
    formats: tuple[FormatChoice, ...]
    exports: tuple[ExportLine, ...]


@dataclass(frozen=True)
class ExportsPage:
    run_choices: tuple[RunView, ...]
    session_id: str
    formats: tuple[FormatChoice, ...]
    exports: tuple[ExportLine, ...]


@dataclass(frozen=True)
class Command:
    title: str
    text: str


@dataclass(frozen=True)
class ExportDetail:
    export_id: str
    session_id: str
    run_name: str
    title: str
    status: str
    active: bool
    step: int
    max_steps: int
    message: str
    error: str
    created_at: str
    files: tuple[dict[str, Any], ...]
    commands: tuple[Command, ...]
    modelfile: str
    log: str
    talk: str

    def download(self, name: str) -> str:
        """The file's address."""
        return f"/api/exports/{self.export_id}/download/{name}"


@dataclass(frozen=True)
class ExportPage:
    export: ExportDetail


@dataclass(frozen=True)
class ModelOption:
    value: str
    title: str


@dataclass(frozen=True)
class ChatSide:
    key: str
    title: str
    model: str
    choices: tuple[ModelOption, ...]
    turns: tuple[dict[str, str], ...] = ()
    facts: str = ""
    problem: str = ""


@dataclass(frozen=True)
class ChatView:
    sides: tuple[ChatSide, ...]
    trained: bool
    hint: str
    prompt: str
    temperature: str
    max_tokens: str
    top_p: str
    system_prompt: str
    data: dict[str, Any]

    @property
    def settings_line(self) -> str:
        told = "with a system prompt" if self.system_prompt.strip() else "without a system prompt"
        return f"Variety: {self.temperature} · longest answer: {self.max_tokens} tokens · top-p: {self.top_p} · {told}"


@dataclass(frozen=True)
class PlaygroundPage:
    chat: ChatView


@dataclass(frozen=True)
class TestStep:
    frame: Frame
    chat: ChatView


@dataclass(frozen=True)
class DatasetsPage:
    uploads: tuple[UploadInfo, ...]


@dataclass(frozen=True)
class DatasetPage:
    info: UploadInfo
    rows: list[dict[str, Any]]
    problem: str


@dataclass(frozen=True)
class ConfigLine:
    name: str
    detail: str


@dataclass(frozen=True)
class ConfigsPage:
    configs: tuple[ConfigLine, ...]
    presets: tuple[ConfigLine, ...]
    draft_name: str


@dataclass(frozen=True)
class SettingsSection:
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class SettingsPage:
    sections: tuple[SettingsSection, ...]
