"""What each page is given: one frozen dataclass a page, its fields the template's variables.

A test holds every template to the fields of its class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.data.catalogue import KnownDataset
from core.dataset import UploadInfo
from services.evaluation_views import ReportView
from services.forms import FieldGroup, FormField
from services.playground_pages import ChatView
from services.preparations import Preparing
from services.reward_form import PartView
from services.run_view import RunView
from services.verdict import Verdict
from services.wizard import StepInfo


@dataclass(frozen=True)
class NavItem:
    """An entry of the rail."""

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
class ActiveJob:
    """The job that a worker is at, of whatever kind, for the top bar; ``kind`` is a word such as 'Run'."""

    kind: str
    name: str
    status: str
    step: int
    max_steps: int
    url: str


@dataclass(frozen=True)
class Shell:
    """The frame around every page. Without ``nav`` only the name is shown, as before a login."""

    theme: str = ""
    next_theme: str = "light"
    path: str = "/"
    nav: tuple[NavItem, ...] = ()
    gauges: tuple[Gauge, ...] = ()
    active: ActiveJob | None = None
    job: RunView | None = None
    log: str = ""
    palette: tuple[dict[str, str], ...] = ()
    polling: bool = False
    """A live page that fetches itself: words for the next page stay for the next page."""


@dataclass(frozen=True)
class Line:
    """A title and its value, for lists of facts."""

    title: str
    value: str


@dataclass(frozen=True)
class Card:
    """A suggestion of what to do next."""

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
    """Home: the demo for a first visit, the latest runs afterwards."""

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
    """What the seven steps share. ``broad`` pages take the whole width and show no summary."""

    step: StepInfo
    steps: tuple[StepLink, ...]
    summary: tuple[Line, ...]
    previous: Place | None
    following: Place | None
    broad: bool = False


@dataclass(frozen=True)
class ModelChoice:
    """One size of a family, and whether it fits."""

    name: str
    title: str
    note: str
    memory: str
    fits: bool
    gated: bool
    local: bool


@dataclass(frozen=True)
class Family:
    """The sizes of one family."""

    title: str
    models: tuple[ModelChoice, ...]


@dataclass(frozen=True)
class ModelStep:
    """Step 1."""

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
    """The first rows, as they are in the file."""

    rows: list[dict[str, Any]]
    columns: list[str]
    total: int | None


@dataclass(frozen=True)
class PromptView:
    """One prompt to the letter, and a sentence on it."""

    text: str
    words: str
    answer_starts: bool = False


@dataclass(frozen=True)
class TaskLine:
    """An exercise with what was chosen of it."""

    name: str
    title: str
    chosen: bool
    weight: str
    difficulty: str
    levels: int


@dataclass(frozen=True)
class MixLine:
    """A dataset that can be mixed in; an empty weight leaves it out."""

    source: str
    title: str
    rows: int | None
    weight: str


@dataclass(frozen=True)
class MixPart:
    """A source of a mixture with fields of its own; ``was`` is the part so far, as JSON; no values: one to add."""

    path: str
    title: str
    values: str
    was: str
    fields: tuple[FormField, ...]


@dataclass(frozen=True)
class Choices:
    """What the page offers beside the plain fields."""

    tasks: tuple[tuple[str, tuple[TaskLine, ...]], ...]
    tasks_problem: str
    mix: tuple[MixLine, ...]
    parts: tuple[MixPart, ...]
    known: tuple[tuple[str, tuple[KnownDataset, ...]], ...]
    templates: tuple[str, ...]


@dataclass(frozen=True)
class DatasetStep:
    """Step 2."""

    frame: Frame
    kinds: tuple[tuple[str, str, str], ...]
    kind: str
    uploads: tuple[UploadInfo, ...]
    source: FormField
    source_hub: FormField
    generated: tuple[FormField, ...]
    made: tuple[FormField, ...]
    choices: Choices
    preparation: tuple[FormField, ...]
    preparation_values: str
    checks: str
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
class PreparationStep:
    """What training would make of the dataset chosen in step 2, whatever its source."""

    frame: Frame
    title: str
    values: str
    remote: bool
    report: dict[str, Any] | None
    outdated: bool
    preparing: Preparing | None


@dataclass(frozen=True)
class ConfigurationStep:
    """Step 3."""

    frame: Frame
    checks: str
    problems: int
    groups: tuple[FieldGroup, ...]
    per_step: str


@dataclass(frozen=True)
class PresetView:
    """A ready-made reward."""

    name: str
    title: str
    description: str
    verifies: bool


@dataclass(frozen=True)
class ScoredPart:
    """What one part of the reward gave."""

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
    """Step 4."""

    frame: Frame
    problems: tuple[str, ...]
    type: str
    preset_name: str
    presets: tuple[PresetView, ...]
    parts: tuple[PartView, ...]
    normalise: bool
    clip_low: str
    clip_high: str
    suggestion: str
    trial: Trial


@dataclass(frozen=True)
class Missing:
    """What keeps a run from starting, and where to mend it."""

    title: str
    url: str
    words: str


@dataclass(frozen=True)
class Tile:
    """One figure of the latest step."""

    key: str
    title: str
    value: str
    unit: str
    hint: str


@dataclass(frozen=True)
class Column:
    """A column of the table of metrics."""

    key: str
    title: str


@dataclass(frozen=True)
class Piece:
    """A stretch of an answer; ``found`` where it is the reference."""

    text: str
    found: bool


@dataclass(frozen=True)
class AnswerView:
    """One answer with its score."""

    pieces: tuple[Piece, ...]
    tokens: int
    cut_off: bool
    total: float
    advantage: float | None
    components: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class GroupView:
    """All answers to one question."""

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
    reports: tuple[ReportView, ...]
    log: str
    config_line: str
    config_text: str
    data: dict[str, Any]


@dataclass(frozen=True)
class RunPage:
    """A run's own page."""

    run: RunBoard


