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
from core.training.evaluation.held_out import AnswersByReward, Evaluation, Measure
from core.training.evaluation.run_report import compare_run
from core.training.job.reporter import Reporter
from core.training.job.status import Status, Stopped
from core.training.method_rows import Item, Prepared
from core.training.models.load import Loaded
from core.training.rollouts.engine import Engine, engine_for


@dataclass(frozen=True)
class TrainingJob:
    """A run that is ready for training: everything a method needs.

    Engine and reward are created on first use, so a method without rollouts does not start llama.cpp.
    The creator of a job closes it.

    Attributes:
        config: The complete configuration; what its reward leaves to the dataset is decided.
        run: The run's directory.
        home: Where models and caches are.
        device: What is computed on.
        loaded: Model and tokenizer. The model holds a fresh adapter, also on a resume: a method loads the
            checkpoint itself, when whatever needs the fresh one (such as a reference model) has seen it.
        data: The rows that are trained on and those that are held out, in tokens.
        status: Where the run is; also says whether a stop was requested.
        reporter: Takes rows of metrics and groups of completions.
        resume: The newest whole checkpoint when the job was made, None if the method has saved none yet.
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
        """Give back what was opened on the way: the engine's processes and files."""
        self._opened.close()

    @cached_property
    def engine(self) -> Engine:
        """Writes completions with the model as it is at that moment.

        Raises:
            Stopped: A stop was requested while the engine was made ready.
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
        """The most that a completion can earn."""
        return maximum(self.config.reward)

    @cached_property
    def held_out(self) -> list[Item]:
        """The rows that evaluations measure; at most as many as configured."""
        return Evaluation.chosen(self.data.holdout, self.config)

    def evaluation(self, measure: Measure | None = None) -> Evaluation:
        """When the held-out rows are measured, and how.

        Args:
            measure: What a method measures that has no reward, such as the loss on :attr:`held_out`. None has the
                engine answer them and the reward score the answers.
        """
        measure = measure or AnswersByReward(
            self.held_out, self.config, self.engine, self.score, self.best, self.status, self.reporter
        )
        return Evaluation(len(self.held_out), measure, self.config, self.run, self.status)

    def compare_held_out(self, step: int) -> None:
        """Write the paired report of the held-out answers before the first step and after the last, ``step``."""
        compare_run(self.run, self.config, self.best, step)

    def stop_between_phases(self) -> None:
        """End here where a stop was requested.

        Raises:
            Stopped: It was. Nothing has to be saved: a phase that is done has saved its result.
        """
        if self.status.stop_asked:
            raise Stopped("Stopped between two phases. Resume continues here.")
