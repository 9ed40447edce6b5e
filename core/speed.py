"""This machine's speed, and a rough duration of a run from it, before anything like it was run here.

The speed is measured once per machine with the built-in model (:mod:`core.training.speed`) and cached in
``cache/speed.json`` until the processor, the number of cores, torch or the measurement changes. Nothing here loads
torch. How far such durations are from real ones was measured: ``docs/decisions/durations.md``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import platform
from dataclasses import dataclass

import psutil
from pydantic import BaseModel, ConfigDict, PositiveFloat

from core import llama
from core.config import RunConfig
from core.job_dir import write_json
from core.methods import Need, method
from core.pace import EVALUATIONS, FORWARD, Tokens, per_step, steps_of, together
from core.settings import Home

MEASUREMENT = 1
"""Changes with what is measured: the speed of another one counts as unknown."""
LOW, HIGH = 0.8, 2.0
"""Real durations per reckoned one, lowest and highest, that a range leaves room for."""
LEARNED = 0.5, 1.0
"""Share of a run's answers that are learned from: a question whose answers all score the same is skipped."""
WIDEST = 9.0
"""A range whose ends are further apart, three times the middle either way, says nothing."""
LARGEST = 2.0
"""Billions of parameters: larger models are too far from the measured one."""
SLOTS = 32
"""Answers that llama.cpp writes together."""


class Speed(BaseModel):
    """Seconds that the parts of a run take here, most of them for each billion parameters.

    Attributes:
        machine: See :func:`machine`.
        loading: Starting a worker and loading the model, whatever its size.
        each_pass: For a forward and backward pass, however short.
        learning: For each of its tokens.
        each_token: For each token that answers get at the same time, however few they are.
        writing: For each token of each answer.
        by_llama: Whether llama.cpp wrote these answers, else transformers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: str
    loading: PositiveFloat
    each_pass: float
    learning: PositiveFloat
    each_token: float
    writing: PositiveFloat
    by_llama: bool


def machine() -> str:
    """Identifies what decides the speed: processor, cores, torch and the measurement."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        torch = ""
    cores = len(psutil.Process().cpu_affinity())
    known = f"{MEASUREMENT} {platform.machine()} {cores} {torch} {sorted(llama.cpuinfo().items())}"
    return hashlib.sha256(known.encode()).hexdigest()[:32]


def read(home: Home) -> Speed | None:
    """What was measured on this very machine; None if nothing was, or the file is damaged."""
    try:
        found = Speed.model_validate_json((home.cache / "speed.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if found.machine == machine() else None


def keep(home: Home, speed: Speed) -> None:
    """Write it down. Raises OSError if that is not possible."""
    write_json(home.cache / "speed.json", speed.model_dump(mode="json"))


def rough_seconds(
    speed: Speed, config: RunConfig, parameters: float, rows: int | None, tokens: Tokens
) -> tuple[float, float] | None:
    """The shortest and the longest that a run is likely to take on this machine's processor.

    Args:
        speed: Of this machine.
        config: Of the run.
        parameters: Its model's, in billions.
        rows: Of the dataset, if known.
        tokens: The dataset's lengths.

    Returns:
        Seconds; None if the number of steps is not known or nothing useful can be said.
    """
    steps = steps_of(config, rows, tokens)
    writes = Need.ROLLOUTS in method(config.method).needs
    slower_engine = writes and speed.by_llama and config.training.rollout_engine == "transformers"
    if steps is None or parameters > LARGEST or config.model.dtype not in {"auto", "float32"} or slower_engine:
        return None
    run = _Run(speed, config, rows, tokens)
    ends = zip((LOW, HIGH), _answer_lengths(config, tokens), LEARNED, strict=True)
    low, high = (factor * (speed.loading + parameters * run.seconds(steps, *each)) for factor, *each in ends)
    return (low, high) if high <= WIDEST * low else None


def _answer_lengths(config: RunConfig, tokens: Tokens) -> tuple[float, float]:
    """Between which lengths the average answer is likely to be.

    A warm-up teaches the length of the references. Without it, a model often writes until it is cut off.
    """
    longest = config.training.max_new_tokens
    reference = min(tokens.reference, longest)
    middle = math.sqrt(reference * longest)
    return (reference, middle) if config.pre_training.enabled else (middle, longest)


@dataclass(frozen=True)
class _Run:
    """The parts of a run, in seconds for each billion parameters."""

    speed: Speed
    config: RunConfig
    rows: int | None
    tokens: Tokens

    def seconds(self, steps: int, answer: float, share: float) -> float:
        """All parts.

        Args:
            steps: Of the run.
            answer: Tokens of an answer that the model writes.
            share: Of the answers that are learned from: equal scores in a group are skipped.
        """
        config = self.config
        chosen, evaluation = method(config.method), config.evaluation
        writes = Need.ROLLOUTS in chosen.needs
        rows = per_step(config) * (together(config, self.tokens) or 1)
        step = self._answers(answer, share) if writes else self._examples(rows, self._passes)
        count = EVALUATIONS if evaluation.every_steps is None else 2 + (steps - 1) // evaluation.every_steps
        measured = self._answered(answer) if writes else FORWARD * self._examples(self._held, 0)
        return steps * step + count * measured + (self._warm_up() if chosen.uses("pre_training") else 0)

    @property
    def _passes(self) -> int:
        return self.config.training.gradient_accumulation_steps

    @property
    def _text(self) -> float:
        return min(self.tokens.prompt + self.tokens.reference, self.config.training.max_sequence_length)

    @property
    def _held(self) -> int:
        """Rows that an evaluation measures."""
        evaluation = self.config.evaluation
        most = min(evaluation.max_prompts, evaluation.max_rows)
        if evaluation.split or self.rows is None:
            return most if evaluation.split or evaluation.holdout_fraction else 0
        return min(most, round(self.rows * evaluation.holdout_fraction))

    def _examples(self, count: float, passes: float) -> float:
        """Learning from rows."""
        again = 1 + FORWARD if self.config.training.gradient_checkpointing else 1
        return again * (passes * self.speed.each_pass + count * self._text * self.speed.learning)

    def _answers(self, answer: float, share: float) -> float:
        """Writing a step's answers and learning from them. What they have in common is computed once."""
        training, grpo = self.config.training, self.config.grpo
        count = per_step(self.config)
        questions = count / training.num_generations
        prompts = questions if training.share_prefixes else count
        forward = FORWARD if grpo.kl_penalty else 0
        again = 1 + FORWARD if training.gradient_checkpointing else 1
        each = (prompts * self.tokens.prompt + count * answer) * self.speed.learning + self.speed.each_pass
        return self._written(count, questions, answer) + share * grpo.num_iterations * (again + forward) * each

    def _written(self, count: float, prompts: float, answer: float) -> float:
        read = (prompts if self.speed.by_llama else count) * self.tokens.prompt * FORWARD * self.speed.learning
        return read + answer * (math.ceil(count / SLOTS) * self.speed.each_token + count * self.speed.writing)

    def _answered(self, answer: float) -> float:
        """One evaluation: a held-out question's answer each, and how far it is from the base model's."""
        held = self._held
        compared = 2 * FORWARD * held * (self.tokens.prompt + answer) * self.speed.learning
        return self._written(held, held, answer) + compared if held else 0

    def _warm_up(self) -> float:
        phase = self.config.pre_training
        if not phase.enabled:
            return 0
        rows = min(phase.max_samples or self.rows or 0, self.rows or phase.max_samples or 0) * phase.epochs
        return self._examples(rows, rows / phase.batch_size)
