"""The paired evaluation at the end of a run, computed from answers that already exist."""

from __future__ import annotations

import logging

from core.config import RunConfig
from core.evaluation import RunEvaluation, paired_report, run_pairs
from core.job_dir import JobDir, iter_rows, write_json
from core.job_rows import is_group

log = logging.getLogger("tunesmith")


def compare_run(run: JobDir, config: RunConfig, best: float, step: int) -> None:
    """Write ``evaluation.json``: the held-out answers before the first step compared with those of the result.

    Without held-out rows there is nothing to compare and no file. After a resume it writes the same file, because it
    reads ``completions.jsonl``.

    Args:
        best: The highest possible reward.
        step: The result's training step, usually the last one.
    """
    pairs = run_pairs(iter_rows(run.completions, is_group), best, step)
    first = "the model it went on from" if config.model.continue_from else "the base model"
    report = paired_report(pairs, first=first, second="the trained model", seed=config.training.seed)
    if report is None:
        return
    write_json(run.evaluation, RunEvaluation(step=step, report=report).model_dump(mode="json"))
    log.info("%s", report.sentence)
