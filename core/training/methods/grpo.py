"""GRPO by TRL, with the seams that this program needs.

Four things differ from stock TRL, each because of something measured:

- completions are written by :mod:`core.training.rollouts.generate` and scored with the row they answer;
- checkpoints are whole or absent, hold only the adapter that is trained (transformers loads the
  reference adapter's folder instead of the trained one when both are there), and carry the
  completions that are still to be used when ``num_iterations`` is above 1;
- the order of the data is a function of seed and epoch (TRL's sampler starts the first epoch's
  order again when a run is resumed in a later one);
- nothing is printed and no model card is written.

Left out: Triton and vLLM rollouts, several GPUs. The CUDA path has not been run where this was written.
"""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig
from trl.trainer.utils import RepeatSampler

from core.metrics import SOURCES
from core.reward import Total
from core.run_dir import RunDir, step_of
from core.training.arguments import fast_arguments, grpo_arguments
from core.training.evaluation.held_out import completion_record, reward_summary
from core.training.job import checkpoint
from core.training.job.reporter import Progress, Reporter
from core.training.job.status import Status, Stopped
from core.training.methods.training_job import TrainingJob
from core.training.methods.warm_up import warm_up
from core.training.prefix_sharing.trainer import FastGRPOTrainer
from core.training.rollouts.generate import training_sampling

ROLLOUT_STATE = "rollout.pt"
"""In a checkpoint: TRL's count of batches and the completions that later steps still use."""

log = logging.getLogger("tunesmith")


def train(job: TrainingJob) -> None:
    """Warm-up, GRPO, and the evaluations around them.

    Raises:
        Stopped: A stop was asked for; a resume continues from there.
    """
    # First of all, because it chooses the engine: converting a model takes minutes, and a person who stops the run
    # meanwhile is told that training has not begun.
    rollouts = Rollouts(job)
    if job.resume is None:
        job.evaluate("before", 0)
    job.stop_between_phases()
    if job.config.pre_training.enabled and warm_up(job):
        job.evaluate("after_warm_up", 0)
    job.stop_between_phases()
    last = train_grpo(job, rollouts)
    job.evaluate("end", last)
    job.compare_held_out(last)


@dataclass
class Batch:
    """The completions of one step, in TRL's order: group after group; with dynamic sampling several rounds."""

    indices: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)
    totals: list[Total] = field(default_factory=list)
    advantages: list[float] = field(default_factory=list)
    time_generation: float = 0.0
    time_reward: float = 0.0


