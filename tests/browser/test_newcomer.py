"""A newcomer's path: a file that is not about math, from the home page to a chat with the result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import Complaints, Server, ask, serve
from tests.browser.test_road import MODEL
from tests.browser.test_road import TRAINING_MS as ROAD_MS

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.training, pytest.mark.timeout(2400)]

THINGS = ("lamp", "kettle", "radio", "chair", "clock", "mixer", "heater", "phone")
TEAMS = {
    "billing": "I was charged twice for the {}.",
    "shipping": "When will the {} arrive?",
    "returns": "I want to send the {} back.",
    "account": "I cannot log in to see my order of a {}.",
    "support": "The {} does not turn on.",
}
MOST_CLICKS = 25
TRAINING_MS = 2 * ROAD_MS
"""The suggested run is longer than the one in test_road.py, which sets its own lengths."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if not MODEL.is_dir():
        pytest.skip("the built-in model is not installed: run setup")
    yield from serve(tmp_path / "home")


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """Forty messages to a shop, each with the team that answers it."""
    file = tmp_path / "tickets.csv"
    rows = [f"{message.format(thing)},{team}" for thing in THINGS for team, message in TEAMS.items()]
    file.write_text("\n".join(["message,team", *rows]))
    return file


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Forty messages to a shop, each with a better and a worse answer."""
    file = tmp_path / "answers.jsonl"
    rows = (
        {
            "question": message.format(thing),
            "better": f"I am sorry about the {thing}. The {team} team answers you today.",
            "worse": f"Ask the {team} team about the {thing}.",
        }
        for thing in THINGS
        for team, message in TEAMS.items()
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


class Hand:
    """Counts clicks."""

    def __init__(self) -> None:
        self.clicks = 0

    def click(self, what: Locator) -> None:
        what.click()
        self.clicks += 1


def heading(page: Page, text: str) -> None:
    expect(page.locator("h1")).to_have_text(text)


def test_a_newcomer_gets_from_a_file_to_a_chat(
    context: BrowserContext, server: Server, tickets: Path, complaints: Complaints
) -> None:
    """With the suggestions on every page: only the message for the final model is typed."""
    context.set_default_timeout(60_000)
    page, hand = context.new_page(), Hand()
    complaints.listen(page)
    page.goto(server.url)
    hand.click(page.get_by_role("link", name="Use my own data"))
    heading(page, "Model")
    hand.click(page.get_by_test_id("continue"))
    heading(page, "Dataset")
    with page.expect_file_chooser() as chooser:
        hand.click(page.get_by_test_id("file"))
    chooser.value.set_files(tickets)
    expect(page.get_by_test_id("prompts")).to_contain_text("Answer with one of these labels: account, billing")
    hand.click(page.get_by_test_id("continue"))
    heading(page, "Training settings")
    hand.click(page.get_by_role("button", name="Quick try"))
    expect(page.locator("#summary")).to_contain_text("10 steps")
    hand.click(page.get_by_test_id("continue"))
    heading(page, "Reward")
    expect(page.locator("main")).to_contain_text("Suggested for your data: Short answer")
    hand.click(page.get_by_test_id("continue"))
    heading(page, "Start training")
    hand.click(page.get_by_role("button", name="Hold out 15 questions"))
    expect(page.locator("#problems")).to_contain_text("Ready to start")
    hand.click(page.get_by_test_id("start"))
    expect(page.get_by_test_id("run-status")).to_contain_text("completed", ignore_case=True, timeout=TRAINING_MS)
    expect(page.get_by_test_id("verdict")).not_to_be_empty()
    hand.click(page.get_by_test_id("go-export"))
    hand.click(page.get_by_test_id("create-export"))
    expect(page.get_by_test_id("export-status")).to_contain_text("completed", ignore_case=True, timeout=TRAINING_MS)
    hand.click(page.get_by_role("link", name="Chat with the model"))
    page.get_by_test_id("chat-prompt").fill("The kettle does not turn on.")
    hand.click(page.get_by_test_id("chat-send"))
    expect(page.locator("[data-side] .facts").first).to_contain_text("token", timeout=TRAINING_MS)
    assert hand.clicks <= MOST_CLICKS
    assert complaints.found == []


def test_a_newcomer_gets_from_pairs_to_a_run_that_is_ready(
    context: BrowserContext, server: Server, pairs: Path, complaints: Complaints
) -> None:
    """The first question leads to DPO, the columns are detected, and both answers are shown with their difference."""
    context.set_default_timeout(60_000)
    page = context.new_page()
    complaints.listen(page)
    page.goto(f"{server.url}/new/model")
    page.get_by_text("Pairs of a better and a worse answer").first.scroll_into_view_if_needed()
    page.get_by_test_id("method-dpo").check()
    expect(page.get_by_test_id("step-reward")).to_have_count(0)
    page.get_by_test_id("continue").click()
    heading(page, "Dataset")
    page.get_by_test_id("file").set_input_files(pairs)
    expect(page.locator("#guess")).to_contain_text("question → better (better), worse (worse)")
    expect(page.get_by_test_id("fit")).to_be_empty()
    row = page.get_by_test_id("mapped-row").first
    expect(row).to_contain_text("Better answer")
    expect(row.locator("mark").first).to_have_text("I am sorry")
    expect(page.get_by_test_id("prompts")).not_to_contain_text("working out")
    page.get_by_test_id("continue").click()
    heading(page, "Training settings")
    page.get_by_role("button", name="Quick try").click()
    page.get_by_test_id("continue").click()
    heading(page, "Start training")
    expect(page.locator("#problems")).to_contain_text("Ready")
    assert complaints.found == []


def test_pairs_that_are_missing_are_named_with_a_way_out(
    context: BrowserContext, server: Server, tickets: Path, complaints: Complaints
) -> None:
    """DPO with a file that has one answer per row: Continue stays, and the button that fits keeps the file."""
    context.set_default_timeout(60_000)
    page = context.new_page()
    complaints.listen(page)
    page.goto(f"{server.url}/new/model")
    page.get_by_test_id("method-dpo").check()
    page.get_by_test_id("continue").click()
    page.get_by_test_id("file").set_input_files(tickets)
    expect(page.get_by_test_id("fit")).to_contain_text("No column with worse answers was found in this dataset.")
    page.get_by_test_id("continue").click()
    heading(page, "Dataset")
    page.get_by_test_id("fit-method").click()
    expect(page.get_by_test_id("flash")).to_contain_text("The training method is now SFT.")
    expect(page.get_by_test_id("fit")).to_be_empty()
    expect(page.locator("#guess")).to_contain_text("message → team")
    page.get_by_test_id("continue").click()
    heading(page, "Training settings")
    assert complaints.found == []


def test_wrong_turns_are_caught_with_a_way_out(
    context: BrowserContext, server: Server, tickets: Path, tmp_path: Path
) -> None:
    """An unreachable model, a file without answers, a reload, a second tab, and a premature start."""
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(f"{server.url}/new/model")
    page.get_by_test_id("model-other").check()
    page.locator("#model-name").fill("Qwen/Qwen3-0.6B-typo")
    page.get_by_test_id("continue").click()
    page.goto(f"{server.url}/new/train")
    expect(page.locator("#problems")).to_contain_text("Not on this machine")
    page.locator("#problems a", has_text="Base model").first.click()
    page.get_by_test_id("model-builtin-smollm2-135m-instruct").check()
    page.get_by_test_id("continue").click()

    bare = tmp_path / "messages.csv"
    bare.write_text("\n".join(["message", *(f"The {thing} is broken." for thing in THINGS)]))
    page.get_by_test_id("file").set_input_files(bare)
    page.get_by_role("button", name="First line is column names").click()
    expect(page.get_by_test_id("preview").locator("tbody tr").first).to_be_visible()
    page.get_by_test_id("continue").click()
    heading(page, "Dataset")
    expect(page.locator("main")).to_contain_text("hoose the answer column")
    page.get_by_test_id("file").set_input_files(tickets)
    expect(page.get_by_test_id("preview")).to_contain_text("billing")
    page.reload()
    expect(page.get_by_test_id("preview")).to_contain_text("billing")
    page.get_by_test_id("continue").click()
    heading(page, "Training settings")

    other = context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="Quick try").click()
    expect(other.locator("#summary")).to_contain_text("10 steps")
    page.get_by_test_id("continue").click()
    heading(page, "Reward")
    page.goto(f"{server.url}/new/train")
    expect(page.locator("main")).to_contain_text("10 steps")
    page.get_by_test_id("start").dblclick()
    expect(page.get_by_test_id("run-status")).to_be_visible()
    page.get_by_test_id("stop-now").click()
    page.get_by_test_id("agree").click()
    expect(page.get_by_test_id("run-status")).to_contain_text("stopped", ignore_case=True, timeout=TRAINING_MS)
    assert len(json.loads(ask(server, "GET", "/api/training/sessions"))["sessions"]) == 1
