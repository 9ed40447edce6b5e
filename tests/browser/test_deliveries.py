"""Sending an export to Ollama with a button, and chatting with it there."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from core.settings import Home
from tests.browser.conftest import Complaints, Server, serve
from tests.browser.test_pages import serious
from tests.support.live import until
from tests.support.ollama import OllamaServer
from tests.web.exports.test_deliveries import EXPORT, lay_out

pytestmark = pytest.mark.browser


def test_one_press_makes_the_model_in_ollama_and_it_can_be_talked_to(
    context: BrowserContext, complaints: Complaints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page follows the delivery, shows the first answer, and continues the conversation."""
    home = Home(tmp_path / "home")
    home.make()
    (home.root / "cache").rmdir()
    lay_out(home)
    with OllamaServer() as ollama:
        monkeypatch.setenv("OLLAMA_HOST", ollama.address)
        monkeypatch.setenv("HF_TOKEN", "")
        for server in serve(home.root):
            _walk(context, complaints, server, ollama)
    assert list(ollama.models) == ["sums"]


def _walk(context: BrowserContext, complaints: Complaints, server: Server, ollama: OllamaServer) -> None:
    page = context.new_page()
    complaints.listen(page)

    def offered() -> int:
        page.goto(f"{server.url}/exports/{EXPORT}")
        return page.get_by_test_id("send-ollama").count()

    until(offered, bool)  # The page does not wait for a slow Ollama.
    ollama.go.clear()
    page.get_by_test_id("send-ollama").click()
    expect(page.get_by_test_id("delivery-status")).to_have_text("Sending")
    ollama.go.set()
    expect(page.get_by_test_id("delivery-status")).to_have_text("Sent")
    expect(page.get_by_test_id("delivery-chat")).to_contain_text("1 turns, last: What is 4 + 5?")
    page.get_by_label("Chat with the model in Ollama").fill("And 5 + 5?")
    page.get_by_test_id("delivery-say").click()
    expect(page.get_by_test_id("delivery-chat")).to_contain_text("3 turns, last: And 5 + 5?")
    assert serious(page) == []
    assert complaints.found == []
