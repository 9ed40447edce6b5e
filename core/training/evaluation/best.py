"""Which evaluation was best, whether the run should end because of it, and which weights are its result.

Everything is derived from the evaluations in ``metrics.jsonl``, so a resumed run decides like the uninterrupted one.
A checkpoint is saved before each evaluation in training (:class:`core.training.methods.trl.Progress`), so the best
evaluation always has one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.config import RunConfig
from core.job_dir import JobDir, iter_rows, read_model, write_json
from core.job_rows import is_metric
from core.kept import Kept, best_of, values_of
from core.methods import method
from core.metric import Better
from core.training.job import checkpoint
from core.weights import published as published_folder


class Best:
    """Follows the evaluations of a run.

    The metric is the one that sums up the method, such as the loss or the reward.

    Args:
        config: The run's configuration.
        run: Its directory.

    Attributes:
        wanted: Whether the run keeps its best checkpoint or may end early.
        keeps: Whether it keeps its best checkpoint.
    """

    def __init__(self, config: RunConfig, run: JobDir) -> None:
        lead = method(config.method).described[0]
        self._run, self._key, self._better = run, lead.key, lead.better
        self._what = "model" if config.model.adapter == "none" else "adapter"
        self.patience = config.evaluation.early_stop
        self.keeps = config.evaluation.keep_best and lead.better is not Better.NEITHER
        self.wanted = lead.better is not Better.NEITHER and (self.keeps or self.patience is not None)

    def follow(self, tokenizer: Any) -> bool:
        """Called after an evaluation: note the best one and, if it is to be kept, publish its weights.

        Returns:
            Whether so many evaluations were not better since that the run should end now.
        """
        kept = self._read() if self.wanted else None
        if kept is None:
            return False
        if noted := read_model(self._run.kept, Kept):
            # It may be called once more after the last evaluation of a run that has ended early.
            kept = kept.model_copy(update={"ended": noted.ended, "planned": noted.planned})
        self._keep(kept, tokenizer)
        return self.patience is not None and kept.since >= self.patience

    def step(self) -> int | None:
        """The step of the best evaluation so far, if its adapter is to be the result."""
        kept = self._read() if self.keeps else None
        return kept.step if kept and self._folder(kept).is_dir() else None

    def published(self) -> Kept | None:
        """What is noted, if the weights of the best evaluation are published."""
        kept = read_model(self._run.kept, Kept)
        return kept if self.keeps and kept and kept.published and self._folder(kept).is_dir() else None

    def ended(self, tokenizer: Any, last: int, planned: int) -> None:
        """Note that the run ends early, after step ``last``."""
        if (kept := self._read()) is not None:
            self._keep(kept.model_copy(update={"ended": last, "planned": planned}), tokenizer)

    def conclusion(self, tokenizer: Any, last: int) -> str:
        """Publish the final weights, after the last evaluation.

        Args:
            tokenizer: Published with it.
            last: The last step.

        Returns:
            The run's last message.
        """
        kept, noted = self._read() if self.wanted else None, read_model(self._run.kept, Kept)
        if kept is None:
            return "Finished"
        if noted and noted.ended == last:
            kept = kept.model_copy(update={"ended": last, "planned": noted.planned})
        self._keep(kept, tokenizer)
        newest = checkpoint.latest(self._run)
        if self.keeps and newest and not self.published():
            checkpoint.publish(self._run, newest, tokenizer)
        return " ".join([words(kept), *self._result(kept, last)])

    def _result(self, kept: Kept, last: int) -> list[str]:
        if not self.published() or kept.step == last:
            return []
        return [f"The result is the {self._what} of step {kept.step}, which had the best evaluation."]

    def _read(self) -> Kept | None:
        values = values_of(iter_rows(self._run.metrics, is_metric), self._key)
        found = best_of(values, lower=self._better is Better.LOWER)
        if found is None:
            return None
        step, since = found
        return Kept(metric=self._key, step=step, value=values[step], since=since)

    def _keep(self, kept: Kept, tokenizer: Any) -> None:
        folder = self._folder(kept)
        published = self.keeps and folder.is_dir()
        before = read_model(self._run.kept, Kept)
        if published and not (before and before.published and before.step == kept.step and published_folder(self._run)):
            checkpoint.publish(self._run, folder, tokenizer)
        write_json(self._run.kept, kept.model_copy(update={"published": published}).model_dump(mode="json"))

    def _folder(self, kept: Kept) -> Path:
        return self._run.checkpoints / f"checkpoint-{kept.step}"


def words(kept: Kept) -> str:
    """Why the run ended: 'Finished' or the reason for ending early."""
    if kept.ended is None:
        return "Finished."
    times = "evaluation" if kept.since == 1 else f"{kept.since} evaluations"
    return (
        f"Ended early after step {kept.ended} of {kept.planned}, because the last {times} "
        f"{'was' if kept.since == 1 else 'were'} not better than that of step {kept.step}."
    )
