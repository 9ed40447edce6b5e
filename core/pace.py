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


FILLED = 0.9
"""Share of a packed sequence that rows fill. Measured for generated arithmetic: 0.87 to 0.91 with 3 to 7 rows in a
sequence; more with many short rows."""


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
    """Answers, or rows if none are generated, that one step takes; with packing, sequences of rows."""
    return config.training.batch_size * config.training.gradient_accumulation_steps


def together(config: RunConfig, tokens: Tokens | None) -> float | None:
    """Rows that share one sequence, on average: 1 without packing, None if it depends on lengths that are not known."""
    if not method(config.method).packs(config):
        return 1.0
    if tokens is None or tokens.prompt + tokens.reference <= 0:
        return None
    return max(1.0, FILLED * config.training.max_sequence_length / (tokens.prompt + tokens.reference))


def rows_a_step(config: RunConfig, tokens: Tokens | None) -> float | None:
    """Different rows that one step takes; None if that depends on lengths that are not known."""
    share = together(config, tokens)
    return None if share is None else share * max(1, method(config.method).rows_a_step(config))


def steps_of(config: RunConfig, rows: int | None, tokens: Tokens | None = None) -> int | None:
    """Steps that a run takes; None if that depends on rows or lengths that are not known."""
    training = config.training
    if training.max_steps:
        return training.max_steps
    each = rows_a_step(config, tokens)
    if rows is None or each is None:
        return None
    trained = rows * (1 - config.evaluation.holdout_fraction - config.evaluation.test_fraction)
    return max(1, math.ceil(trained * training.num_epochs / each))


def work(config: RunConfig, parameters: float, tokens: Tokens | None = None) -> float:
    """What a step costs, in units that only compare steps of one method with each other.

    If lengths are not known, packed steps are only comparable with each other, by the length of their sequences.
    """
    generates = Need.ROLLOUTS in method(config.method).needs
    each = together(config, tokens) or float(config.training.max_sequence_length)
    return parameters * per_step(config) * (config.training.max_new_tokens if generates else each)


def comparable(one: RunConfig, other: RunConfig, tokens: Tokens | None) -> bool:
    """Whether :func:`work` can compare them."""
    return tokens is not None or method(one.method).packs(one) == method(other.method).packs(other)


def step_seconds(pace: Pace, config: RunConfig, parameters: float, tokens: Tokens | None = None) -> float:
    """Seconds for a step of ``config``, from those of another step on the same machine."""
    return pace.seconds * work(config, parameters, tokens) / work(pace.config, pace.parameters, tokens)


def run_seconds(config: RunConfig, step: float, rows: int | None, tokens: Tokens | None = None) -> float | None:
    """Seconds for warm-up, steps and evaluations; loading the model comes on top. None if the steps are not known.

    An answer in an evaluation and a row of the warm-up are counted like an answer of a step, which is a little much.
    """
    steps = steps_of(config, rows, tokens)
    if steps is None:
        return None
    chosen, evaluation, warm_up = method(config.method), config.evaluation, config.pre_training
    each = step / per_step(config) / (together(config, tokens) or 1)
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
