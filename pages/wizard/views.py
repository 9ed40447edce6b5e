"""What the seven steps are given (see :mod:`pages.parts`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.data.known_datasets import KnownDataset
from core.dataset import Row, UploadInfo
from pages.exports.index import ExportLine, FormatChoice, NumberFormat
from pages.models.playground import ChatView
from pages.parts import Line
from pages.rewards.pages import BeforeStart
from pages.runs.views import RunBoard
from services.datasets.preparation_jobs import Preparing
from services.forms.fields import FieldGroup, FormField
from services.forms.reward_form import PartView
from services.runs.verdict import Verdict
from services.runs.view import RunView
from services.wizard.steps import StepInfo


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
    """What the seven steps share. ``broad`` pages take the whole width and show no summary.

    ``was`` is what the page was made from; its form brings it back, so that another tab's changes are not undone.
    """

    step: StepInfo
    steps: tuple[StepLink, ...]
    summary: tuple[Line, ...]
    was: str
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
    """The detected mapping; ``ask`` what a person is to choose or check; ``differs`` where the draft has another."""

    level: str
    percent: str
    why: str
    ask: str
    instruction: str
    response: str
    differs: bool


@dataclass(frozen=True)
class Preview:
    """The first rows, as they are in the file."""

    rows: list[Row]
    columns: list[str]
    total: int | None


@dataclass(frozen=True)
class PromptView:
    """One prompt to the letter, and a sentence on it.

    A control token inside a message is cut between two parts: it is text, and is not marked.
    """

    parts: tuple[str, ...]
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
    facts: str
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
    fix: str


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

    row: Row | None
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
    problems: tuple[tuple[str, str], ...]
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
class Issue:
    """An entry of the readiness list: where to mend it and, where ``fix`` names one, the button that does.

    ``level`` is ``problem``, ``watch``, ``note-text``, or '' where nothing is wrong yet.
    """

    level: str
    title: str
    url: str
    message: str
    fix: str = ""
    label: str = ""


@dataclass(frozen=True)
class TrainStep:
    """Step 5: the readiness list and the summary before the start, the run after it."""

    frame: Frame
    run: RunBoard | None
    changed: bool
    """Whether the choices differ from those of the run that is shown."""
    before_run: RunView | None
    before_verdict: Verdict | None
    level: str
    verdict: str
    issues: tuple[Issue, ...]
    asks: bool
    name: str
    suggested_name: str
    before: BeforeStart


@dataclass(frozen=True)
class ExportStep:
    """Step 6."""

    frame: Frame
    run: RunView | None
    run_choices: tuple[RunView, ...]
    verdicts: dict[str, Verdict]
    session_id: str
    formats: tuple[FormatChoice, ...]
    more: tuple[FormatChoice, ...]
    numbers: tuple[NumberFormat, ...]
    checkpoints: tuple[int, ...]
    exports: tuple[ExportLine, ...]


@dataclass(frozen=True)
class TestStep:
    """Step 7."""

    frame: Frame
    chat: ChatView
