"""Finding a model on Hugging Face and downloading it with the keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from core.settings import Home
from tests.browser.conftest import Complaints, Server, serve
from tests.browser.test_pages import serious
from tests.support.hub import Hub, Repo
from tests.web.models.test_model_hub import ABOUT, MODEL, held

pytestmark = pytest.mark.browser


def test_a_model_is_found_chosen_and_downloaded(
    context: BrowserContext, complaints: Complaints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow keys and Enter choose it; the page shows its size, then the progress until it is installed."""
    home = Home(tmp_path / "home")
    home.make()
    (home.cache / "models" / "smollm2-135m-instruct").mkdir(parents=True)
    (home.cache / "models" / "smollm2-135m-instruct" / "config.json").write_text("{}")
    repos = {f"someone/{name}": Repo(MODEL, kind="model", about=ABOUT) for name in ("small", "smaller")}
    with Hub(repos) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        for server in serve(home.root):
            _walk(context, complaints, server, hub)


def _walk(context: BrowserContext, complaints: Complaints, server: Server, hub: Hub) -> None:
    page = context.new_page()
    complaints.listen(page)
    page.goto(f"{server.url}/new/model")
    name = page.get_by_role("combobox", name="Name or folder")
    name.press_sequentially("small")
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(2)
    assert serious(page) == []
    name.press("ArrowDown")
    name.press("ArrowDown")
    expect(page.get_by_role("option", name="someone/smaller")).to_have_attribute("aria-selected", "true")
    name.press("Enter")
    expect(name).to_have_value("someone/smaller")
    expect(page.get_by_test_id("model-other")).to_be_checked()
    expect(page.get_by_test_id("downloads")).to_contain_text("Download size: 32.8 MB")
    held(hub)
    page.get_by_test_id("download").press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    hub.go.set()
    expect(page.get_by_test_id("model-someone-smaller")).to_be_checked()
    assert complaints.found == []
