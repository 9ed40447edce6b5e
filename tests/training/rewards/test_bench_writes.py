"""The test page scores what the built-in model really writes."""

from __future__ import annotations

import pytest

from core.settings import Home, Settings
from flask_app import create_app
from tests.training.worker_runs import needs_model

pytestmark = [pytest.mark.training, pytest.mark.slow, needs_model]


def test_answers_of_the_real_model_are_scored_by_two_rewards(models: Home) -> None:
    """The prompt follows the configuration; the answers come back with every component's score and reason."""
    prompt = "Write the result between {solution_start} and {solution_end} and nothing else."
    sums = {"source": "generated:arithmetic", "size": 16, "max_operand": 5, "system_prompt": prompt}
    words = {"type": "composite", "components": [{"name": "length", "params": {"minimum": 1, "maximum": 400}}]}
    body = {
        "reward": {"type": "preset", "preset_name": "arithmetic"}, "compare": words, "dataset": sums, "row": 1,
        "model": "builtin:smollm2-135m-instruct", "samples": 2,
    }  # fmt: skip
    app = create_app(Settings.from_env({"TUNESMITH_HOME": str(models.root)}))
    try:
        answer = app.test_client().post("/api/rewards/bench", json=body).json
    finally:
        app.extensions["tunesmith"].close()
    assert answer is not None
    assert len(answer["completions"]) == 2
    assert all(text.strip() for text in answer["completions"])
    sums_scores, length_scores = answer["rewards"]
    for text, by_sums, by_length in zip(answer["completions"], sums_scores, length_scores, strict=True):
        assert set(by_sums["components"]) == {"numeric", "format"}
        assert all(part["why"] for part in by_sums["components"].values())
        assert by_length["components"]["length"]["why"].startswith(f"{len(text.split())} words")
