"""The wizard in two tabs: neither undoes the other's choices, with or without scripts."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from services.container import Services
from tests.conftest import Browser


class Tab:
    """A step's page as it was when opened: it sends its whole form, with some changes."""

    def __init__(self, browser: Browser, step: str) -> None:
        self._browser, self._step = browser, step
        self.fields = fields_of(browser.get(f"/new/{step}").text)

    def send(self, action: str = "save", **changes: str) -> Any:
        named = {name.replace("__", "."): value for name, value in changes.items()}
        form = {**self.fields, **named, "action": action, "csrf_token": self._browser.csrf}
        return self._browser.post(f"/new/{self._step}", form=form)


def fields_of(page: str) -> dict[str, str]:
    """The values of a page's inputs, as a browser would send them."""
    found: dict[str, str] = {}
    for tag in re.findall(r"<input\b[^>]*>", page):
        values = {name: unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        ticked = re.search(r"\schecked\b", tag) is not None
        if (
            "name" in values
            and values.get("type") != "file"
            and (ticked or values.get("type") not in {"checkbox", "radio"})
        ):
            found[values["name"]] = values.get("value", "")
    for name, text in re.findall(r'<textarea\b[^>]*name="([^"]+)"[^>]*>([^<]*)</textarea>', page):
        found[name] = unescape(text)
    for name, options in re.findall(r'<select\b[^>]*name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'value="([^"]*)"[^>]*selected', options) or re.search(r'value="([^"]*)"', options)
        found[name] = unescape(chosen[1]) if chosen else ""
    return found


@pytest.fixture
def draft(services: Services) -> Any:
    return lambda: services.wizard.draft().sections


def query(answer: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(answer.location).query)


def test_two_tabs_change_two_fields(browser: Browser, draft: Any) -> None:
    """Both are kept, and the second tab is told what the first one changed."""
    first, second = Tab(browser, "configuration"), Tab(browser, "configuration")
    first.send(training__max_steps="7")
    answer = second.send(training__max_new_tokens="64")
    assert (draft()["training"]["max_steps"], draft()["training"]["max_new_tokens"]) == (7, 64)
    assert query(answer) == {"elsewhere": ["training.max_steps"]}
    assert "Changed in another tab and kept: &#39;Steps&#39;." in browser.get("/new/configuration").text


def test_two_tabs_change_one_field(browser: Browser, draft: Any) -> None:
    """The second is refused with a message; its other change is kept, and it stays on the step."""
    first, second = Tab(browser, "configuration"), Tab(browser, "configuration")
    first.send(training__max_steps="7")
    answer = second.send("next", training__max_steps="9", training__max_new_tokens="64")
    assert (draft()["training"]["max_steps"], draft()["training"]["max_new_tokens"]) == (7, 64)
    assert urlsplit(answer.location).path == "/new/configuration"
    assert query(answer) == {"refused": ["training.max_steps"]}
    assert "Changed in another tab: &#39;Steps&#39;. Your change here was not saved." in browser.get("/new/train").text


def test_a_check_box_of_a_stale_page_changes_nothing(browser: Browser, draft: Any) -> None:
    first, second = Tab(browser, "configuration"), Tab(browser, "configuration")
    first.fields.pop("pre_training.enabled")
    first.send()
    second.send(training__max_steps="7")
    assert draft()["pre_training"]["enabled"] is False
    assert draft()["training"]["max_steps"] == 7


def test_a_page_is_not_its_own_other_tab(browser: Browser, draft: Any) -> None:
    """Its second save may be sent before the first is answered."""
    tab = Tab(browser, "configuration")
    tab.send(training__max_steps="7", ui__sent="1.5 1")
    answer = tab.send(training__max_steps="70", ui__sent="1.5 2")
    assert draft()["training"]["max_steps"] == 70
    assert not query(answer)


def test_a_dataset_chosen_elsewhere_stays(browser: Browser, draft: Any) -> None:
    """With its own columns, whatever the stale page sends; settings that fit any dataset are saved."""
    stale = Tab(browser, "dataset")
    Tab(browser, "dataset").send(ui__kind="hub", ui__hub="openai/gsm8k", dataset__split="test")
    stale.send(dataset__system_prompt="Be brief.")
    section = draft()["dataset"]
    assert (section["source"], section["split"], section["system_prompt"]) == ("openai/gsm8k", "test", "Be brief.")
    answer = stale.send(ui__kind="generated")
    assert draft()["dataset"]["source"] == "openai/gsm8k"
    assert "dataset.source" in query(answer)["refused"][0]
    assert re.search(r'value="hub" checked', browser.get("/new/dataset").text)


def test_exercises_of_a_stale_page_bring_no_reward(browser: Browser, draft: Any) -> None:
    """Their checker comes with the choice, not with a page from before another choice."""
    Tab(browser, "dataset").send(ui__kind="tasks")
    stale = Tab(browser, "dataset")
    Tab(browser, "dataset").send(ui__kind="generated")
    stale.send(dataset__system_prompt="Be brief.")
    assert draft()["dataset"]["source"] == "generated:arithmetic"
    assert draft()["reward"]["preset_name"] == "arithmetic"


def test_a_model_and_a_reward_chosen_elsewhere_stay(browser: Browser, draft: Any) -> None:
    models, rewards = [[Tab(browser, step), Tab(browser, step)] for step in ("model", "reward")]
    models[0].send(choice="Qwen/Qwen3-0.6B")
    models[1].send(ui__setup="custom", model__lora_rank="8")
    assert draft()["model"] == {"name": "Qwen/Qwen3-0.6B", "lora_rank": 8}
    rewards[0].send(reward__preset_name="short_answer")
    rewards[1].send(ui__completion="an answer")
    assert draft()["reward"]["preset_name"] == "short_answer"


def test_a_start_waits_where_another_tab_changed_the_plan(browser: Browser, services: Services) -> None:
    """The run that starts is the one the page shows."""
    Tab(browser, "dataset").send(ui__kind="generated")
    page = Tab(browser, "train")
    Tab(browser, "configuration").send(training__max_steps="7")
    page.send("start")
    assert services.wizard.draft().session_id is None
    shown = browser.get("/new/train").text
    assert "changed in another tab" in shown
    assert "7 steps" in shown
    Tab(browser, "train").send("start")
    assert services.wizard.draft().session_id


@pytest.mark.parametrize(
    "was", ["not json", "[]", '{"sections": 1}', '{"sections": {"training": [1], "grpo": "x"}, "ui": [], "others": {}}']
)
def test_a_form_without_its_original_state_is_saved_as_sent(browser: Browser, draft: Any, was: str) -> None:
    """A program that posts the form means what it sends."""
    browser.get("/new/configuration")
    sent = browser.post("/new/configuration", form={"training.max_steps": "7", "was": was, "action": "save"})
    assert sent.status_code == 302
    assert draft()["training"]["max_steps"] == 7
