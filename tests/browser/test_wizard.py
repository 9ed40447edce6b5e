"""The wizard's draft: no input is lost."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Route, expect

from core.settings import PROJECT
from tests.browser.conftest import PATIENCE_MS, Complaints, Server

pytestmark = pytest.mark.browser

ROWS = PROJECT / "tests" / "fixtures" / "gsm8k_small.jsonl"


def open_settings(page: Page, server: Server) -> None:
    """The settings step with its first two groups expanded."""
    page.goto(f"{server.url}/new/configuration")
    for group in ("batch", "generation"):
        page.locator(f"#group-{group} > summary").click()


def saved(page: Page) -> None:
    expect(page.locator("#saved")).to_have_text("Saved")


def test_a_change_is_kept_without_a_click(page: Page, server: Server, complaints: Complaints) -> None:
    """Input is saved automatically, and a reload shows it."""
    open_settings(page, server)
    page.locator("#training-max-steps").fill("7")
    page.locator("#training-max-steps").blur()
    saved(page)
    page.reload()
    expect(page.locator("#training-max-steps")).to_have_value("7")
    assert complaints.found == []


def test_a_search_within_a_step_is_not_saved(page: Page, server: Server) -> None:
    """The query for a component is not part of your setup; a component's weight is."""
    page.clock.install()
    page.goto(f"{server.url}/new/reward")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.get_by_test_id("reward-composite").check()
    page.clock.run_for(1000)
    saved(page)
    assert len(sent) == 1
    for _ in range(2):
        page.locator("#component-search").fill("number")
        page.locator("#component-search").blur()
        page.clock.run_for(1000)
    assert len(sent) == 1
    page.locator("#total > summary").click()
    page.locator("#reward-clip-low").fill("0")
    page.clock.run_for(1000)
    saved(page)
    assert len(sent) == 2


def test_a_problem_is_shown_beside_its_field_and_nothing_is_lost(page: Page, server: Server) -> None:
    """An invalid value is kept as typed, with a correction."""
    open_settings(page, server)
    page.locator("#training-num-generations").fill("seven")
    page.locator("#training-num-generations").blur()
    expect(page.locator("#msg-training-num-generations")).to_contain_text("whole number")
    page.reload()
    expect(page.locator("#training-num-generations")).to_have_value("seven")
    page.locator("#training-num-generations").fill("5")
    page.locator("#training-num-generations").blur()
    expect(page.locator("#msg-training-num-generations")).to_contain_text("not a multiple of 'Answers per")
    page.get_by_test_id("continue").click()
    expect(page.locator("h1")).to_have_text("Training settings")


def test_two_tabs_do_not_overwrite_each_other(context: BrowserContext, server: Server) -> None:
    """Each step saves only its own part."""
    first, second = context.new_page(), context.new_page()
    open_settings(first, server)
    second.goto(f"{server.url}/new/model")
    second.get_by_test_id("continue").click()
    expect(second.locator("h1")).to_have_text("Dataset")
    first.locator("#training-max-steps").fill("9")
    first.locator("#training-max-steps").blur()
    saved(first)
    second.goto(f"{server.url}/new/train")
    expect(second.locator("#summary")).to_contain_text("SmolLM2 135M")
    expect(second.locator("#summary")).to_contain_text("9 steps")


def test_a_second_tab_shows_what_the_first_changed(context: BrowserContext, server: Server) -> None:
    """Two fields are merged; the same field is refused, and the page asks for a reload."""
    first, second = context.new_page(), context.new_page()
    for page in (first, second):
        open_settings(page, server)
    # Without leaving the field, which would save the first page again, possibly after the other tab's save.
    first.locator("#training-max-steps").fill("7")
    saved(first)
    second.locator("#training-max-new-tokens").fill("64")
    saved(second)
    expect(second.locator("#training-max-steps")).to_have_value("7")
    expect(second.locator("#flashes")).to_contain_text("Changed in another tab")
    first.locator("#training-max-new-tokens").fill("32")
    expect(first.locator("#saved")).to_have_text("Changed in another tab. Reload")
    first.locator("#saved a").click()
    expect(first.locator("#training-max-new-tokens")).to_have_value("64")
    expect(first.locator("#training-max-steps")).to_have_value("7")


def test_input_typed_during_a_save_stays(context: BrowserContext, server: Server) -> None:
    """Another tab's value in the save's response does not replace it."""
    first, second = context.new_page(), context.new_page()
    for page in (first, second):
        open_settings(page, server)
    first.locator("#training-max-steps").fill("7")
    first.locator("#training-max-steps").blur()
    saved(first)
    held: list[Route] = []
    second.route(
        "**/new/configuration", lambda route: held.append(route) if route.request.method == "POST" else route.fallback()
    )
    second.locator("#training-max-new-tokens").fill("64")
    second.locator("#training-max-new-tokens").blur()
    expect(second.locator("#saved")).to_have_text("Saving")
    second.locator("#training-max-steps").fill("9")
    for route in held:
        route.continue_()
    expect(second.locator("#saved")).to_have_text("Changed in another tab. Reload")
    expect(second.locator("#training-max-steps")).to_have_value("9")


