"""A real server in a separate process, and Chromium as its client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from core.settings import PROJECT
from tests.browser import sample
from tests.support.live import PATIENCE, REAL_SERVER, until

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
PATIENCE_MS = 120_000
"""The default of five seconds is too short while a model trains on the same cores."""
expect.set_options(timeout=PATIENCE_MS)


@dataclass(frozen=True)
class Server:
    """A running server: its address and its home folder."""

    url: str
    home: Path


def address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """The server's address, once it is listening."""
    said = until(
        lambda: [line for line in log.read_text().splitlines() if line.startswith("Tunesmith is at ")],
        lambda lines: lines or process.poll() is not None,
    )
    assert said, f"the server ended with {process.returncode}"
    return said[-1].split()[-1]


def serve(home: Path, script: Path = REAL_SERVER) -> Iterator[Server]:
    """Start the server on ``home``, with the project's cache, and stop it afterwards."""
    home.mkdir(parents=True, exist_ok=True)
    (PROJECT / "cache").mkdir(exist_ok=True)
    if not (home / "cache").exists():
        (home / "cache").symlink_to(PROJECT / "cache")
    own = {"TUNESMITH_HOME": str(home), "PORT": "0", "HOST": "127.0.0.1", "TUNESMITH_SPEED_TEST": "0"}
    env = {"HF_HUB_OFFLINE": "1", **os.environ, **own}
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, str(script)], cwd=PROJECT, env=env, stdout=log, stderr=log)
    try:
        yield Server(address(home / "server.log", process), home)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose home has runs and an export; read-only for tests."""
    home = tmp_path_factory.mktemp("filled")
    sample.fill(home)
    yield from serve(home)


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A shared server without runs."""
    yield from serve(tmp_path_factory.mktemp("standing"))


def ask(server: Server, method: str, path: str) -> bytes:
    """The server's response to an API client."""
    request = urllib.request.Request(server.url + path, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return bytes(response.read())


@pytest.fixture
def server(standing: Server) -> Server:
    """A fresh server: without choices, datasets and rewards of earlier tests."""
    ask(standing, "POST", "/new/reset")
    for dataset in json.loads(ask(standing, "GET", "/api/datasets/list"))["datasets"]:
        ask(standing, "DELETE", f"/api/datasets/{dataset['id']}")
    for reward in json.loads(ask(standing, "GET", "/api/rewards/saved"))["rewards"]:
        ask(standing, "DELETE", f"/api/rewards/saved/{reward['name']}")
    return standing


@dataclass
class Complaints:
    """Console errors and violations of the content security policy."""

    found: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.found.append(f"{message.text} ({message.location.get('url', '')})")


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, complaints: Complaints) -> Page:
    page = context.new_page()
    complaints.listen(page)
    return page
