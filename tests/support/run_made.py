"""A run's folder as a worker writes it, added to the database; and a page's text."""

from __future__ import annotations

from collections.abc import Sequence
from html import unescape
from typing import Any

from core.config import dump, parse
from core.evaluation import Answered, RunEvaluation, paired_report
from core.job import Control, JobState, JobStatus
from core.job_dir import JobDir, JsonlWriter, write_json
from services.container import Services
from services.jobs.rebuild import rebuild
from tests.conftest import Browser, tiny

RUN = "20260101-090000-aaaaaa"
OTHER = "20260101-090000-bbbbbb"


def make(
    services: Services,
    state: JobState,
    rewards: Sequence[float] = (),
    *,
    run_id: str = RUN,
    config: dict[str, Any] | None = None,
    held: tuple[Sequence[float], Sequence[float]] | None = None,
    checkpoint: int | None = None,
    **status: Any,
) -> JobDir:
    """Create a run's folder and add it to the database."""
    run = JobDir(services.settings.home.outputs / run_id)
    run.path.mkdir(parents=True)
    whole = dump(parse(config or tiny()))
    write_json(
        run.config,
        {"kind": "train", "name": whole["name"], "created_at": "2026-01-01T09:00:00+00:00", "config": whole},
    )
    run.write_control(Control())
    run.write_status(JobStatus(state=state, step=len(rewards), max_steps=6, checkpoint_step=checkpoint, **status))
    writer = JsonlWriter(run.metrics)
    for step, reward in enumerate(rewards, 1):
        writer.append({"phase": "training", "step": step, "reward": reward, "cut_off": 0.0})
    writer.close()
    if checkpoint is not None:
        (run.checkpoints / f"checkpoint-{checkpoint}").mkdir(parents=True)
    if rewards:
        run.adapter.mkdir()
    if held:
        answers = [[Answered("q", "a", "t", total, {}, total >= 1.2) for total in one] for one in held]
        report = paired_report(zip(*answers, strict=True), first="the original model", second="the trained model")
        assert report
        write_json(run.evaluation, RunEvaluation(step=6, report=report).model_dump(mode="json"))
    rebuild(services.settings.home, services.database)
    return run


def text(browser: Browser, path: str) -> str:
    """A page's text with decoded entities."""
    response = browser.get(path)
    assert response.status_code == 200, path
    return unescape(response.get_data(as_text=True))
