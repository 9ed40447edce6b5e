"""The wizard of a method that needs no reward and has the model write nothing while it trains."""

from __future__ import annotations

import re
from typing import Any

import pytest

from services.container import Services
from tests.conftest import Browser, tiny
from tests.support.second_method import install

STEPS = ("model", "dataset", "dataset/preparation", "configuration", "train", "export", "test")


@pytest.fixture(autouse=True)
def copying(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second method is in the list."""
    install(monkeypatch)


@pytest.fixture
def copied(services: Services) -> dict[str, Any]:
    """The draft is complete, of the second method."""
    config = {name: section for name, section in tiny().items() if name != "reward"} | {"method": "imitate"}
    services.wizard.load(config)
    return config


def steps_on(page: str) -> list[str]:
    return re.findall(r'data-testid="step-([a-z]+)"', page)


def test_no_step_summary_or_link_is_about_a_reward(copied: None, browser: Browser) -> None:
    """Back and Continue lead past it, too."""
    for step in STEPS:
        page = browser.get(f"/new/{step}").text
        assert steps_on(page) == ["model", "dataset", "configuration", "train", "export", "test"]
        assert "<dt>Reward</dt>" not in page
        assert "<dt>Answers</dt>" not in page
        assert "Set the reward" not in page
    assert "Set the reward" not in browser.get("/runs").text
    assert 'class="button" href="/new/configuration"' in browser.get("/new/train").text
    assert browser.post("/new/configuration", form={"action": "next"}).location == "/new/train"


def test_the_address_of_the_reward_leads_to_the_next_step(copied: None, browser: Browser) -> None:
    """And says why; a page of it that is still open keeps what it sends for another method."""
    assert browser.get("/new/reward").location == "/new/train"
    assert "The chosen training method needs no reward." in browser.get("/new/train").text
    sent = browser.post("/new/reward", form={"reward.preset_name": "short_answer", "action": "next"})
    assert sent.location == "/new/train"


def test_no_probe_is_offered_or_started(copied: None, browser: Browser, services: Services) -> None:
    """It tries a reward on answers of the model."""
    assert "Will it learn?" not in browser.get("/new/train").text
    assert browser.post("/new/train", form={"action": "probe"}).location == "/new/train"
    assert "needs no probe" in browser.get("/new/train").text
    assert services.database.unfinished() == []


def test_a_draft_that_was_not_looked_through_is_led_past_the_reward(browser: Browser, services: Services) -> None:
    """Once the other steps were."""
    services.wizard.put(method="imitate", dataset={"source": "generated:arithmetic"})
    for step in ("model", "dataset", "configuration"):
        assert browser.get("/new").location == f"/new/{step}"
        services.wizard.remember(step, visited=True)
    assert browser.get("/new").location == "/new/train"
