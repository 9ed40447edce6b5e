"""Shared fixtures: a separate home folder, the application, a browser-like client."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.rewards.sandbox import client as sandbox
from core.settings import Home, Settings
from flask_app import create_app
from services.container import Services
from services.jobs.launcher import LocalLauncher
from tests.support import compiled

pytest_plugins = ["tests.support.suite"]
compiled.share()

SUPPORT = Path(__file__).parent / "support"

TINY: dict[str, Any] = {
    "name": "tiny",
    "model": {"name": "builtin:smollm2-135m-instruct"},
    "dataset": {"source": "generated:arithmetic", "size": 64},
    "training": {
        "max_steps": 6, "batch_size": 4, "gradient_accumulation_steps": 1, "num_generations": 4,
        "max_new_tokens": 8, "max_sequence_length": 128, "save_steps": 2,
    },
    "reward": {"type": "preset", "preset_name": "arithmetic"},
}  # fmt: skip
"""A small valid configuration."""


def tiny(name: str = "tiny", **training: Any) -> dict[str, Any]:
    """:data:`TINY` under another name, with other training values."""
    return {**TINY, "name": name, "training": {**TINY["training"], **training}}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home folder where the built-in model appears to be installed."""
    home = Home(tmp_path)
    home.make()
    folder = home.cache / "models" / "smollm2-135m-instruct"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return home


@pytest.fixture
def patient_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of wall-clock time, CPU time unchanged: correct code does not fail on a stalled machine."""
    monkeypatch.setattr(sandbox, "asdict", lambda limits: {**asdict(limits), "wall": max(limits.wall, 60.0)})
    monkeypatch.setattr(sandbox.Task, "longest", 600.0)


@pytest.fixture(autouse=True)
def patient_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer timeout for the test server of Hugging Face."""
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "120")
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "120")


@pytest.fixture
def settings(home: Home) -> Settings:
    return Settings.from_env({"TUNESMITH_HOME": str(home.root)})


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application; its workers behave like real ones but load no model."""
    app = create_app(settings, launcher=LocalLauncher(settings, SUPPORT / "fake_worker.py"))
    yield app
    app.extensions["tunesmith"].close()


TOKEN = "correct-horse-battery-staple-1234567890"


@pytest.fixture
def guarded(settings: Settings) -> Iterator[Flask]:
    """An application that listens on every address, so it requires a login."""
    app = create_app(replace(settings, host="0.0.0.0", token=TOKEN))
    yield app
    app.extensions["tunesmith"].close()


@pytest.fixture
def services(app: Flask) -> Services:
    found: Services = app.extensions["tunesmith"]
    return found


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """An API client on this machine: no cookie, no Origin."""
    return app.test_client()


class Browser:
    """A browser on this machine: cookies, Origin, Sec-Fetch headers, its page's CSRF token."""

    def __init__(self, app: Flask, base: str = "http://localhost:5000") -> None:
        self.client = app.test_client()
        self.base = base
        self.csrf = ""

    def get(self, path: str, **headers: str) -> Any:
        response = self._open("GET", path, headers, {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"})
        found = re.search(r'name="csrf[-_]token" (?:content|value)="([^"]+)"', response.get_data(as_text=True))
        self.csrf = found.group(1) if found else self.csrf
        return response

    def post(self, path: str, *, json: Any = None, form: Mapping[str, Any] | None = None, **headers: str) -> Any:
        own = {"Origin": self.base, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
        if json is not None:
            return self._open("POST", path, headers, {**own, "X-CSRF-Token": self.csrf}, json=json)
        return self._open("POST", path, headers, own, data={"csrf_token": self.csrf, **(form or {})})

    def once_prepared(self, path: str) -> str:
        """The page of a dataset's preparation, after it has ended."""
        until = time.monotonic() + 120
        while 'data-testid="preparing"' in (text := self.get(path).get_data(as_text=True)):
            assert time.monotonic() < until, text
            time.sleep(0.2)
        return str(text)

    def _open(self, method: str, path: str, headers: dict[str, str], own: dict[str, str], **more: Any) -> Any:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.open(path, method=method, base_url=self.base, headers={**own, **given}, **more)


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app)
