"""Datasets in a real browser: chunked uploads, a broken connection, bad rows, a live mapping preview."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from services.forms.fields import field_title
from tests.browser.conftest import Complaints, Server, serve
from tests.browser.test_pages import serious
from tests.support.live import FAKE_SERVER, held

pytestmark = pytest.mark.browser

ROWS = [{"question": f"What is {n} + {n}, and why is it so?", "answer": f"Add.\n#### {2 * n}"} for n in range(200)]
NARROW = 400
RULE = field_title("dataset.extraction")


def made(folder: Path, name: str = "sums.jsonl", *, extra: str = "", padding: int = 0) -> Path:
    path = folder / name
    rows = [row | ({"note": "x" * padding} if padding else {}) for row in ROWS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + extra, encoding="utf-8")
    return path


def test_a_large_file_goes_on_after_a_broken_connection(page: Page, server: Server, tmp_path: Path) -> None:
    """The second chunk is lost once: the page asks how much arrived and continues from there."""
    lost: list[str] = []

    def lose(route: Route) -> None:
        if "offset=0" not in route.request.url and not lost:
            lost.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/api/datasets/jobs/*?offset=*", lose)
    page.goto(f"{server.url}/datasets")
    page.set_input_files("#file", made(tmp_path, padding=100_000))
    page.wait_for_url("**/datasets/2*")
    expect(page.locator("h1")).to_have_text("sums.jsonl")
    expect(page.locator("main")).to_contain_text("200 rows")
    assert len(lost) == 1


def test_bad_rows_are_shown_and_skipped_by_a_click(page: Page, server: Server, tmp_path: Path) -> None:
    """The line is named; the user decides."""
    page.goto(f"{server.url}/datasets")
    page.set_input_files("#file", made(tmp_path, extra='{"question": oops}\n'))
    expect(page.locator("#upload-problem")).to_contain_text("line 201")
    page.get_by_test_id("skip-bad").click()
    page.wait_for_url("**/datasets/2*")
    expect(page.locator("main")).to_contain_text("1 row was skipped")


def test_a_dataset_is_mapped_searched_prepared_and_used(
    page: Page, server: Server, tmp_path: Path, complaints: Complaints
) -> None:
    """The whole page, on desktop and phone, without serious accessibility issues or console errors."""
    page.goto(f"{server.url}/datasets")
    page.set_input_files("#file", made(tmp_path))
    page.wait_for_url("**/datasets/2*")
    preview = page.get_by_test_id("mapping-preview")
    page.get_by_label(RULE).select_option("regex")
    page.get_by_label("Marker, expression, or path").fill("([A-Z][a-z]+)[.]")
    expect(preview).to_contain_text("Add")
    page.get_by_label("Marker, expression, or path").fill("(")
    expect(page.locator("#mapping-problem")).to_contain_text("not a valid regular expression")
    page.get_by_label(RULE).select_option("last_number")
    page.get_by_role("button", name="Save mapping").click()
    expect(page.get_by_label(RULE)).to_have_value("last_number")
    page.get_by_test_id("prepare-form").get_by_role("button", name="Prepare").click()
    expect(page.get_by_test_id("report")).to_contain_text("Training rows")
    assert serious(page) == []
    page.get_by_placeholder("Search all cells").fill("is 77 +")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#rows")).to_contain_text("1 match in")
    page.set_viewport_size({"width": NARROW, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    page.get_by_role("button", name="Use in a new run").click()
    page.wait_for_url("**/new/dataset")
    expect(page.get_by_label(RULE)).to_have_value("last_number")
    assert serious(page) == []
    # An invalid pattern gets a 400, which the console logs.
    assert [words for words in complaints.found if "/map)" not in words] == []


def test_exercises_are_chosen_in_the_wizard(page: Page, server: Server) -> None:
    """Show, select, use: the rows and their exact prompt appear."""
    page.goto(f"{server.url}/new/dataset")
    page.get_by_test_id("kind-tasks").check()
    page.get_by_test_id("show-tasks").click()
    page.get_by_text("Arithmetic", exact=True).click()
    page.get_by_label("Chain sum", exact=True).check()
    page.get_by_role("button", name="Use selected exercises").click()
    expect(page.get_by_test_id("preview")).to_contain_text("512 rows")
    assert serious(page) == []


@pytest.fixture
def holding(tmp_path: Path) -> Iterator[Server]:
    """A server whose preparations can be held."""
    yield from serve(tmp_path / "home", FAKE_SERVER)


def test_a_long_preparation_is_followed_to_its_report(page: Page, holding: Server, complaints: Complaints) -> None:
    """The page shows the progress, updates without a reload, and ends with the report."""
    page.goto(f"{holding.url}/new/dataset")
    page.get_by_test_id("kind-generated").check()
    with held(holding.home):
        page.get_by_test_id("prepare").click()
        expect(page.get_by_test_id("preparing")).to_contain_text("seconds so far")
        assert serious(page) == []
        page.evaluate("window.stayed = true")
        page.evaluate(
            "window.said = []; const spot = document.getElementById('preparing-said');"
            "new MutationObserver(() => said.push(spot.textContent)).observe(spot, { childList: true })"
        )
    expect(page.get_by_test_id("report")).to_contain_text("Rows read", timeout=120_000)
    assert page.evaluate("window.stayed")
    expect(page.locator("#preparing-said")).to_contain_text("Preparation finished")
    said = page.evaluate("window.said")
    assert said[-1].startswith("Preparation finished")
    assert len(said) == len(set(said))  # a screen reader announces nothing twice
    assert complaints.found == []


def test_sums_and_exercises_are_mixed_and_prepared(page: Page, server: Server, complaints: Complaints) -> None:
    """Weights and names are entered, rows shown, then counts and lengths; also on a phone."""
    page.goto(f"{server.url}/new/dataset")
    page.get_by_test_id("kind-mix").check()
    page.get_by_label("Weight of Arithmetic (generated)").fill("1")
    page.get_by_text("Add generated exercises").click()
    page.get_by_label("Tasks", exact=True).fill("chain_sum = 1, spell_backward")
    page.get_by_test_id("take-mix").click()
    expect(page.get_by_test_id("preview")).to_contain_text("1,024 rows")
    assert serious(page) == []
    page.get_by_test_id("prepare").click()
    expect(page.get_by_test_id("report")).to_contain_text("Rows read")
    page.set_viewport_size({"width": NARROW, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    assert serious(page) == []
    assert complaints.found == []


def test_filters_and_pasted_rows_need_no_reload(page: Page, server: Server, complaints: Complaints) -> None:
    """A chip is in the address and keeps the focus; pasted rows become the chosen dataset, also on a phone."""
    page.set_viewport_size({"width": 320, "height": 800})
    page.goto(f"{server.url}/new/dataset?kind=hub")
    page.evaluate("window.stayed = true")
    page.get_by_role("link", name="Code 3").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("known-row")).to_have_count(3)
    assert "task=code" in page.url
    expect(page.get_by_role("link", name="Code 3")).to_be_focused()
    assert page.evaluate("window.stayed")
    page.get_by_test_id("kind-upload").check()
    page.get_by_text("Or paste rows").click()
    page.get_by_test_id("pasted").fill("question,answer\nIs 2 even?,yes\nIs 3 even?,no\n")
    page.get_by_label("Name", exact=True).fill("parity")
    page.get_by_test_id("paste-send").click()
    expect(page.locator("#upload-list .choice:has(:checked)")).to_contain_text("parity")
    expect(page.get_by_test_id("preview")).to_contain_text("Is 3 even?")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert complaints.found == []
