"""A real server in a process of its own, and Chromium to look at it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from core.settings import PROJECT
from tests.browser import sample

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
PATIENCE = 60.0
expect.set_options(
    timeout=20_000
)  # Five seconds, the default, are too few where a model trains on the same processors.


@dataclass(frozen=True)
class Server:
    """A running server: its address and its home folder."""

    url: str
    home: Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers. Raises TimeoutError, or RuntimeError where it ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the server did not answer in time")


def serve(home: Path) -> Iterator[Server]:
    """Start the server on ``home``, whose cache is the project's, and end it afterwards."""
    home.mkdir(parents=True, exist_ok=True)
    (PROJECT / "cache").mkdir(exist_ok=True)
    if not (home / "cache").exists():
        (home / "cache").symlink_to(PROJECT / "cache")
    port = free_port()
    env = {**os.environ, "TUNESMITH_HOME": str(home), "PORT": str(port), "HOST": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "flask_app.py")], cwd=PROJECT, env=env, stdout=log, stderr=log
        )
    try:
        wait_for(f"http://127.0.0.1:{port}", process)
        yield Server(f"http://127.0.0.1:{port}", home)
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose home has runs and an export in it; for looking, not for changing."""
    home = tmp_path_factory.mktemp("filled")
    sample.fill(home)
    yield from serve(home)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server as it is on the first day."""
    yield from serve(tmp_path / "home")


@dataclass
class Complaints:
    """What the browser found wrong: console errors and refusals of the content security policy."""

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
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, complaints: Complaints) -> Page:
    page = context.new_page()
    complaints.listen(page)
    return page
