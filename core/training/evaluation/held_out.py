"""Evaluation on the held-out rows: before the first step, after the warm-up, at intervals, and at the end.

:class:`Evaluation` decides when, a :data:`Measure` how. The one here scores answers with the reward. Decoding is
greedy, so that two evaluations differ only by the model. Training's random states are restored afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from core.config import RunConfig
from core.job import JobPhase, JobState
from core.job_dir import JobDir, iter_rows
from core.job_rows import CompletionRow, is_metric
from core.reward import Total
from core.rewards import Scorer
from core.training.job.device import undisturbed
from core.training.job.reporter import Reporter
from core.training.job.status import Status
from core.training.method_rows import Item
from core.training.models.reference import Forward, Start
from core.training.rollouts.engine import Engine
from core.training.rollouts.generate import Sampling, evaluating

KL_BATCH = 4
"""Answers per batch: their logits over the whole vocabulary are in memory twice."""

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Scored:
    """One answer and its reward.

    Attributes:
        item: The question.
        ids: The answer's tokens.
        text: The answer.
        cut_off: Whether it was truncated at the length limit.
        total: Its reward.
    """

    item: Item
    ids: list[int]
    text: str
    cut_off: bool
    total: Total


Measure = Callable[[str, int], bool]
"""Measures the held-out rows and reports the result, given when and after which step; false if a stop was
requested in between and nothing was reported."""


class Evaluation:
    """Schedules the measurements of the held-out rows, and skips those that an earlier attempt has done.

    Args:
        rows: How many are measured; 0 disables evaluation.
        measure: Measures them.
        config: The run's configuration.
        run, status: The run's directory and status, with what earlier attempts have written.
    """

    def __init__(self, rows: int, measure: Measure, config: RunConfig, run: JobDir, status: Status) -> None:
        self.rows, self.measure, self.status = rows, measure, status
        self.every = config.evaluation.every_steps
        self.done = {
            (row.get("when"), row["step"]) for row in iter_rows(run.metrics, is_metric) if row["phase"] == "evaluation"
        }

    @staticmethod
    def chosen(holdout: list[Any], config: RunConfig) -> list[Any]:
        """The held-out rows to measure, always the same ones."""
        return holdout[: config.evaluation.max_prompts]

    def at_interval(self, step: int, max_steps: int) -> None:
        """Called after every training step; evaluates when one is due. Halfway if no interval is set.

        One that a stop prevented is made up for at the next step.

        Args:
            step: Completed steps.
            max_steps: Steps of the run; after the last one, no interval evaluation is due.
        """
        if self.due(step, max_steps):
            self.once("interval", step)

    def due(self, step: int, max_steps: int) -> bool:
        """Whether :meth:`at_interval` would evaluate."""
        every = self.every or max(1, max_steps // 2)
        due = step - step % every
        made = any(when == "interval" and at >= due for when, at in self.done)
        return 0 < due <= step < max_steps and not made

    def once(self, when: str, step: int) -> None:
        """Evaluate unless an earlier attempt has, or a stop is pending.

        Args:
            when: ``before``, ``after_warm_up``, ``interval`` or ``end``, as in the row of ``metrics.jsonl``.
            step: Completed steps of the method.
        """
        if not self.rows or (when, step) in self.done or self.status.stop_asked:
            return
        before = self.status.value
        message = f"Scoring {self.rows} held-out rows"
        self.status.update(state=JobState.RUNNING, phase=JobPhase.EVALUATE, message=message)
        with undisturbed():
            if self.measure(when, step):
                self.done.add((when, step))
        # Not if a stop was requested in the meantime: that stays visible.
        if self.status.value.state is JobState.RUNNING:
            self.status.update(state=before.state, phase=before.phase, message=before.message)


class AnswersByReward:
    """A :data:`Measure`: the model answers, and the reward scores the answers.

    Args:
        items: The rows.
        config: The run's configuration.
        engine: Generates the answers.
        start: Opens the model as it was at the start, for the KL divergence.
        score: The composed reward.
        best: The highest possible reward.
        status, reporter: Receive the results.
    """

    def __init__(
        self,
        items: list[Item],
        config: RunConfig,
        engine: Engine,
        start: Start,
        score: Scorer,
        best: float,
        status: Status,
        reporter: Reporter,
    ) -> None:
        self.items = items
        self.sampling = Sampling(max_new_tokens=config.training.max_new_tokens, temperature=0)
        self.engine, self.start, self.score, self.best = engine, start, score, best
        self.status, self.reporter = status, reporter

    def __call__(self, when: str, step: int) -> bool:
        """Generate, score, and report a metrics row and a group of completions for each answer."""
        scored = self._answers()
        if scored is None:
            return False
        self._report(when, step, scored)
        return True

    def _answers(self) -> list[Scored] | None:
        """None if a stop was requested in between."""
        scored: list[Scored] = []
        left = self.items
        while left:
            if self.status.stop_asked:
                return None
            batch, left = left[: self.engine.batch], left[self.engine.batch :]
            written = self.engine.generate([item.prompt_ids for item in batch], self.sampling).tokens
            scored += self._scored(batch, written)
        return scored

    def _scored(self, items: list[Item], written: list[list[int]]) -> list[Scored]:
        texts = [self.engine.text(ids) for ids in written]
        answers = [item.answered(text) for text, item in zip(texts, items, strict=True)]
        return [
            Scored(item, ids, text, self.engine.cut_off(ids), total)
            for item, ids, text, total in zip(items, written, texts, self.score.many(answers), strict=True)
        ]

    def _report(self, when: str, step: int, scored: list[Scored]) -> None:
        self.reporter.row(
            "evaluation",
            step,
            {
                "when": when,
                **reward_summary([one.total for one in scored], self.best),
                "completion_length_mean": sum(len(one.ids) for one in scored) / len(scored),
                "cut_off": sum(one.cut_off for one in scored) / len(scored),
                "samples": len(scored),
                "kl": self._kl(scored),
                **self.score.take_spent().row(),
            },
        )
        for one in scored:
            self.reporter.group(
                "evaluation",
                step,
                {
                    "when": when,
                    "instruction": one.item.row["instruction"],
                    "prompt": one.item.prompt,
                    "reference": one.item.row.get("response"),
                    "completions": [completion_record(one.text, one.ids, one.cut_off, one.total, None)],
                },
            )

    def _kl(self, scored: list[Scored]) -> float | None:
        """Mean over the answers' tokens of KL(trained ‖ start), in nats, over the whole vocabulary."""
        total = 0.0
        with self.start() as begun:
            for place in range(0, len(scored), KL_BATCH):
                if self.status.stop_asked:
                    return None
                batch = scored[place : place + KL_BATCH]
                total += answers_kl(self.engine.model, begun, [(one.item.prompt_ids, one.ids) for one in batch])
        return max(0.0, total / sum(len(one.ids) for one in scored))


