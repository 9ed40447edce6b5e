"""Estimates a run's duration from runs and checks on this machine; before the first one, roughly from its speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.config import RunConfig, parse
from core.errors import InvalidConfig
from core.methods import Need, method
from core.model import Device
from core.pace import Pace, Tokens, comparable, run_seconds, step_seconds, work
from core.rewards import resolve
from core.speed import Speed, rough_seconds
from services.forms.labels import model_title
from services.jobs.database import Database
from services.words import duration, span

RECENT = 20
"""Number of recent runs that are considered."""
FARTHEST = 50
"""A step this many times larger or smaller than all measured ones is not extrapolated."""

SLOW_REWARDS = frozenset({"algorithm", "code", "judge", "python", "reward_model", "semantic"})
"""Run programs or models, or ask a server, for a time that the machine's speed says nothing about."""


@dataclass(frozen=True)
class Estimate:
    """How long a run takes, and the source of the estimate; with ``most``, a range from ``seconds`` to that."""

    seconds: float
    basis: str
    most: float | None = None

    @property
    def words(self) -> str:
        """'about 40 seconds', 'about 12 minutes', 'roughly 10 to 30 minutes': rounded to its accuracy."""
        if self.most is not None:
            return f"roughly {span(self.seconds, self.most)}"
        if 50 <= self.seconds < 90:
            return "about 1 minute"
        return f"about {duration(self.seconds if self.seconds > 90 else max(10, round(self.seconds, -1)))}"


class Speeds:
    """Estimates from measurements on this machine.

    Args:
        database: Has the runs.
        device: The device of a run.
        parameters: A configuration's model in billions of parameters; None if unknown.
        speed: This machine's speed, once measured.
    """

    def __init__(
        self,
        database: Database,
        device: Callable[[], Device],
        parameters: Callable[[RunConfig], float | None],
        speed: Callable[[], Speed | None],
    ) -> None:
        self._database, self._device, self._parameters, self._speed = database, device, parameters, speed
        self._configs: dict[str, RunConfig | None] = {}

    def estimate(
        self,
        config: RunConfig,
        rows: int | None,
        checked: tuple[RunConfig, dict[str, Any]] | None = None,
        tokens: Tokens | None = None,
    ) -> Estimate | None:
        """How long a run takes here; None without comparable measurements.

        Args:
            config: The run's configuration.
            rows: The dataset's row count, if known.
            checked: Configuration and figures of the latest check before training.
            tokens: The dataset's lengths, if known; with packing, a step's rows depend on them.
        """
        parameters = self._parameters(config)
        if parameters is None:
            return None
        if (
            checked
            and _comparable(checked[0], config)
            and _alike(checked[0], config)
            and checked[1].get("seconds_per_step")
        ):
            pace = Pace(checked[0], parameters, checked[1]["seconds_per_step"])
            return self._from(pace, config, parameters, rows, tokens, "Measured by the check before training.")
        paces = [pace for pace in self._paces(config) if comparable(pace.config, config, tokens)]
        same = [pace for pace in paces if _alike(pace.config, config)]
        wanted = work(config, parameters, tokens)

        def apart(pace: Pace) -> float:
            return _ratio(work(pace.config, pace.parameters, tokens), wanted)

        near = min(same or paces, key=apart, default=None)
        if near is None or apart(near) > FARTHEST:
            return None
        words = (
            "Based on earlier runs of this model on this machine."
            if same
            else f"Scaled from a run of {model_title(near.config.model.name)} on this machine."
        )
        return self._from(near, config, parameters, rows, tokens, words)

    def rough(self, config: RunConfig, rows: int | None, tokens: Tokens) -> Estimate | None:
        """How long it takes going by this machine's speed alone, if nothing comparable was measured.

        Args:
            config: Of the run.
            rows: Of the dataset, if known.
            tokens: The dataset's lengths.
        """
        speed, parameters = self._speed(), self._parameters(config)
        if speed is None or parameters is None or self._device().kind != "cpu":
            return None
        if config.model.adapter == "none":
            return None  # The speed was measured with an adapter.
        needs = method(config.method).needs
        if Need.REWARD in needs and any(part.name in SLOW_REWARDS for part in resolve(config.reward)):
            return None
        found = rough_seconds(speed, config, parameters, rows, tokens)
        if found is None:
            return None
        checked = {Need.REWARD, Need.ROLLOUTS} <= set(needs)
        measures = "Check before training" if checked else "Your first run"
        return Estimate(found[0], f"Rough, based on this machine's speed. {measures} measures it.", found[1])

    def _from(
        self, pace: Pace, config: RunConfig, parameters: float, rows: int | None, tokens: Tokens | None, words: str
    ) -> Estimate | None:
        seconds = run_seconds(config, step_seconds(pace, config, parameters, tokens), rows, tokens)
        return None if seconds is None else Estimate(seconds, words)

    def _paces(self, config: RunConfig) -> list[Pace]:
        """Paces of this machine's recent runs with the same method."""
        device, paces = self._device(), []
        jobs = self._database.timed("cpu" if device.kind == "cpu" else device.name, RECENT)
        # A started run's configuration never changes, and a page needs this for each plan.
        before = self._configs
        now = {job.id: before[job.id] if job.id in before else _parsed(job.config) for job in jobs}
        self._configs = now
        for job in jobs:
            ran = now[job.id]
            parameters = self._parameters(ran) if ran and _comparable(ran, config) else None
            if ran and parameters:
                paces.append(Pace(ran, parameters, job.seconds_per_step))
        return paces


def _parsed(config: dict[str, Any]) -> RunConfig | None:
    try:
        return parse(config)
    except InvalidConfig:
        return None


def _comparable(one: RunConfig, other: RunConfig) -> bool:
    """Whether their steps differ only in how much there is to compute."""
    return one.method == other.method and one.model.adapter == other.model.adapter


def _alike(one: RunConfig, other: RunConfig) -> bool:
    return one.model.name == other.model.name


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)
