"""Choosing the training method: what is shown, and what survives a change."""

from __future__ import annotations

from typing import Any

import pytest

from core.methods import METHODS
from services.container import Services
from tests.conftest import Browser, tiny
from tests.support.second_method import install
from tests.web.wizard.test_tabs import Tab, query

SUGGESTED = {"max_steps": 40, "batch_size": 3}
"""What the second method suggests for training."""


@pytest.fixture(autouse=True)
def copying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a second method."""
    install(monkeypatch, suggest=lambda source, on_gpu: {"training": SUGGESTED}, sentence="It copies.")


def choose(browser: Browser, key: str, **changes: str) -> Any:
    return Tab(browser, "model").send(method=key, **changes)


def training(services: Services) -> dict[str, Any]:
    return dict(services.wizard.draft().training.values)


def used(services: Services) -> dict[str, Any]:
    return dict(services.wizard.config()["training"])


def test_the_first_step_offers_every_method(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its name and description; a single method is not a choice."""
    page = browser.get("/new/model").text
    assert 'value="grpo" checked' in page.replace("\n", " ")
    assert "What do you have?" in page
    assert all(one.given for one in METHODS)
    assert "Questions with answers that can be checked" in page
    assert ">Copying<" in page
    assert "It copies." in page
    monkeypatch.setattr("core.methods.METHODS", METHODS[:1])
    assert "What do you have?" not in browser.get("/new/model").text


def test_a_choice_is_kept_and_followed_at_once(browser: Browser, services: Services) -> None:
    """Autosave and 'Continue' do the same; the default method stays unnamed unless it was named before."""
    browser.get("/new/model")
    Tab(browser, "model").send()
    assert "method" not in services.wizard.config()
    choose(browser, "imitate")
    assert services.wizard.config()["method"] == "imitate"
    page = browser.get("/new/model").text
    assert 'data-testid="step-reward"' not in page
    assert "Copying, 40 steps" in page
    assert Tab(browser, "model").send("next").location == "/new/dataset"
    assert services.wizard.config()["method"] == "imitate"


def test_suggestions_change_with_the_method(browser: Browser, services: Services) -> None:
    """Even after a form saved them unchanged."""
    suggested = training(services)
    for saved in (False, True):
        if saved:
            Tab(browser, "configuration").send()
        choose(browser, "imitate")
        assert used(services) == SUGGESTED
        choose(browser, "grpo")
        assert training(services) == used(services) == suggested


def test_what_a_person_set_stays(browser: Browser, services: Services) -> None:
    """Even if it equals the other method's suggestion, or the other method does not use it."""
    suggested = training(services)
    Tab(browser, "configuration").send(training__max_steps="41", training__batch_size="3", training__max_new_tokens="9")
    own = {"max_steps": 41, "batch_size": 3, "max_new_tokens": 9}
    Tab(browser, "reward").send(reward__preset_name="short_answer")
    choose(browser, "imitate")
    assert used(services) == {"max_steps": 41, "batch_size": 3}
    Tab(browser, "configuration").send(training__max_steps="42", imitate__packing="on")
    choose(browser, "grpo")
    assert training(services) == {**suggested, **own, "max_steps": 42}
    assert services.wizard.config()["reward"]["preset_name"] == "short_answer"
    choose(browser, "imitate")
    assert services.wizard.config()["imitate"] == {"packing": True}


def test_what_a_file_says_stays(browser: Browser, services: Services) -> None:
    """There and back, although nobody typed it."""
    config = {**tiny(batch_size=3, num_generations=3), "method": "grpo"}
    services.wizard.load(config)
    for key in ("imitate", "grpo", "imitate", "grpo"):
        choose(browser, key)
    assert services.wizard.config() == config


def test_reset_values_count_as_suggested_again(browser: Browser, services: Services) -> None:
    """After the button that resets them."""
    suggested = training(services)
    Tab(browser, "configuration").send(training__max_steps="41")
    Tab(browser, "configuration").send("suggest")
    choose(browser, "imitate")
    assert used(services) == SUGGESTED
    choose(browser, "grpo")
    assert training(services) == suggested


def test_two_tabs_choose_a_method(browser: Browser, services: Services) -> None:
    """A stale page does not undo the choice, and shows a notice."""
    stale, other = Tab(browser, "model"), Tab(browser, "model")
    other.send(method="imitate")
    answer = stale.send(model__revision="main")
    assert query(answer) == {"elsewhere": ["method"]}
    assert services.wizard.config()["method"] == "imitate"
    Tab(browser, "dataset").send(ui__kind="generated")
    train = Tab(browser, "train")
    choose(browser, "grpo")
    train.send("start")
    assert services.wizard.draft().session_id is None


def test_a_configuration_of_another_method_becomes_the_draft(browser: Browser, services: Services, client: Any) -> None:
    """With all its values; switching back to the earlier method applies its suggestions."""
    config = {
        **tiny("copied"),
        "method": "imitate",
        "imitate": {"packing": True},
        "training": {"max_steps": 5, "batch_size": 8},
    }
    del config["reward"]
    assert client.post("/api/configs/save", json={"name": "copied", "config": config}).status_code == 200
    browser.get("/configs")
    browser.post("/configs/use", form={"name": "copied"})
    assert services.wizard.config() == config
    assert not services.snapshots.take().review.missing
    browser.post("/configs/keep", form={"name": "again"})
    assert services.configs.load("again") == {**config, "name": "again"}
    choose(browser, "grpo")
    assert services.wizard.config()["reward"] == {"type": "preset", "preset_name": "arithmetic"}
    assert not services.snapshots.take().review.missing
    assert services.wizard.config()["training"]["max_steps"] == 5


def test_an_unknown_method_can_be_fixed(browser: Browser, services: Services) -> None:
    """The problem links to the choice."""
    services.wizard.load({**tiny(), "method": "guess"})
    assert services.snapshots.take().review.missing == {"model"}
    choose(browser, "grpo")
    assert services.snapshots.take().review.missing == set()
