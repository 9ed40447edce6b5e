"""Probes: jobs that check whether a configuration will learn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import core.config as configuration
import core.rewards
from core.config import DatasetSection, RunConfig
from core.errors import InvalidInput
from core.job import JobKind, JobState, new_id
from core.job_dir import read_model
from core.job_rows import GroupRow, is_group
from core.methods import DEFAULT
from core.moment import now
from core.probe import ProbeResult
from core.readiness import require_answers
from core.settings import Home
from services.jobs.database import Database
from services.jobs.events import Events
from services.jobs.readings import Readings, damage
from services.jobs.verbs import Jobs
from services.jobs.view import JobView
from services.machine.bin import Entry

MOST = 256
"""Most answers that one probe samples."""


@dataclass(frozen=True)
class ProbeView(JobView):
    """One probe as shown on pages and in the API.

    Attributes:
        verdict, figures: See :mod:`core.probe`; None until it is completed.
        fingerprint: The probed configuration's; see :func:`fingerprint`.
        damage: What is wrong with its files, one sentence each.
    """

    verdict: dict[str, Any] | None
    figures: dict[str, Any] | None
    fingerprint: str
    damage: list[str]

    @property
    def probe_id(self) -> str:
        return self.job.id


class Probes:
    """Operations on probes.

    Args:
        home: Location of ``outputs/``.
        database: The list of jobs.
        events: Receives every change.
        check_model, check_dataset: Raise if one does not exist.
        wake: Called after a change that the watcher should act on.
    """

    def __init__(
        self, home: Home, database: Database, events: Events, *, check_model: Callable[[str], Any],
        check_dataset: Callable[[DatasetSection], None], wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._jobs = Jobs(JobKind.PROBE, home, database, events, wake)
        self._check_model, self._check_dataset = check_model, check_dataset
        self._read = Readings(is_group)

    def start(self, config: dict[str, Any], *, prompts: int = 8, samples: int | None = None) -> ProbeView:
        """Queue a probe.

        Args:
            config: In the configuration format.
            prompts: Number of prompts.
            samples: Answers to each; by default the configuration's group size.

        Raises:
            InvalidConfig: With every problem found.
            InvalidInput: Too few or too many answers, or no answer column for a reward that compares with one.
        """
        run_config = configuration.parse(config)
        require_answers(run_config.dataset, core.rewards.needs(run_config.reward))
        samples = samples or run_config.training.num_generations
        if prompts < 1 or samples < 2 or prompts * samples > MOST:
            raise InvalidInput(
                f"Ask at least 1 question with 2 answers each, and at most {MOST} answers in all.", field="prompts"
            )
        self._check_model(run_config.model.name)
        self._check_dataset(run_config.dataset)
        job_id = new_id()
        content = {
            "kind": JobKind.PROBE,
            "name": run_config.name,
            "created_at": now(),
            "config": configuration.dump(run_config),
            "given": config,
        }
        self._jobs.queue(job_id, {**content, "prompts": prompts, "samples": samples})
        return self.get(job_id)

    def get(self, probe_id: str) -> ProbeView:
        """One probe. Raises NotFound."""
        job = self._jobs.get(probe_id)
        files, done = self._jobs.files(job.id), job.job_state is JobState.COMPLETED
        result = read_model(files.result, ProbeResult) if done else None
        return ProbeView(
            job=job.facts(),
            verdict=result.verdict.json() if result else None,
            figures=result.figures.json() if result else None,
            fingerprint=fingerprint(job.config),
            damage=damage(job, files, completions=self._read.of(files.completions).bad),
        )

    def delete(self, probe_id: str) -> Entry | None:
        """Move it with its answers to the trash. Raises Conflict while it is running or queued."""
        return self._jobs.delete(probe_id)

    def config(self, probe_id: str) -> RunConfig:
        """The probed configuration. Raises NotFound."""
        return configuration.parse(self._jobs.get(probe_id).config)

    def answers(self, probe_id: str) -> list[GroupRow]:
        """Every sampled group, in order."""
        return self._read.of(self._jobs.files(self._jobs.get(probe_id).id).completions).rows

    def reward(self, probe_id: str) -> dict[str, Any]:
        """The probed reward section."""
        return dict(self._jobs.get(probe_id).config.get("reward") or {})

    def stop(self, probe_id: str) -> ProbeView:
        """Stop it. Raises Conflict if it has already ended."""
        self._jobs.stop(probe_id)
        return self.get(probe_id)


def fingerprint(config: dict[str, Any] | RunConfig) -> str:
    """Equal for configurations with the same probe results: covers all but the name, with defaults filled in."""
    complete = configuration.dump(config) if isinstance(config, RunConfig) else config
    relevant = {name: complete[name] for name in configuration.SECTIONS if name in complete}
    if complete.get("method", DEFAULT) != DEFAULT:
        relevant["method"] = complete["method"]  # The default is left out, because older probes did not have it.
    return hashlib.sha256(json.dumps(relevant, sort_keys=True, default=str).encode()).hexdigest()[:16]
