"""GRPO by TRL, after an optional warm-up on reference answers.

What every TRL trainer needs here is in :mod:`core.training.methods.trl`, and how a step is computed with less
work in :mod:`core.training.prefix_sharing.trainer`. Of GRPO itself three things differ from stock TRL:

- completions are written by the run's engine (:mod:`core.training.rollouts.engine`), each with its log-probabilities
  where the engine knows them, and scored with the row they answer;
- a checkpoint carries the completions that are still to be used when ``num_iterations`` is above 1;
- a round that the engine sampled from another distribution than the trainer's is written again.

Seams of TRL's ``grpo_trainer.py`` that this relies on: ``rollout_func`` and its three keys; reward functions
called with every column of the dataset as a list (``index``); ``_step`` and ``_buffered_inputs``, with their
meaning in ``_prepare_inputs``; ``advantages`` in what ``_generate_and_score_completions`` returns.

Left out: Triton and vLLM rollouts, several GPUs. The CUDA path has not been run where this was written.
"""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig

from core.job_rows import GroupContent
from core.reward import Total
from core.training.arguments import fast_arguments, grpo_arguments
from core.training.evaluation.held_out import Evaluation, completion_record, reward_summary
from core.training.job.reporter import Reporter
from core.training.methods.training_job import TrainingJob
from core.training.methods.trl import JobTrainer
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
    # First of all, because it chooses the engine: converting a model takes minutes, and a user who stops the run
    # meanwhile is told that training has not begun.
    rollouts, evaluation = Rollouts(job), job.evaluation()
    if job.resume is None:
        evaluation.once("before", 0)
    job.stop_between_phases()
    if job.config.pre_training.enabled and warm_up(job):
        evaluation.once("after_warm_up", 0)
    job.stop_between_phases()
    last = train_grpo(job, rollouts, evaluation)
    evaluation.once("end", last)
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

    def _group_record(self, places: Sequence[int]) -> GroupContent:
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


class Trainer(JobTrainer, FastGRPOTrainer):
    """TRL's trainer, given completions and rewards from outside; see the module's docstring.

    Args:
        job, evaluation: The run, and when its held-out rows are measured.
        rollouts: Writes and scores.
        kwargs: Those of :class:`core.training.prefix_sharing.trainer.FastGRPOTrainer` and TRL's.
    """

    title = "Training (GRPO)"

    def __init__(self, job: TrainingJob, evaluation: Evaluation, rollouts: Rollouts, **kwargs: Any) -> None:
        self._rollouts = rollouts
        with warnings.catch_warnings():
            # TRL calls rollout_func experimental. Its version is pinned, and a test of the whole run says so if
            # this seam moves: the function is given a list of prompts and the trainer, and returns prompt_ids,
            # completion_ids and logprobs (or None).
            warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
            super().__init__(job, evaluation, reward_funcs=rollouts.reward, rollout_func=rollouts.generate, **kwargs)

    def row(self, step: int, logs: Mapping[str, Any]) -> dict[str, Any]:
        """TRL's numbers, and those worked out from the completions of the step."""
        return {**super().row(step, logs), **self._rollouts.report(self.job.reporter, step)}

    def save_extra(self, folder: Path) -> None:
        """TRL's count of batches, and the completions that later steps still use."""
        torch.save({"step": self._step, "buffer": self._pending()}, folder / ROLLOUT_STATE)

    def load_extra(self, folder: Path) -> None:
        """Take both up.

        Without them TRL's ``_prepare_inputs`` starts to count at 0: with ``num_iterations`` above 1 it would write
        new completions in the middle of a round, and every later round would begin at another step than it did
        in the run that was not stopped.
        """
        state = torch.load(folder / ROLLOUT_STATE, weights_only=True)
        self._step, self._buffered_inputs = state["step"], state["buffer"]

    def _round(self, inputs: Any) -> Any:
        # The advantages exist nowhere but in what TRL hands to its loss. They are read here, before the rows are
        # shuffled and cut into micro-batches, while they still are in the order of the completions.
        output = super()._round(inputs)
        self._rollouts.scored(output["advantages"].tolist())
        return output

    def _pending(self) -> Any:
        # TRL keeps the buffer when a round is used up and overwrites it in the next step. Saved, it would only make
        # the checkpoint larger.
        done = self._step % (self.args.steps_per_generation * self.num_iterations) == 0
        return None if done else self._buffered_inputs


def train_grpo(job: TrainingJob, rollouts: Rollouts, evaluation: Evaluation) -> int:
    """Every GRPO step that is left; the number of the last one.

    The model must hold the adapter that GRPO starts from, also on a resume: with a KL penalty TRL copies it
    as the reference while the trainer is made, and only then is the checkpoint loaded.

    Raises:
        Stopped: A stop was asked for, and what was promised is saved.
    """
    trainer = Trainer(
        job,
        evaluation,
        rollouts,
        **fast_arguments(job.config, job.device),
        model=job.loaded.model,
        args=GRPOConfig(**grpo_arguments(job.config, job.device, job.run.checkpoints)),
        # A prompt's tokens are not a function of its text: TRL is given the place, and asks for the tokens by it.
        train_dataset=Dataset.from_list([{"prompt": str(at), "index": at} for at in range(len(job.data.train))]),
        processing_class=job.loaded.tokenizer,
    )
    for note in trainer.fast_notes:
        job.status.note(note)
    if trainer.checks_sampler:
        # The trainer compares every token of a round, which is more than the engine's own check of one answer.
        trainer.on_sampler_mismatch, job.engine.checks = rollouts.discard, False
    return trainer.run()
