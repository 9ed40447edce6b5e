"""Shared by all TRL trainers: complete checkpoints, exact resume, stop, progress, rows.

A method puts :class:`JobTrainer` in front of one of TRL's trainers and calls :meth:`JobTrainer.run`::

    class Trainer(JobTrainer, SFTTrainer):
        title = "Training (SFT)"

    last = Trainer(job, evaluation, model=..., args=..., train_dataset=..., processing_class=...).run()

TRL's trainers are subclasses of transformers' ``Trainer``, and neither has a public API for where a checkpoint is
saved or the order of rows. So this module overrides methods that begin with an underscore. Both libraries are pinned
in ``requirements/``. Before upgrading one, check these again, in ``transformers/trainer.py`` unless another file is
named:

- ``_save_checkpoint``, ``_get_output_dir``, ``_save``: location and contents of a checkpoint;
- ``_load_from_checkpoint``: which adapter of a checkpoint is loaded;
- ``_get_train_sampler``, and ``set_epoch`` in ``accelerate/data_loader.py``: the order of the rows;
- ``_run_epoch``, ``_load_rng_state``: what is skipped and restored on a resume, and when;
- ``_maybe_log_save_evaluate``: a step's numbers are logged before its checkpoint is saved;
- ``DefaultFlowCallback`` in ``trainer_callback.py``: when a step is logged and saved.

``tests/training/test_worker.py`` and ``test_trl.py`` fail if the meaning of one changes: they compare resumed
runs with the uninterrupted one, number by number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from core.job import JobPhase
from core.job_dir import step_of
from core.metrics import SOURCES
from core.training.evaluation.best import Best
from core.training.evaluation.held_out import Evaluation
from core.training.job import checkpoint, weights
from core.training.job.status import Stopped
from core.training.methods.training_job import TrainingJob


class EpochSampler(Sampler[int]):
    """A trainer's own sampler, with each epoch's order drawn only from seed and epoch.

    By default, TRL's ``RepeatSampler`` draws all epochs from one generator that a resumed run restarts,
    and transformers' ``RandomSampler`` has no generator and is replaced by accelerate. With this one, a run
    that is resumed in its third epoch gets the third epoch's order.

    It relies on both drawing from their attribute ``generator`` when they are iterated over, and on ``set_epoch``
    being called before each epoch, including batches that a resume skips. accelerate looks for the method
    on ``batch_sampler.sampler`` and, when batches are skipped, on ``batch_sampler.batch_sampler.sampler``. Without
    that call, every epoch after the first would continue with the same generator, which only a resume in a later
    epoch would reveal.

    Args:
        stock: The sampler that the trainer would have used.
        seed: The run's.
    """

    def __init__(self, stock: Any, seed: int) -> None:
        self._stock, self._seed = stock, seed
        self._generator = stock.generator = torch.Generator()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate before each epoch, counted from 0."""
        self._generator.manual_seed(self._seed + epoch)

    def __iter__(self) -> Iterator[int]:
        return iter(self._stock)

    def __len__(self) -> int:
        return len(self._stock)