def answers_kl(model: Any, begun: Forward, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> float:
    """Sum over the positions of several answers of KL(trained ‖ start), in nats.

    Args:
        model: The model that is trained.
        begun: Computes with the model as it was at the start.
        pairs: (prompt tokens, answer tokens). Padded on the left, so that the answers end at the same position
            and only the logits of their positions are computed.
    """
    inputs = _left_padded([[*prompt, *answer] for prompt, answer in pairs], model.device)
    keep = max(len(answer) for _, answer in pairs) + 1
    with evaluating(model), torch.no_grad():
        trained = model(**inputs, logits_to_keep=keep).logits
        base = begun(**inputs, logits_to_keep=keep).logits
    return sum(
        _divergence(p[-len(answer) - 1 : -1], q[-len(answer) - 1 : -1])
        for p, q, (_, answer) in zip(trained, base, pairs, strict=True)
    )


def _left_padded(rows: Sequence[Sequence[int]], device: Any) -> dict[str, torch.Tensor]:
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}


def _divergence(p: torch.Tensor, q: torch.Tensor) -> float:
    """Sum of KL(p ‖ q) over rows of logits."""
    log_p, log_q = p.float().log_softmax(-1), q.float().log_softmax(-1)
    return float((log_p.exp() * (log_p - log_q)).sum())


def reward_summary(totals: Sequence[Total], best: float) -> dict[str, Any]:
    """Means over completions: ``reward``, ``reward_components`` by name, and the share ``solved``.

    Completions without a score are excluded from a reward's mean; ``no_opinion`` counts them if there are any.

    Args:
        totals: At least one.
        best: The highest possible reward.
    """
    said = [total for total in totals if total.opinion]
    parts = {
        name: [total.components[name].score for total in totals if total.components[name].opinion]
        for name in totals[0].components
    }
    silent = sum(not all(part.opinion for part in total.components.values()) for total in totals)
    return {
        "reward": sum(total.total for total in said) / max(1, len(said)),
        "reward_components": {name: sum(scores) / max(1, len(scores)) for name, scores in parts.items()},
        "solved": sum(total.total >= best - 1e-9 for total in said) / max(1, len(said)),
        **({"no_opinion": silent} if silent else {}),
    }


def completion_record(
    text: str, ids: Sequence[int], cut_off: bool, total: Total, advantage: float | None
) -> CompletionRow:
    """One completion in the form of ``completions.jsonl``. Greedy held-out answers have no advantage."""
    return {
        "text": text,
        "tokens": len(ids),
        "cut_off": cut_off,
        "total": total.total,
        "advantage": advantage,
        "components": {name: part.json() for name, part in total.components.items()},
    }
