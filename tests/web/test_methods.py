"""The methods over HTTP, and a second method throughout the application."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from core.config import parse
from core.delivery.card import front_matter
from core.export import ExportFormat
from core.methods import METHODS
from pages.wizard.groups import groups
from services.container import Services
from tests.conftest import Browser, tiny
from tests.support.second_method import install
from tests.web.runs.test_runs import follow, start


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch, services: Services) -> None:
    """Register a second method."""
    install(monkeypatch)


def unrewarded() -> dict[str, Any]:
    config = {**tiny("copied"), "method": "imitate", "imitate": {"packing": True}}
    del config["reward"]
    return config


def test_api_clients_see_every_method(client: FlaskClient) -> None:
    """What it needs, shows and reports."""
    answer = client.get("/api/methods").get_json()
    assert [one["key"] for one in answer["methods"]] == [one.key for one in METHODS]
    assert answer["default"] == "grpo"
    grpo = answer["methods"][0]
    assert (grpo["term"], grpo["section"], grpo["needs"]) == ("GRPO", "grpo", ["reward", "rollouts"])
    assert {"grpo.*", "training.*"} <= set(grpo["shows"])
    assert {"reward", "loss", "kl"} <= set(grpo["metrics"])


def test_a_run_of_a_method_without_a_reward_is_started_and_shown(
    copying: None, client: FlaskClient, services: Services, browser: Browser
) -> None:
    """From the check to the run's page, without any mention of a reward."""
    checked = client.post("/api/training/check", json=unrewarded()).get_json()
    assert checked["state"] != "not_ready"
    assert [problem for problem in checked["problems"] if problem["field"].startswith("reward")] == []
    session_id = start(client, unrewarded())
    follow(services, session_id, "completed")
    config = client.get(f"/api/training/sessions/{session_id}").get_json()["config"]
    assert config["imitate"] == {"packing": True}
    assert "reward" not in config
    assert browser.get(f"/runs/{session_id}").status_code == 200
    client.post("/api/configs/save", json={"name": "copied", "config": unrewarded()})
    assert browser.get("/configs").status_code == 200


def test_the_draft_shows_and_keeps_what_its_method_uses(copying: None, services: Services, browser: Browser) -> None:
    """Other settings are neither on the form nor in the configuration."""
    services.wizard.load({**unrewarded(), "grpo": {"clip_range": 0.3}})
    shown = [field.path for group in groups(services.wizard.draft(), {}, {}) for field in group.fields]
    assert "imitate.packing" in shown
    assert "training.batch_size" in shown
    assert not {"training.num_generations", "grpo.clip_range"} & set(shown)
    assert services.snapshots.take().review.missing == set()
    kept = services.wizard.config()
    assert (kept["method"], "reward" in kept, "grpo" in kept) == ("imitate", False, False)
    for step in ("configuration", "train"):
        assert browser.get(f"/new/{step}").status_code == 200


def test_a_draft_that_names_its_method_keeps_the_name(services: Services) -> None:
    """A loaded configuration is saved as it was."""
    config = {**tiny(), "method": "grpo"}
    services.wizard.load(config)
    assert services.wizard.config() == config
    services.wizard.load(tiny())
    assert services.wizard.config() == tiny()


def test_a_model_card_has_the_tags_of_its_method(copying: None) -> None:
    """So that the Hub lists it in the right place."""
    for config, tags in ((tiny(), ["grpo", "reinforcement-learning"]), (unrewarded(), ["imitate"])):
        head = front_matter(ExportFormat.ADAPTER, "someone/model", parse(config), "mit")
        assert head["tags"] == ["tunesmith", *tags, "lora"]
