"""The warm-up: supervised fine-tuning on reference answers before GRPO.

Cross-entropy on only the answer's tokens, AdamW, constant rate, with the plain loop of
:mod:`core.training.methods.loop`. It can be stopped after any step and continues there; once done,
``checkpoints/warm-up`` exists and it is not repeated. Not supported: packing, schedules, evaluation
inside the phase.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from pathlib import Path

import torch

from core.job import JobPhase
from core.training.arguments import WarmUpArguments, warm_up_arguments
from core.training.job import checkpoint, weights
from core.training.job.status import Stopped
from core.training.methods.examples import reference_examples
from core.training.methods.loop import Batch, Example, Loop, rows_of_step
from core.training.methods.training_job import TrainingJob

log = logging.getLogger("tunesmith")


def warm_up(job: TrainingJob) -> bool:
    """Run the phase, continue it, or load its result.

    Returns:
        Whether it was completed now; False if an earlier attempt had completed it.

    Raises:
        Stopped: A stop was requested; the phase continues from here.
    """
    model, tokenizer, run = job.loaded.model, job.loaded.tokenizer, job.run
    done = run.checkpoints / checkpoint.WARM_UP
    if done.is_dir():
        weights.load(model, done)
        _refer(job, done)
        return False
    arguments = warm_up_arguments(job.config)
    items = job.data.train[: arguments.max_samples]
    examples = reference_examples(items, job.config, tokenizer, max_length=arguments.max_length)
    WarmUp(job, examples, arguments).run()
    with checkpoint.whole_folder(done, "the result of the warm-up") as folder:
        weights.save(model, folder)
    checkpoint.publish(run, done, tokenizer)
    _refer(job, done)
    for old in run.checkpoints.glob(f"{checkpoint.WARM_UP}-*"):
        shutil.rmtree(old)
    job.status.update(checkpoint_step=0)
    return True


def _refer(job: TrainingJob, done: Path) -> None:
    # If every weight is trained, TRL loads the reference for a KL penalty from where the model says that it is. The
    # reference is the model after the warm-up, as it is for an adapter, which TRL copies.
    if job.loaded.whole:
        job.loaded.model.config._name_or_path = str(done)


class WarmUp:
    """Runs the phase's steps, and saves a checkpoint when stopped.

    Args:
        job: The run.
        examples: The training examples.
        arguments: The phase's settings.
    """

    def __init__(self, job: TrainingJob, examples: list[Example], arguments: WarmUpArguments) -> None:
        self.job, self.examples, self.arguments = job, examples, arguments
        self.per_epoch = math.ceil(len(examples) / arguments.batch_size)
        self.max_steps = max(1, round(self.per_epoch * arguments.epochs))
        model = job.loaded.model
        optimizer = torch.optim.AdamW(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=arguments.learning_rate,
            betas=arguments.betas,
            weight_decay=arguments.weight_decay,
        )
        self.loop = Loop(model, optimizer, max_grad_norm=arguments.max_grad_norm)
        unfinished = checkpoint.latest_warm_up(job.run)
        if unfinished:
            weights.load(model, unfinished)
            self.loop.restore(unfinished)

    def run(self) -> None:
        """Run the remaining steps.

        Raises:
            Stopped: After the current step, with a checkpoint unless it is immediate.
        """
        loop, status = self.loop, self.job.status
        status.begin_phase(
            JobPhase.WARM_UP, "Learning from reference answers (warm-up)", step=loop.step, max_steps=self.max_steps
        )
        loop.model.train()
        while loop.step < self.max_steps:
            if status.stop_asked:
                self._stop()
            started = time.perf_counter()
            row = loop.one_step([self._batch()])
            seconds = time.perf_counter() - started
            epoch = loop.step / self.per_epoch
            self.job.reporter.row("warm_up", loop.step, {"epoch": epoch, **row, "step_time": seconds})
            status.stepped(loop.step, seconds)

    def _batch(self) -> Batch:
        arguments, loaded = self.arguments, self.job.loaded
        rows = rows_of_step(len(self.examples), arguments.batch_size, self.loop.step, arguments.seed)
        examples = [self.examples[row] for row in rows]
        return Batch.of(examples, pad=loaded.tokenizer.pad_token_id, device=loaded.model.device)

    def _stop(self) -> None:
        step = self.loop.step
        if step and not self.job.status.now_asked:
            self._save()
            raise Stopped(f"Stopped in the warm-up after step {step} of {self.max_steps}. Resume continues there.")
        raise Stopped("Stopped in the warm-up. Resume continues from the last checkpoint.")

    def _save(self) -> None:
        step = self.loop.step
        target = self.job.run.checkpoints / f"{checkpoint.WARM_UP}-{step}"
        with checkpoint.whole_folder(target, f"the checkpoint of warm-up step {step}") as folder:
            weights.save(self.job.loaded.model, folder)
            self.loop.save(folder)
