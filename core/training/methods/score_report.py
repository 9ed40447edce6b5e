"""Makes the report on a reward model at the end of its run; see :mod:`core.reward_report`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import isfinite

from core import reward_report
from core.data import prompts
from core.job import JobPhase, JobState
from core.job_dir import write_json
from core.methods.reward_model import RewardModelSection
from core.reward_report import FLATTERY, PairScores
from core.training.job.status import Stopped
from core.training.method_rows import Item, encode
from core.training.methods.training_job import TrainingJob
from core.training.models.score import scores, shortened, text_ids

log = logging.getLogger("tunesmith")


def write_report(job: TrainingJob, step: int) -> None:
    """Score the held-out pairs and write ``reward_report.json``. Without held-out pairs there is nothing to report.

    Args:
        job: The run, whose model is trained.
        step: The last training step.

    Raises:
        Stopped: A stop was requested; a resume makes the report.
    """
    items = job.data.holdout[: job.config.own(RewardModelSection).report_pairs]
    if not items:
        return
    job.status.update(
        state=JobState.RUNNING, phase=JobPhase.EVALUATE, message=f"Testing the scores on {len(items)} held-out pairs"
    )
    found: list[PairScores] = []
    for item in items:
        if job.status.stop_asked:
            raise Stopped("Stopped before the report on the scores was complete. Resume makes it.")
        scored = _scored(job, item)
        if scored is None:
            job.status.note("There is no report on the scores, because a score is not a finite number.")
            return
        found.append(scored)
    made = reward_report.report(step, found, job.config.training.seed)
    write_json(job.run.reward_report, made.model_dump(mode="json"))
    right = made.accuracy
    log.info("right on %d of %d held-out pairs (%.0f%%)", right.count, right.of, 100 * right.share)


def _scored(job: TrainingJob, item: Item) -> PairScores | None:
    """None if a score is not a finite number."""
    chosen, rejected, key = str(item.row["chosen"]), str(item.row["rejected"]), reward_report.key_of(item.row)
    mixed = reward_report.shuffled(chosen, key)
    texts = [chosen, rejected, "", FLATTERY + chosen, FLATTERY + rejected, *([mixed] if mixed is not None else [])]
    found = scores(job.loaded.model, _ids(job, item, texts))
    if not all(map(isfinite, found)):
        return None
    return PairScores(
        key=key,
        chosen=found[0],
        rejected=found[1],
        chosen_tokens=len(encode(chosen, job.loaded.tokenizer)),
        rejected_tokens=len(encode(rejected, job.loaded.tokenizer)),
        empty=found[2],
        flattered=found[3],
        rejected_flattered=found[4],
        shuffled=found[5] if mixed is not None else None,
    )


def _ids(job: TrainingJob, item: Item, answers: Sequence[str]) -> list[list[int]]:
    asked, most = prompts.conversation(item.row, job.config.dataset), job.config.training.max_sequence_length
    return [shortened(text_ids(asked, answer, job.loaded.tokenizer), most) for answer in answers]
