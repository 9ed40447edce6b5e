"""Wires everything, and serves: ``python flask_app.py``."""

from __future__ import annotations

import importlib
import importlib.util

from flask import Flask

from core.settings import PROJECT, Settings
from routes import _guard, errors
from services import container, security

NOUNS = ("home", "wizard", "runs", "datasets", "rewards", "configs", "models", "exports", "system", "auth", "openapi")


def create_app(settings: Settings | None = None) -> Flask:
    """The application with its services, without any thread running.

    Args:
        settings: Defaults to the environment and ``.env``.
    """
    settings = settings or settings_from_env()
    app = Flask(__name__)
    app.extensions["tunesmith"] = container.build(settings)
    kept = security.load_secrets(settings)
    app.secret_key = kept.session_key
    app.extensions["tunesmith_new_token"] = kept.new_token
    gate = security.Gate(settings, kept)
    _guard.install(app, gate, port=settings.port, max_upload=int(settings.max_upload_gb * 1024**3))
    app.register_blueprint(errors.bp)
    for noun in NOUNS:
        if importlib.util.find_spec(f"routes.{noun}"):
            app.register_blueprint(importlib.import_module(f"routes.{noun}").bp)
    return app


def settings_from_env() -> Settings:
    from dotenv import load_dotenv

    load_dotenv(PROJECT / ".env")
    return Settings.from_env()
