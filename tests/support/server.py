"""Serves as flask_app.py does, with workers and chats that load no model."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from flask import Flask  # noqa: E402 (the path is set above)

from commands.serve import serve  # noqa: E402 (the path is set above)
from core.errors import TunesmithError  # noqa: E402 (the path is set above)
from core.settings import Settings  # noqa: E402 (the path is set above)
from flask_app import create_app  # noqa: E402 (the path is set above)
from services.jobs.launcher import LocalLauncher  # noqa: E402 (the path is set above)
from services.models import chat_process  # noqa: E402 (the path is set above)
from tests.support import preparing  # noqa: E402 (the path is set above)


def fake_app(settings: Settings) -> Flask:
    """The application with :mod:`tests.support.fake_worker` and :mod:`tests.support.fake_chat`."""
    app = create_app(settings, launcher=LocalLauncher(settings, HERE / "fake_worker.py"))
    chat_process.CANCEL_GRACE = 300.0  # A stalled machine must not look like an unresponsive process.
    preparing.hold(app.extensions["tunesmith"].library, settings.home.root)
    app.extensions["tunesmith"].models.pool.use(HERE / "fake_chat.py")
    return app


def command_app() -> Flask:
    """For ``flask --app tests.support.server:command_app``."""
    return fake_app(Settings.from_env())


if __name__ == "__main__":
    try:
        sys.exit(serve(Settings.from_env(), fake_app))
    except TunesmithError as error:
        print(error.message, file=sys.stderr)
        sys.exit(1)
