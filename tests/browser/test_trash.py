"""Deleting, undoing, and the confirmation before permanent deletion."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser import sample
from tests.browser.conftest import Complaints, Server, serve
from tests.browser.test_pages import serious

pytestmark = pytest.mark.browser


def test_a_deleted_run_comes_back_and_the_trash_asks_before_it_is_emptied(
    context: BrowserContext, complaints: Complaints, tmp_path: Path
) -> None:
    """By keyboard: Esc and Cancel change nothing, and the focus returns to the button."""
    (tmp_path / "cache").mkdir()
    sample.fill(tmp_path)
    for server in serve(tmp_path):
        _walk(context, complaints, server)


def _walk(context: BrowserContext, complaints: Complaints, server: Server) -> None:
    page = context.new_page()
    complaints.listen(page)

    def delete() -> None:
        page.goto(f"{server.url}/runs/{sample.FINISHED}")
        page.locator("#more-actions > summary").click()
        page.get_by_test_id("delete").click()

    delete()
    page.get_by_test_id("undo").click()
    expect(page).to_have_url(f"{server.url}/runs/{sample.FINISHED}")
    expect(page.get_by_test_id("flash")).to_have_text("Run restored.")
    delete()
    expect(page.get_by_test_id("undo")).to_be_visible()
    page.goto(f"{server.url}/settings/trash")
    for answer in ("Escape", "Enter"):  # The focus is on Cancel.
        page.get_by_test_id("empty-trash").click()
        expect(page.get_by_role("alertdialog", name="Empty trash?")).to_contain_text("This can't be undone.")
        assert serious(page) == []
        page.keyboard.press(answer)
        expect(page.get_by_role("alertdialog")).to_have_count(0)
        expect(page.get_by_test_id("empty-trash")).to_be_focused()
        expect(page.get_by_test_id("trash-item")).to_have_count(1)
    page.get_by_test_id("empty-trash").click()
    page.get_by_test_id("agree").click()
    expect(page.get_by_test_id("flash")).to_contain_text("The trash is empty.")
    assert complaints.found == []
