"""What a model reference resolves to: its training prompts, and whether a file is a GGUF."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from core.errors import NotFound
from pages.models.chats import training_prompt
from services.container import Services
from tests.conftest import tiny
from tests.web.runs.test_runs import follow, start


def test_a_trained_model_gets_its_training_prompts(client: FlaskClient, services: Services) -> None:
    """For a run and each checkpoint; a base model has none, and an unknown run is not found."""
    config = tiny("sums", max_steps=1)
    config["dataset"]["system_prompt"] = "Answer in {solution_start}{solution_end}."
    session_id = start(client, config)
    follow(services, session_id, "completed")
    for reference in (f"session:{session_id}", f"session:{session_id}@1"):
        assert training_prompt(services, reference) == "Answer in <SOLUTION></SOLUTION>."
    assert training_prompt(services, "builtin:smollm2-135m-instruct") == ""
    with pytest.raises(NotFound):
        training_prompt(services, "session:gone")


def test_a_file_that_is_not_a_gguf_is_reported(client: FlaskClient, tmp_path: Path) -> None:
    """Before a process is started for it."""
    (tmp_path / "page.gguf").write_text("<html>not found</html>")
    body = {"model_path": str(tmp_path / "page.gguf"), "prompt": "hello"}
    answer = client.post("/api/models/test", json=body)
    assert answer.status_code == 400
    assert "page.gguf is not a valid GGUF file" in (answer.json or {})["error"]["message"]
