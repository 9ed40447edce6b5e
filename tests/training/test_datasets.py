"""A prepared mixture of an upload and exercises in the real worker: the previewed rows are trained on."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from core.config import parse
from core.data import uploads
from core.data.pipeline import prepare_rows
from core.job import JobState
from core.job_dir import iter_lines, read_json
from core.rewards import markers_of
from core.rewards.selfcheck import earns_with_reference
from core.settings import Home
from tests.training.worker_runs import TINY, changed, make_run, work

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_signals")]

TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}<answer>"


def test_a_run_trains_on_the_prepared_mixture(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sources by weight, answers extracted, duplicates removed, a custom template, the same hash."""
    sums = [{"question": f"How much is {n} and {n + 1}?", "answer": f"So.\n#### {2 * n + 1}"} for n in range(40)]
    lines = [json.dumps(row) for row in sums]
    data = "\n".join([*lines, lines[0]]).encode()
    info = uploads.store(io.BytesIO(data), "sums.jsonl", models.uploads, 1 << 20)
    mine = {"source": f"upload:{info.id}", "extraction": "after_marker", "extraction_pattern": "####", "weight": 2.0}
    made = {"source": "generated:reasoning-gym", "size": 20, "tasks": [{"name": "chain_sum", "difficulty": 0}]}
    dataset: dict[str, Any] = {
        "source": "mix", "mix": [mine, made], "system_prompt": "Add.",
        "chat_template": TEMPLATE,
        "deduplicate": "exact",
    }  # fmt: skip
    config = changed(TINY, dataset=dataset, training__max_steps=1, training__max_sequence_length=256)
    run = make_run(models, "mixed", config)
    assert work(run, monkeypatch, models) == JobState.COMPLETED
    recorded = read_json(run.prepared / "info.json") or {}
    complete = parse(config)
    parses = earns_with_reference(complete.reward, markers_of(complete.dataset))
    expected = prepare_rows(complete, models, parses)
    assert recorded["sha256"] == expected.sha256
    assert recorded["left_out"] == {"duplicate of an earlier row": 1}
    rows = [*iter_lines(run.prepared / "train.jsonl"), *iter_lines(run.prepared / "holdout.jsonl")]
    assert sum("reasoning_gym" in row for row in rows) == 20
    assert {row["response"].isdigit() for row in rows if "full_response" in row} == {True}
    for group in iter_lines(run.completions):
        assert group["prompt"] == f"<system>Add.<user>{group['instruction']}<answer>"
    assert "<answer>" in (run.adapter / "chat_template.jinja").read_text("utf-8")
