"""The job object that every training method receives."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from core.config import RunConfig
from core.job_dir import JobDir
from core.model import Device
from core.rewards import Scorer, compose, markers_of, maximum
from core.settings import Home
from core.training.evaluation.best import Best
from core.training.evaluation.held_out import AnswersByReward, Evaluation, Measure
from core.training.evaluation.run_report import compare_run
from core.training.job.reporter import Reporter
from core.training.job.status import Status, Stopped
from core.training.method_rows import Item, Prepared
from core.training.models.load import Loaded
from core.training.rollouts.engine import Engine, engine_for


@dataclass(frozen=True)
class TrainingJob:
    """A run that is ready for training, with everything a method needs.

    Engine and reward are created on first use, so a method without rollouts does not start llama.cpp.
    The creator of a job closes it.

    Attributes:
        config: The complete configuration, with the reward's dataset-dependent settings resolved.
        run: The run's directory.
        home: Location of models and caches.
        device: The device.
        loaded: Model and tokenizer. The model is as at the start of the run, even on a resume: a method loads the
            checkpoint itself, after whatever needs the start (such as a reference model) was created.
        data: Training and held-out rows, tokenized.
        status: The run's status, including stop requests.
        reporter: Receives metric rows and groups of completions.
        resume: The newest complete checkpoint when the job was created, None if the method has saved none yet.
    """

    config: RunConfig
    run: JobDir
    home: Home
    device: Device
    loaded: Loaded
    data: Prepared
    status: Status
    reporter: Reporter
    resume: Path | None = None
    _opened: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def close(self) -> None:
        """Release what was opened: the engine's processes and files."""
        self._opened.close()

    @cached_property
    def engine(self) -> Engine:
        """Generates completions with the model's current weights.

        Raises:
            Stopped: A stop was requested while the engine was prepared.
        """
        engine = engine_for(self.loaded, self.data, self.config, self.device, self.home, self.run, self.status)
        self._opened.callback(engine.close)
        return engine

    @cached_property
    def score(self) -> Scorer:
        """The composed reward."""
        return compose(self.config.reward, markers_of(self.config.dataset))

    @cached_property
    def best(self) -> float:
        """The highest possible reward."""
        return maximum(self.config.reward)

    @cached_property
    def held_out(self) -> list[Item]:
        """The rows that evaluations measure; at most as many as configured."""
        return Evaluation.chosen(self.data.holdout, self.config)

    def evaluation(self, measure: Measure | None = None) -> Evaluation:
        """The schedule and measure for the held-out rows.

        Args:
            measure: The measure of a method without a reward, such as the loss on :attr:`held_out`. With None, the
                engine answers them and the reward scores the answers.
        """
        measure = measure or self._by_reward()
        return Evaluation(len(self.held_out), measure, self.config, self.run, self.status)

    def _by_reward(self) -> Measure:
        assert self.loaded.start is not None  # noqa: S101 (a model that was loaded for training has one)
        return AnswersByReward(
            self.held_out,
            self.config,
            self.engine,
            self.loaded.start,
            self.score,
            self.best,
            self.status,
            self.reporter,
        )

    def compare_held_out(self, step: int) -> None:
        """Write the paired report of the held-out answers before the first step and those of the result.

        Args:
            step: The last one. The result may be an earlier one, the best.
        """
        kept = Best(self.config, self.run).step()
        compare_run(self.run, self.config, self.best, step if kept is None else kept)

    def stop_between_phases(self) -> None:
        """End here if a stop was requested.

        Raises:
            Stopped: It was. Nothing has to be saved: a finished phase has saved its result.
        """
        if self.status.stop_asked:
            raise Stopped("Stopped between two phases. Resume continues here.")
