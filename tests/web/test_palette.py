"""The command palette: everything that can be opened or done, and nothing that cannot."""

from __future__ import annotations

from typing import Any

from flask import Flask

from services.container import Services
from tests.browser import sample
from tests.conftest import Browser, tiny


def entries(browser: Browser) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.get("/palette", Accept="application/json").json
    return found


def test_everything_that_has_a_page_is_listed(browser: Browser, app: Flask, services: Services) -> None:
    """Pages, actions, runs, exports, evaluations, presets, guides and terms; each address opens."""
    sample.fill(services.settings.home.root)
    app.test_cli_runner().invoke(args=["rebuild"])
    services.saved_rewards.save("short-sums", {"type": "preset", "preset_name": "arithmetic"})
    found = entries(browser)
    assert {entry["group"] for entry in found} == {
        "Actions", "Pages", "Runs", "Exports", "Evaluations", "Rewards", "Presets", "Help", "Glossary",
    }  # fmt: skip
    assert [entry["url"] for entry in found if entry["title"] == "Sums, the first try"] == [f"/runs/{sample.FINISHED}"]
    for entry in found:
        assert sum(key in entry for key in ("url", "action", "post")) == 1
    for url in {entry["url"].partition("#")[0] for entry in found if "url" in entry}:
        assert browser.get(url).status_code in {200, 302}, url


def test_actions_are_those_of_the_moment(browser: Browser, services: Services) -> None:
    """The demo can be started when its model is installed; a run can be stopped only while it runs."""
    assert "Start the demo" in {entry["title"] for entry in entries(browser)}
    run = services.runs.start(tiny("sums"))
    assert not [entry for entry in entries(browser) if entry["title"] == "Stop sums"], "it waits"
    services.database.update(run.session_id, state="running")
    [stop] = [entry for entry in entries(browser) if entry["title"] == "Stop sums"]
    assert (stop["post"], "resume the run later" in stop["confirm"]) == (f"/runs/{run.session_id}/stop", True)


def test_the_list_is_not_part_of_other_pages(browser: Browser) -> None:
    """It is loaded only when the palette is opened."""
    assert b"first-10-minutes" not in browser.get("/runs").data