class JobTrainer(Trainer):
    """Mixin in front of a TRL trainer that provides a job's guarantees; see the module's docstring.

    Args:
        job: The run.
        evaluation: Schedule for measuring held-out rows between steps.
        kwargs: The TRL trainer's own.

    Attributes:
        title: The phase's title in the status.
    """

    title: ClassVar[str] = "Training"

    def __init__(self, job: TrainingJob, evaluation: Evaluation, **kwargs: Any) -> None:
        self.job, self.evaluation = job, evaluation
        self.best = Best(job.config, job.run)
        super().__init__(**kwargs)
        # Added because of disable_tqdm; prints every row as a dictionary into the log.
        self.remove_callback(PrinterCallback)

    def run(self) -> int:
        """Run the remaining steps.

        Returns:
            The number of the last one.

        Raises:
            Stopped: A stop was requested, and its state is saved.
        """
        # Callbacks run in the order in which they were added. DefaultFlowCallback is first and decides
        # what is logged and saved after a step; Progress comes later, so its stop takes precedence.
        self.add_callback(Progress(self))
        resume = self.job.resume
        if resume:
            self.load_extra(resume)
        try:
            self.train(resume_from_checkpoint=str(resume) if resume else None)
        except _EndsEarly:
            return self._ended_early()
        done, planned = int(self.state.global_step), int(self.state.max_steps)
        if done < planned:
            raise Stopped(f"Stopped after step {done} of {planned}. Resume continues from step {self._saved_step()}.")
        return done

    def evaluate_between_steps(self) -> None:
        """Evaluate if it is due.

        Raises:
            _EndsEarly: The evaluations have not improved for as long as configured.
        """
        before = len(self.evaluation.done)
        self.evaluation.at_interval(self.state.global_step, self.state.max_steps)
        resumed = self.job.resume is not None and self.state.global_step == step_of(self.job.resume)
        # A resumed run may have been killed between the evaluation and what follows from it.
        if len(self.evaluation.done) == before and not resumed:
            return
        # A requested stop comes first; the resumed run then ends early.
        if self.best.follow(self.processing_class) and not self.job.status.stop_asked:
            raise _EndsEarly

    def _ended_early(self) -> int:
        done, planned = int(self.state.global_step), int(self.state.max_steps)
        self.best.ended(self.processing_class, done, planned)
        # Pages show the progress as complete, and the time left is that of the last evaluation.
        self.job.status.update(step=done, max_steps=done)
        return done

    # For a method to override

    def row(self, step: int, logs: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a step's row in ``metrics.jsonl``.

        Args:
            step: The step, counted from 1.
            logs: The trainer's metrics under its own names.
        """
        return renamed(logs)

    def save_extra(self, folder: Path) -> None:
        """Save what the method needs in a checkpoint besides what transformers saves."""

    def load_extra(self, folder: Path) -> None:
        """Restore what :meth:`save_extra` wrote. Called before the trainer loads the same checkpoint."""

    # Overrides

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: the run's directory has this information. TRL's trainers call this at every checkpoint."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> EpochSampler:
        # The only access to the sampler: get_train_dataloader() passes this method on by name, and TRL's trainers
        # override one or the other. If one no longer called it, its rows would come in the stock order, and the resume
        # test in the second epoch would fail.
        return EpochSampler(super()._get_train_sampler(*args, **kwargs), self.args.seed)

    def _get_output_dir(self, trial: Any) -> str:
        # transformers writes `checkpoint-<step>` into this folder, which is where checkpoint.whole_folder() waits
        # for it. It also deletes old checkpoints in it (save_total_limit) and finds none: they are pruned below,
        # after the new one is complete under its name.
        return str(self.job.run.checkpoints / checkpoint.PARTIAL)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # The step's row is already written: transformers logs before it saves. A kill in between leaves rows without
        # a checkpoint, and the resumed run writes them again. The other order would lose rows.
        run, step = self.job.run, self.state.global_step
        target = run.checkpoints / f"checkpoint-{step}"
        with checkpoint.whole_folder(target, f"the checkpoint of step {step}") as folder:
            super()._save_checkpoint(model, trial)
            self.save_extra(folder)
        # Only complete checkpoints are announced: status, then the published weights, then pruning.
        self.job.status.update(checkpoint_step=step)
        if not self.best.published():
            checkpoint.publish(run, target, self.processing_class)
        checkpoint.prune(run, self.args.save_total_limit)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # The stock method also writes the tokenizer, which publish() does once, and pickles the arguments, which
        # nothing reads. It saves every adapter of the model as well; see weights.save().
        assert output_dir is not None  # noqa: S101 (the stock method's default is for calls from outside)
        weights.save(self.model, Path(output_dir))

    def _saved_step(self) -> int:
        """The step of the latest checkpoint, 0 if there is none."""
        saved = checkpoint.latest(self.job.run)
        return step_of(saved) if saved else 0


class _EndsEarly(Exception):
    """Leaves the trainer's loop before a step: its own flag is looked at only after the next one."""


class Progress(TrainerCallback):
    """Follows a trainer: rows, status, evaluation between steps, stop.

    Every step is logged (``logging_steps`` 1), so :meth:`on_log` comes once after each optimizer step. Between
    :meth:`on_step_end` and the next :meth:`on_step_begin` the trainer logs and then saves what is due.

    Args:
        trainer: The trainer to follow.
    """

    def __init__(self, trainer: JobTrainer) -> None:
        self._trainer, self._job = trainer, trainer.job
        self._started = time.perf_counter()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The phase begins, or continues after a resume with the checkpoint's state."""
        self._job.status.begin_phase(
            JobPhase.TRAIN, self._trainer.title, step=state.global_step, max_steps=state.max_steps
        )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Between two steps, after row and checkpoint of the last one were written.

        An evaluation belongs here and not after the step: a kill during it then loses no trained step, and a resume
        makes up for the missed evaluation. The random states of a checkpoint are restored just before
        (``_load_rng_state``), and the evaluation restores them as well.
        """
        self._trainer.evaluate_between_steps()
        self._started = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A stop ends the loop here, with a checkpoint unless it is immediate.

        A step that is evaluated next has a checkpoint if the evaluations decide about the run's result. It is saved
        here, before the next epoch's first draw of random numbers, so that a resume from it is exact.
        """
        evaluation = self._trainer.evaluation
        if self._trainer.best.wanted and evaluation.rows and evaluation.due(state.global_step, state.max_steps):
            control.should_save = True
        self._stop_if_asked(control)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """The metrics of a step. The final summary has ``train_loss`` and no ``loss``, and is not a row."""
        if logs and "loss" in logs:
            seconds = time.perf_counter() - self._started
            # GRPO's trainer logs its own step_time, which excludes the time between its micro-batches.
            values = self._trainer.row(state.global_step, {**logs, "step_time": seconds})
            self._job.reporter.row("training", state.global_step, values)
            self._job.status.stepped(state.global_step, seconds)
            # Checked again: the user may have waited for this row, and saving can take long.
            self._stop_if_asked(control)

    def _stop_if_asked(self, control: TrainerControl) -> None:
        # The trainer looks at should_save after on_log and at should_training_stop after saving, so that a stop
        # ends with the checkpoint of the very step.
        if self._job.status.stop_asked:
            control.should_training_stop = True
            control.should_save = not self._job.status.now_asked


def renamed(logs: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer's metrics under our names, without those that are None this time.

    >>> renamed({"loss": 0.5, "kl": None, "num_tokens": 12})
    {'loss': 0.5}
    """
    return {ours: float(logs[theirs]) for theirs, ours in SOURCES.items() if logs.get(theirs) is not None}
