"""The draft during one request: read and reviewed once.

Pages and actions need the same information several times: whether the draft is ready, which run was started from it,
the result of its probe. :class:`Snapshot` computes each on first use, all from the same draft.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import core.rewards
from core.config import DatasetSection, RunConfig, parse
from core.data.arithmetic import SOURCE as SUMS
from core.dataset import Shape
from core.errors import InvalidConfig, TunesmithError
from core.methods import Method, Need, method
from core.model import DEMO_MODEL
from core.pace import Tokens
from core.probe import proposal
from core.readiness import Fix, Problem, Readiness, Severity, ordered
from core.settings import Home
from services.datasets.datasets import Datasets
from services.forms.fields import field_title, shown
from services.forms.labels import in_words
from services.models.models import Models
from services.probes.probes import Probes, ProbeView, fingerprint
from services.runs.preflight import Preflight
from services.runs.runs import Runs
from services.runs.speeds import Estimate, Speeds
from services.runs.view import RunView
from services.wizard.draft import Draft, config_of, same_choices
from services.wizard.steps import STEP, StepInfo, step_of
from services.wizard.wizard import Wizard

LEVELS = {Severity.BLOCKS: "problem", Severity.WARNS: "watch", Severity.NOTE: "note-text"}
"""Level of a severity next to a field."""
NOT_CHOSEN = {
    "model": Problem(Severity.BLOCKS, "model.name", "Choose a model."),
    "dataset": Problem(Severity.BLOCKS, "dataset.source", "Choose a dataset."),
    "reward": Problem(Severity.BLOCKS, "reward", "Choose a reward."),
}
"""By step, the message if nothing was chosen."""
_LIMIT = re.compile(
    r"must be (?:(a (?:whole |finite )?number)|((?:at least|at most|greater than|less than) [-\d.]+)) \(it is .*\)",
    re.DOTALL,
)
"""Messages for values that are not numbers or out of range; the field shows the value."""
STAND_INS: Mapping[str, Mapping[str, Any]] = {
    "model": {"name": DEMO_MODEL},
    "dataset": {"source": SUMS},
    "reward": {"type": "preset", "preset_name": "math"},
}
"""Placeholders for missing choices, so that the rest of the draft can be reviewed."""
SHAPED: Mapping[Shape, Mapping[str, Any]] = {
    Shape.EXAMPLES: {},
    Shape.PAIRS: {"chosen_field": "answer", "rejected_field": "question"},
    Shape.RATINGS: {"label_field": "question"},
}
"""Columns of the placeholder for a dataset, by what the method learns from."""


@dataclass(frozen=True)
class Review:
    """Whether a draft is ready to start.

    Attributes:
        config: The whole configuration if every choice was made and is readable, else None.
        unseen: Steps without a choice that were not visited either: nothing is wrong there yet.
        readiness: Everything that prevents or argues against a start, most severe first.
    """

    config: RunConfig | None
    unseen: frozenset[str]
    readiness: Readiness

    @property
    def missing(self) -> frozenset[str]:
        """Steps that keep the run from starting, by key."""
        return frozenset(step_of(problem.field).key for problem in self.readiness.of(Severity.BLOCKS))

    @property
    def remarks(self) -> dict[str, tuple[str, str]]:
        """By field path: level and words, for the message beside the field. The worst of several is shown."""
        found: dict[str, tuple[str, str]] = {}
        for problem in self.readiness.problems:
            if step_of(problem.field).key not in self.unseen:
                found.setdefault(problem.field, (LEVELS[problem.severity], in_words(problem.message)))
        return found

    def of(self, step: StepInfo) -> list[Problem]:
        """The problems of a step, without notes."""
        return [p for p in self.readiness.problems if p.severity is not Severity.NOTE and step_of(p.field) is step]


@dataclass(frozen=True)
class StartedRun:
    """The run that was started from the draft.

    Attributes:
        run: The run, if the Start step shows it.
        before: The run, if the choices have changed since its start.
    """

    run: RunView | None = None
    before: RunView | None = None


@dataclass(frozen=True)
class Snapshots:
    """Takes snapshots of the draft, with what is needed to review them."""

    home: Home
    wizard: Wizard
    models: Models
    datasets: Datasets
    preflight: Preflight
    probes: Probes
    runs: Runs
    speeds: Speeds

    def take(self, *, quick: bool = True) -> Snapshot:
        """The current draft.

        Args:
            quick: Whether the review skips what may take seconds: a reward that needs a sandbox or rows that
                must be generated is only tested if the result is cached. Never set for the page before a start.
        """
        return self.of(self.wizard.draft(), quick=quick)

    def of(self, draft: Draft, *, quick: bool = True) -> Snapshot:
        """A snapshot of a draft that was already read."""
        return Snapshot(draft, self, quick)


class Snapshot:
    """One draft and what follows from it. Immutable: a request that changes the draft takes another.

    Args:
        draft: The draft.
        sources: Provides everything else.
        quick: See :meth:`Snapshots.take`.
    """

    def __init__(self, draft: Draft, sources: Snapshots, quick: bool) -> None:
        self.draft = draft
        self._sources = sources
        self._quick = quick

    @cached_property
    def config(self) -> dict[str, Any]:
        """The draft as a configuration, valid or not."""
        return config_of(self.draft, self._sources.home)

    @cached_property
    def review(self) -> Review:
        """Problems in the draft itself, then those that depend on this machine."""
        unset, (standing, wrong) = self._unset, self._parsed
        unseen = frozenset(step for step in unset if not self.draft.page(step).get("visited"))
        problems = [NOT_CHOSEN[step] for step in STEP if step in unset] + wrong
        config = None if unset else standing
        problems += self._not_there(unset, problems)
        if standing:
            lost = frozenset(p.field.partition(".")[0] for p in problems if p.severity is Severity.BLOCKS)
            problems += self._sources.preflight.look(standing, quick=self._quick, without=lost).problems
            problems += self._probed(config)
        return Review(config, unseen, ordered(problems))

    @cached_property
    def _unset(self) -> frozenset[str]:
        """Steps without a choice."""
        draft = self.draft
        chosen: dict[str, object] = {
            "model": draft.model.values.get("name"),
            "dataset": draft.dataset.values.get("source"),
        }
        if Need.REWARD in draft.chosen_method.needs:
            chosen["reward"] = draft.reward.values
        return frozenset(step for step, value in chosen.items() if not value)

    @cached_property
    def _parsed(self) -> tuple[RunConfig | None, list[Problem]]:
        """The configuration with placeholders for missing choices, or its problems."""
        try:
            standing = parse(_completed(self.config, self._unset, self.draft.chosen_method))
            core.rewards.resolve(standing.reward)
        except InvalidConfig as error:
            return None, [Problem(Severity.BLOCKS, path, _sentence(words)) for path, words in error.problems]
        return standing, []

    @property
    def standing(self) -> RunConfig | None:
        """The configuration with placeholders for missing choices; None if it cannot be read."""
        return self._parsed[0]

    @property
    def packs(self) -> bool:
        """Whether several rows share a sequence; False if the configuration cannot be read."""
        return self.standing is not None and method(self.standing.method).packs(self.standing)

    @property
    def data(self) -> tuple[int | None, tuple[int, int] | None] | None:
        """Rows of the dataset and the lengths that fit them; None if the configuration cannot be read."""
        standing, _ = self._parsed
        return self._sources.preflight.known(standing, self._unset) if standing else None

    @cached_property
    def time(self) -> Estimate | None:
        """Estimated duration of the run on this machine."""
        return self.estimate({})

    def estimate(self, values: Mapping[str, Any]) -> Estimate | None:
        """Estimated duration with these fields, by path; None if unknown or a choice is missing."""
        if {"model", "dataset"} & self._unset:
            return None
        config = _completed(self.config, self._unset, self.draft.chosen_method)
        for path, value in values.items():
            section, _, name = path.partition(".")
            config = {**config, section: {**config.get(section, {}), name: value}}
        try:
            wanted = parse(config)
        except InvalidConfig:
            return None
        rows, speeds = self.draft.page("configuration").get("rows"), self._sources.speeds
        packs = method(wanted.method).packs(wanted)
        known = speeds.estimate(wanted, rows, self._checked, self._tokens if packs else None)
        return known or (speeds.rough(wanted, rows, self._tokens) if self._tokens else None)

    @cached_property
    def _tokens(self) -> Tokens | None:
        """Usual lengths of the dataset's rows."""
        standing, _ = self._parsed
        return self._sources.preflight.tokens(standing) if standing else None

    @cached_property
    def _checked(self) -> tuple[RunConfig, dict[str, Any]] | None:
        """The latest probe's configuration and figures; None if it has none or its configuration is damaged."""
        if not self.probe or not self.probe.figures:
            return None
        try:
            return self._sources.probes.config(self.probe.probe_id), self.probe.figures
        except TunesmithError:
            return None

    def _not_there(self, unset: frozenset[str], problems: list[Problem]) -> list[Problem]:
        """Whether the model and the dataset exist, unless something else is wrong with them."""
        found = []
        for key, field, look in (("model", "name", self._find_model), ("dataset", "source", self._find_dataset)):
            if key in unset or any(problem.field.startswith(f"{key}.") for problem in problems):
                continue
            try:
                look()
            except TunesmithError as error:
                path = error.field if error.field and error.field.startswith(f"{key}.") else f"{key}.{field}"
                words = error.problems[0][1] if isinstance(error, InvalidConfig) else error.message
                found.append(Problem(Severity.BLOCKS, path, words))
        return found

    def _find_model(self) -> None:
        self._sources.models.validate(self.draft.model.name)

    def _find_dataset(self) -> None:
        self._sources.datasets.check(DatasetSection.model_validate(self.draft.dataset.json()))

    def _probed(self, config: RunConfig | None) -> list[Problem]:
        """The problems that the latest probe of exactly these choices found."""
        probe = self.probe
        verdict = probe.verdict if probe and config and probe.fingerprint == fingerprint(config) else None
        if not verdict or verdict["outcome"] == "will_learn":
            return []
        words = f"The check before training found: {verdict['title']}. {verdict['reason']} {verdict['advice']}"
        return [Problem(Severity.WARNS, verdict["field"] or "training.max_steps", words)]

    @cached_property
    def probe(self) -> ProbeView | None:
        """The draft's latest probe."""
        kept = self.draft.page("train").get("probe_id")
        try:
            return self._sources.probes.get(str(kept)) if kept else None
        except TunesmithError:
            return None

    def fix_of(self, probe: ProbeView | None) -> Fix | None:
        """The values a probe of this draft advises, if they are not set yet."""
        if not probe or not probe.verdict or probe.probe_id != self.draft.page("train").get("probe_id"):
            return None
        config = self._sources.probes.config(probe.probe_id)
        _, proposed = self._sources.preflight.known(config)
        values = proposal(probe.verdict["outcome"], probe.figures or {}, config, proposed)
        if not values or {path: self.draft.value(path) for path in values} == values:
            return None
        path, value = next(iter(values.items()))
        title = field_title(path)
        words = f"Turn on {title.lower()}" if value is True else f"Set {title.lower()} to {shown(value)}"
        return Fix(f"{words} and check again", values)

    @cached_property
    def runs(self) -> list[RunView]:
        """Every run, newest first."""
        return self._sources.runs.list()

    @cached_property
    def own_run(self) -> RunView | None:
        """The run that was started from the draft; None even if it was deleted."""
        return next((run for run in self.runs if run.session_id == self.draft.session_id), None)

    @cached_property
    def started(self) -> StartedRun:
        """The same, as shown on the Start step.

        After the choices change, the form replaces a run that has ended, but not an active one.
        """
        run = self.own_run
        if run is None or same_choices(self.config, self._sources.runs.config(run.session_id)):
            return StartedRun(run)
        return StartedRun(None if run.job.over else run, run)


def can_be_probed(chosen: Method) -> bool:
    """Whether a probe makes sense with a method: the model writes answers, which are scored."""
    return {Need.REWARD, Need.ROLLOUTS} <= set(chosen.needs)


def preparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A draft's configuration completed so that its dataset can be prepared, even without a model."""
    return {"model": STAND_INS["model"], **config}


def _completed(config: dict[str, Any], unset: frozenset[str], chosen: Method) -> dict[str, Any]:
    """The configuration with placeholders, overridden by the fields that are set."""
    shaped = {"dataset": SHAPED[chosen.shapes[0]]}
    stand_ins = {step: {**STAND_INS[step], **shaped.get(step, {}), **config.get(step, {})} for step in unset}
    return config | stand_ins


def _sentence(words: str) -> str:
    if found := _LIMIT.fullmatch(words):
        return f"Enter {found[1] or f'a value {found[2]}'.replace('value at', 'value of at')}."
    if words == "must not be empty":
        return "This field is required."
    name = "_" in words.split(" ", 1)[0]  # a field's own name keeps its spelling
    return (words if name else words[:1].upper() + words[1:]) + ("" if words.endswith((".", "?")) else ".")
