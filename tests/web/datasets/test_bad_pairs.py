"""Pairs that nothing can be learned from are found before the model is loaded."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient


@pytest.mark.parametrize("method", ["dpo", "orpo"])
@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (("same", " same "), "20 rows: both answers are the same"),
        (("", "worse"), "20 rows: the answer is empty"),
        (("better", None), "20 rows: the worse answer is empty"),
    ],
)
def test_a_run_without_a_usable_pair_cannot_start(client: FlaskClient, method: str, pair: Any, reason: str) -> None:
    """The readiness check says why, with the field to change."""
    rows = "".join(json.dumps({"q": f"Question {n}?", "good": pair[0], "bad": pair[1]}) + "\n" for n in range(20))
    made = client.post("/api/datasets/upload", data={"file": (io.BytesIO(rows.encode()), "pairs.jsonl")}).get_json()
    config = {
        "name": "x", "method": method, "model": {"name": "builtin:smollm2-135m-instruct"},
        "dataset": {
            "source": made["source"], "instruction_field": "q", "chosen_field": "good", "rejected_field": "bad",
        },
    }  # fmt: skip
    problems = client.post("/api/training/check", json=config).get_json()["problems"]
    found = [one for one in problems if reason in one["message"]]
    assert [one["severity"] for one in found] == ["blocks"], problems
