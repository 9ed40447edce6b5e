"""Rewards in the browser: written, tested, attacked, and confirmed before a start."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from core.rewards.sandbox import protection
from tests.browser.conftest import Complaints, Server

pytestmark = [pytest.mark.browser, pytest.mark.skipif(protection().level is None, reason="no sandbox on this machine")]

SOURCE = "def reward(completion, prompt, row):\n    return 1 / (1 + len(completion)), 'the shorter the better'"

FIRST_LETTER = """
(area) => {
  const style = getComputedStyle(area)
  // The code editor has its upper padding around the text area.
  const top = area.getBoundingClientRect().top + parseFloat(style.paddingTop)
  const left = area.getBoundingClientRect().left + parseFloat(style.paddingLeft)
  return [style.fontFamily, style.fontSize, style.lineHeight, Math.round(top), Math.round(left)]
}
"""


def sums(page: Page, server: Server) -> None:
    """A draft with the small sums."""
    page.goto(f"{server.url}/new/model")
    page.get_by_test_id("continue").click()
    page.goto(f"{server.url}/new/dataset")
    page.get_by_test_id("kind-generated").check()
    page.get_by_test_id("continue").click()
    expect(page.get_by_test_id("form-configuration")).to_be_visible()


def test_an_own_reward_from_the_editor_to_a_confirmed_start(page: Page, server: Server, complaints: Complaints) -> None:
    """Written, tested, saved and used in the draft; the last page warns about loopholes and asks first."""
    page.goto(f"{server.url}/rewards")
    page.get_by_test_id("reward-name").fill("brevity")
    page.get_by_test_id("new-python").click()
    expect(page.get_by_test_id("editor")).to_be_visible()
    page.get_by_text("Python code", exact=True).click()
    for key in ("Control+A", "Delete"):
        page.keyboard.press(key)
    page.keyboard.insert_text(SOURCE)
    expect(page.locator(".token.keyword", has_text="def")).to_be_visible()
    page.keyboard.press("Enter")  # keeps the indentation
    page.keyboard.press("Tab")
    assert page.locator("#source").input_value() == f"{SOURCE}\n        "
    page.keyboard.press("Control+Z")
    assert page.locator("#source").input_value() == f"{SOURCE}\n    "
    # Tab indents; after Escape it moves the focus.
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.locator("#samples > summary")).to_be_focused()
    page.get_by_test_id("try-source").click()
    expect(page.get_by_test_id("tried")).to_contain_text("the shorter the better")
    page.get_by_test_id("save-source").click()
    expect(page.get_by_role("heading", name="brevity")).to_be_visible()
    expect(page.locator("main")).to_contain_text("Version 1")
    sums(page, server)
    page.goto(f"{server.url}/rewards")
    page.get_by_role("button", name="Use in setup").click()
    for step in ("configuration", "reward"):
        page.goto(f"{server.url}/new/{step}")
        page.get_by_test_id("continue").click()
    page.goto(f"{server.url}/new/train")
    expect(page.get_by_test_id("issue").filter(has_text="This reward has loopholes").first).to_be_visible()
    page.get_by_test_id("start").click()
    expect(page.get_by_test_id("flash")).to_contain_text("The run was not started. This reward has loopholes")
    expect(page.get_by_test_id("probe")).to_be_visible()
    assert complaints.found == []


@pytest.mark.parametrize("width", [1280, 400, 320])
def test_the_editor_takes_the_text_area_s_place_exactly(page: Page, server: Server, width: int) -> None:
    """Content below does not move when the script loads late, and neither does the first line."""
    held: list[Route] = []
    page.route("**/rewards_edit.js", lambda route: held.append(route))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{server.url}/rewards/brevity", wait_until="commit")
    samples, code = page.locator("#samples"), page.locator(".code-editor")
    expect(samples).to_be_visible()
    source = page.get_by_test_id("source")
    before = samples.bounding_box(), code.bounding_box(), source.evaluate(FIRST_LETTER)
    held[0].continue_()
    expect(page.get_by_test_id("editor")).to_be_visible()
    assert (samples.bounding_box(), code.bounding_box(), source.evaluate(FIRST_LETTER)) == before


def test_the_bench_shows_each_attempt(page: Page, server: Server, complaints: Complaints) -> None:
    """On the draft's rows: the components of a typed answer, and the table of attempts."""
    sums(page, server)
    page.goto(f"{server.url}/rewards/bench")
    page.get_by_label("Reward", exact=True).select_option("preset:arithmetic")
    page.get_by_test_id("completions").fill("<SOLUTION>1</SOLUTION>\n---\nno idea")
    page.get_by_test_id("score").click()
    expect(page.locator("article.card")).to_have_count(2)
    page.get_by_test_id("attack").click()
    expect(page.get_by_test_id("report")).to_contain_text(
        "No loopholes found. Nothing scored as high as the correct answer."
    )
    assert complaints.found == []