def test_a_plan_and_a_setting_by_keyboard_alone(page: Page, server: Server, complaints: Complaints) -> None:
    """A plan is selected, a collapsed field found by its name, and Ctrl+Enter continues."""
    page.goto(f"{server.url}/new/configuration")
    page.get_by_test_id("plan-quick").press("Enter")
    expect(page.get_by_test_id("plan-quick")).to_have_attribute("aria-pressed", "true")
    page.locator("#settings-filter").fill("temperature")
    page.locator("#settings-filter").press("Enter")
    field = page.locator("#training-temperature")
    expect(field).to_be_focused()
    field.fill("0.9")
    saved(page)
    expect(page.get_by_test_id("plan-custom")).to_contain_text("Different from the suggested values: Temperature.")
    field.press("Control+Enter")
    expect(page.locator("h1")).to_have_text("Reward")
    assert complaints.found == []


def test_input_made_while_the_server_was_down_is_sent(page: Page, server: Server) -> None:
    """Automatically when the server responds again; leaving before that asks first."""
    open_settings(page, server)
    page.route(
        "**/new/configuration", lambda route: route.abort() if route.request.method == "POST" else route.fallback()
    )
    page.locator("#training-max-steps").fill("9")
    page.locator("#training-max-steps").blur()
    expect(page.locator("#saved")).to_have_text("Not saved yet")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.once("dialog", stay)
    page.get_by_test_id("step-model").click(no_wait_after=True)
    expect(page.locator("h1")).to_have_text("Training settings")
    assert asked == ["beforeunload"]
    page.unroute("**/new/configuration")
    saved(page)
    page.reload()
    expect(page.locator("#training-max-steps")).to_have_value("9")


def test_saved_is_not_shown_while_a_field_is_invalid(page: Page, server: Server) -> None:
    open_settings(page, server)
    page.locator("#training-max-steps").fill("soon")
    page.locator("#training-max-steps").blur()
    expect(page.locator("#saved")).to_have_text("One field needs a correction. What you typed is kept.")
    page.locator("#training-max-steps").fill("9")
    page.locator("#training-max-steps").blur()
    saved(page)


def test_an_upload_is_mapped_and_shown(page: Page, server: Server, complaints: Complaints) -> None:
    """A file is sent when chosen; its columns are detected; rows and the exact prompt appear."""
    page.goto(f"{server.url}/new/model")
    page.get_by_test_id("continue").click()
    page.get_by_test_id("file").set_input_files(ROWS)
    expect(page.get_by_test_id("preview").locator("tbody tr").first).to_be_visible()
    expect(page.locator("#guess")).to_contain_text("Detected automatically")
    expect(page.get_by_test_id("prompts").locator(".special").first).to_be_visible()
    page.get_by_test_id("continue").click()
    expect(page.locator("h1")).to_have_text("Training settings")
    assert complaints.found == []


def test_a_broken_file_is_refused_with_its_line(page: Page, server: Server) -> None:
    """The faulty line is named and the page is unchanged."""
    page.goto(f"{server.url}/new/dataset")
    broken = b'{"question": "1+1", "answer": "2"}\n{"question": "2+2", "answer": "4"}\n{"question": \n'
    page.get_by_test_id("file").set_input_files(
        {"name": "broken.jsonl", "mimeType": "application/json", "buffer": broken}
    )
    expect(page.locator("#upload-problem")).to_contain_text("3")


def test_a_reward_is_tried_before_training(page: Page, server: Server) -> None:
    """A right answer to a made-up row gets the full score, with the reason."""
    page.goto(f"{server.url}/new/dataset")
    page.get_by_test_id("kind-generated").check()
    page.get_by_test_id("continue").click()
    page.goto(f"{server.url}/new/reward")
    page.get_by_role("button", name="Correct answer", exact=True).click()
    expect(page.get_by_test_id("try-total")).to_have_text("1.20")
    page.get_by_test_id("try-completion").fill("<SOLUTION>nothing</SOLUTION>")
    page.get_by_test_id("try-button").click()
    expect(page.get_by_test_id("try-total")).to_have_text("0.20")


def test_the_wizard_works_without_scripts(chromium: Browser, server: Server) -> None:
    """The same forms work with plain requests, and a button fixes what prevents the start."""
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{server.url}/new/model")
    page.get_by_test_id("continue").click()
    page.get_by_test_id("kind-upload").check()
    page.get_by_test_id("file").set_input_files(ROWS)
    page.get_by_test_id("upload").click()
    expect(page.get_by_test_id("preview").locator("tbody tr").first).to_be_visible()
    page.get_by_test_id("continue").click()
    page.get_by_test_id("continue").click()
    page.get_by_test_id("continue").click()
    expect(page.locator("h1")).to_have_text("Start training")
    # 40 rows leave too few held-out ones: reported and fixed. The suggested lengths already suit the file.
    expect(page.get_by_text("Ready, but check 1 warning first.")).to_be_visible()
    page.get_by_test_id("fix-evaluation-holdout_fraction").click()
    expect(page.get_by_text("Ready to start.")).to_be_visible()
    page.context.close()