class Rollouts:
    """Writes completions, scores them, and keeps the latest round until its step is reported."""

    def __init__(self, job: TrainingJob) -> None:
        self.items, self.engine = job.data.train, job.engine
        self.score, self.best = job.score, job.best
        self.group_size = job.config.training.num_generations
        self.sampling = training_sampling(job.config)
        self.batch = Batch()
        self.fresh = False

    def generate(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """TRL's ``rollout_func``: token ids of prompts and completions. Its prompts are the items' places."""
        started = time.perf_counter()
        prompt_ids = [self.items[int(place)].prompt_ids for place in prompts]
        written = self.engine.generate(prompt_ids, self.sampling)
        if not self.fresh:
            self.batch = Batch()
        self.batch.ids += written.tokens
        self.batch.time_generation += time.perf_counter() - started
        return {"prompt_ids": prompt_ids, "completion_ids": written.tokens, "logprobs": written.log_probabilities}

    def reward(self, prompts: list[str], completions: list[str], index: list[int], **_: Any) -> list[float]:
        """TRL's reward function: each completion with the row it answers, reference and all."""
        started = time.perf_counter()
        items = [self.items[place] for place in index]
        totals = self.score.many([item.answered(text) for text, item in zip(completions, items, strict=True)])
        self.batch.indices += index
        self.batch.texts += completions
        self.batch.totals += totals
        self.batch.time_reward += time.perf_counter() - started
        size = self.group_size
        groups = (totals[start : start + size] for start in range(0, len(totals), size))
        return [value for group in groups for value in self.score.compared(group)]

    def scored(self, advantages: list[float]) -> None:
        """TRL has worked out the advantages: the round is complete."""
        self.batch.advantages += advantages
        self.fresh = True

    def discard(self, kl: float) -> None:
        """The latest round is not to be trained on: it is written again, by transformers, and counted once."""
        self.fresh = False
        self.engine.fall_back(kl)

    def report(self, reporter: Reporter, step: int) -> dict[str, Any]:
        """Write the round's groups and return its numbers; nothing for a step that used an old round."""
        if not self.fresh:
            return {}
        self.fresh = False
        groups = self._groups()
        for places in groups:
            reporter.group("training", step, self._group_record(places))
        return self._summary(groups)

    def _groups(self) -> list[range]:
        return [range(start, start + self.group_size) for start in range(0, len(self.batch.ids), self.group_size)]

    def _group_record(self, places: Sequence[int]) -> dict[str, Any]:
        item = self.items[self.batch.indices[places[0]]]
        batch = self.batch
        return {
            "instruction": item.row["instruction"],
            "prompt": item.prompt,
            "reference": item.row.get("response"),
            "completions": [
                completion_record(
                    batch.texts[place],
                    batch.ids[place],
                    self.engine.cut_off(batch.ids[place]),
                    batch.totals[place],
                    batch.advantages[place],
                )
                for place in places
            ],
        }

    def _summary(self, groups: Sequence[Sequence[int]]) -> dict[str, Any]:
        batch = self.batch
        rewards = [self.score.compared([batch.totals[place] for place in places]) for places in groups]
        lengths = [len(ids) for ids in batch.ids]
        return {
            **reward_summary(batch.totals, self.best),
            "reward_std": statistics.fmean(statistics.stdev(group) for group in rewards),
            "groups_without_spread": sum(max(group) == min(group) for group in rewards) / len(groups),
            "completion_length_mean": statistics.fmean(lengths),
            "completion_length_min": min(lengths),
            "completion_length_max": max(lengths),
            "cut_off": sum(self.engine.cut_off(ids) for ids in batch.ids) / len(lengths),
            "tokens": sum(lengths),
            "tokens_per_second": sum(lengths) / batch.time_generation,
            "time_generation": batch.time_generation,
            "time_reward": batch.time_reward,
            **self.score.take_spent().row(),
        }


class EpochSampler(RepeatSampler):
    """TRL's sampler with each epoch's order drawn from seed and epoch alone, so that resume is exact in any epoch."""

    def __init__(self, *args: Any, seed: int, **kwargs: Any) -> None:
        super().__init__(*args, seed=seed, **kwargs)
        self._base_seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.generator.manual_seed(self._base_seed + epoch)


class Trainer(FastGRPOTrainer):
    """TRL's trainer with the seams of the module's docstring."""

    def __init__(self, *, rollouts: Rollouts, run: RunDir, status: Status, **kwargs: Any) -> None:
        self._rollouts, self._run, self._status = rollouts, run, status
        with warnings.catch_warnings():
            # The version of TRL is pinned, and a test of the whole run says so if this seam moves.
            warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
            super().__init__(reward_funcs=rollouts.reward, rollout_func=rollouts.generate, **kwargs)
        self.remove_callback(PrinterCallback)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: the run's own directory says what it was."""

    def restore_rollouts(self, folder: Path) -> None:
        """Take up TRL's count of batches and the completions that are still to be used."""
        state = torch.load(folder / ROLLOUT_STATE, weights_only=True)
        self._step, self._buffered_inputs = state["step"], state["buffer"]

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        stock = super()._get_train_sampler(dataset)
        return EpochSampler(
            data_source=stock.data_source,
            mini_repeat_count=stock.mini_repeat_count,
            batch_size=stock.batch_size,
            repeat_count=stock.repeat_count,
            shuffle=stock.shuffle,
            seed=self.args.seed,
        )

    def _round(self, inputs: Any) -> Any:
        output = super()._round(inputs)
        self._rollouts.scored(output["advantages"].tolist())
        return output

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._run.checkpoints / checkpoint.PARTIAL)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        target = self._run.checkpoints / f"checkpoint-{step}"
        with checkpoint.whole_folder(target, f"the checkpoint of step {step}") as folder:
            super()._save_checkpoint(model, trial)
            torch.save({"step": self._step, "buffer": self._pending()}, folder / ROLLOUT_STATE)
        self._status.update(checkpoint_step=step)
        checkpoint.publish_adapter(self._run, target, self.processing_class)
        checkpoint.prune(self._run, self.args.save_total_limit)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        self.model.save_pretrained(output_dir, selected_adapters=["default"])

    def _pending(self) -> Any:
        done = self._step % (self.args.steps_per_generation * self.num_iterations) == 0
        return None if done else self._buffered_inputs


def train_grpo(job: TrainingJob, rollouts: Rollouts) -> int:
    """Every GRPO step that is left; the number of the last one.

    The model must hold the adapter that GRPO starts from, also on a resume: with a KL penalty TRL copies it
    as the reference while the trainer is made, and only then is the checkpoint loaded.

    Raises:
        Stopped: A stop was asked for, and what was promised is saved.
    """
    config, run, status = job.config, job.run, job.status
    trainer = Trainer(
        rollouts=rollouts,
        run=run,
        status=status,
        **fast_arguments(config, job.device),
        model=job.loaded.model,
        args=GRPOConfig(**grpo_arguments(config, job.device, run.checkpoints)),
        # A prompt's tokens are not a function of its text: TRL is given the place, and asks for the tokens by it.
        train_dataset=Dataset.from_list([{"prompt": str(at), "index": at} for at in range(len(job.data.train))]),
        processing_class=job.loaded.tokenizer,
    )

    for note in trainer.fast_notes:
        status.note(note)
    if trainer.checks_sampler:
        trainer.on_drift, job.engine.checks = rollouts.discard, False

    def flush(step: int, logs: dict[str, Any]) -> None:
        job.reporter.row("training", step, {**trl_numbers(logs), **rollouts.report(job.reporter, step)})

    def evaluate_if_due(step: int) -> None:
        job.evaluate_if_due(step, trainer.state.max_steps)

    trainer.add_callback(Progress(status, flush, evaluate_if_due))
    if job.resume:
        trainer.restore_rollouts(job.resume)
    trainer.train(resume_from_checkpoint=str(job.resume) if job.resume else None)
    done, planned = int(trainer.state.global_step), trainer.state.max_steps
    if done < planned:
        raise Stopped(f"Stopped after step {done} of {planned}. Resume continues from step {done_safely(run)}.")
    return done


def done_safely(run: RunDir) -> int:
    """The step of the latest checkpoint, 0 where there is none."""
    saved = checkpoint.latest(run)
    return step_of(saved) if saved else 0


def trl_numbers(logs: dict[str, Any]) -> dict[str, Any]:
    """TRL's numbers of one step under our names; reward and lengths are worked out from the completions themselves."""
    return {ours: float(logs[theirs]) for theirs, ours in SOURCES.items() if logs.get(theirs) is not None}
