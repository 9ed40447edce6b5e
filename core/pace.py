"""Estimates the duration of a run from measured steps.

The cost of a step is about proportional to the number of parameters, times the answers (or rows) it uses, times the
length of the answers it generates. So the duration of one step gives that of another configuration on the same machine.
Rows are taken to be as long as those of the measured step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.config import RunConfig
from core.methods import Need, method

EVALUATIONS = 3
"""Before the first step, halfway and at the end, unless an interval is set."""
FORWARD = 0.45
"""Share of a training step's work that scoring a row takes if nothing is generated: the forward pass.

Measured for SmolLM2-135M with LoRA on a CPU: 0.42 to 0.47, with rows of 64 and 160 tokens."""


@dataclass(frozen=True)
class Pace:
    """Seconds that one step of a configuration took; ``parameters`` in billions."""

    config: RunConfig
    parameters: float
    seconds: float


@dataclass(frozen=True)
class Tokens:
    """Usual length of a dataset's prompts, and of its references in the required format."""

    prompt: float
    reference: float


def per_step(config: RunConfig) -> int:
    """Answers, or rows if none are generated, that one step takes."""
    return config.training.batch_size * config.training.gradient_accumulation_steps


def steps_of(config: RunConfig, rows: int | None) -> int | None:
    """Steps that a run takes; None if that depends on rows that are not known."""
    training = config.training
    if training.max_steps:
        return training.max_steps
    if rows is None:
        return None
    trained = rows * (1 - config.evaluation.holdout_fraction - config.evaluation.test_fraction)
    return max(1, math.ceil(trained * training.num_epochs / max(1, method(config.method).rows_a_step(config))))


def work(config: RunConfig, parameters: float) -> float:
    """What a step costs, in units that only compare steps of one method with each other."""
    generates = Need.ROLLOUTS in method(config.method).needs
    return parameters * per_step(config) * (config.training.max_new_tokens if generates else 1)


def step_seconds(pace: Pace, config: RunConfig, parameters: float) -> float:
    """Seconds for a step of ``config``, from those of another step on the same machine."""
    return pace.seconds * work(config, parameters) / work(pace.config, pace.parameters)


def run_seconds(config: RunConfig, step: float, rows: int | None) -> float | None:
    """Seconds for warm-up, steps and evaluations; loading the model comes on top. None if the steps are not known.

    An answer in an evaluation and a row of the warm-up are counted like an answer of a step, which is a little much.
    """
    steps = steps_of(config, rows)
    if steps is None:
        return None
    chosen, evaluation, warm_up = method(config.method), config.evaluation, config.pre_training
    each = step / per_step(config)
    count = EVALUATIONS if evaluation.every_steps is None else 2 + (steps - 1) // evaluation.every_steps
    held = min(evaluation.max_prompts, evaluation.max_rows)
    if rows is not None and not evaluation.split:
        held = min(held, round(rows * evaluation.holdout_fraction))
    if evaluation.holdout_fraction == 0 and not evaluation.split:
        held = 0
    seconds = steps * step + count * held * each * (1 if Need.ROLLOUTS in chosen.needs else FORWARD)
    if chosen.uses("pre_training") and warm_up.enabled:
        shown = min(warm_up.max_samples or rows or 0, rows or warm_up.max_samples or 0)
        seconds += shown * warm_up.epochs * each
    return seconds