@dataclass(frozen=True)
class TrainStep:
    """Step 5: the summary before the start, the run after it."""

    frame: Frame
    run: RunBoard | None
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    plan: str
    name: str
    suggested_name: str
    before: Any


@dataclass(frozen=True)
class RunsPage:
    """The list of runs."""

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
    """One way to take a model away."""

    value: str
    title: str
    text: str
    chosen: bool


@dataclass(frozen=True)
class NumberFormat:
    """One number format of a GGUF; ``matrix``: only with an importance matrix."""

    value: str
    title: str
    matrix: bool


@dataclass(frozen=True)
class ExportLine:
    """An export in a list."""

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
    """Step 6."""

    frame: Frame
    run: RunView | None
    run_choices: tuple[RunView, ...]
    session_id: str
    formats: tuple[FormatChoice, ...]
    more: tuple[FormatChoice, ...]
    numbers: tuple[NumberFormat, ...]
    checkpoints: tuple[int, ...]
    exports: tuple[ExportLine, ...]


@dataclass(frozen=True)
class ExportsPage:
    """The list of exports, and the form that makes one."""

    run_choices: tuple[RunView, ...]
    session_id: str
    formats: tuple[FormatChoice, ...]
    more: tuple[FormatChoice, ...]
    numbers: tuple[NumberFormat, ...]
    checkpoints: tuple[int, ...]
    exports: tuple[ExportLine, ...]


@dataclass(frozen=True)
class Command:
    """A command to copy."""

    title: str
    text: str


@dataclass(frozen=True)
class CheckLine:
    """One comparison with the trained model; ``level`` is a note's."""

    subject: str
    level: str
    verdict: str
    reason: str
    figures: tuple[Line, ...]


@dataclass(frozen=True)
class FileLine:
    """A finished file; ``tensors`` are (pattern of names, what they became)."""

    name: str
    kind: str
    size: int
    sha256: str
    file_type: str
    bits_per_weight: float | None
    tensor_types: dict[str, int]
    tensors: tuple[tuple[str, str], ...]
    check: CheckLine | None


@dataclass(frozen=True)
class ExportDetail:
    """One export with everything on its page."""

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
    notes: tuple[str, ...]
    created_at: str
    made_from: tuple[Line, ...]
    checks: tuple[CheckLine, ...]
    files: tuple[FileLine, ...]
    commands: tuple[Command, ...]
    modelfile: str
    log: str
    talk: str
    evaluate: str

    def download(self, name: str) -> str:
        """The file's address."""
        return f"/api/exports/{self.export_id}/download/{name}"


@dataclass(frozen=True)
class ExportPage:
    """An export's own page."""

    export: ExportDetail


@dataclass(frozen=True)
class TestStep:
    """Step 7."""

    frame: Frame
    chat: ChatView


@dataclass(frozen=True)
class ConfigLine:
    """A configuration in a list."""

    name: str
    detail: str


@dataclass(frozen=True)
class ConfigsPage:
    """Kept configurations and presets."""

    configs: tuple[ConfigLine, ...]
    presets: tuple[ConfigLine, ...]
    draft_name: str


@dataclass(frozen=True)
class SettingsSection:
    """Facts that belong together."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class SettingsPage:
    """The machine, the folders, the versions."""

    sections: tuple[SettingsSection, ...]
