"""Create the application and serve it: ``python flask_app.py``."""

from __future__ import annotations

import logging
import sys

import click
from flask import Flask

from commands import export, rebuild, reproduce, train
from core.disk import disk_words
from core.errors import InvalidInput, TunesmithError
from core.settings import PROJECT, Settings
from routes import (
    _guard,
    _transfer,
    auth,
    configs,
    dataset_jobs,
    datasets,
    deliveries,
    errors,
    evaluations,
    exports,
    help,  # noqa: A004 (the blueprint of the help pages)
    home,
    methods,
    metrics,
    models,
    openai_api,
    openapi,
    probe,
    rewards,
    runs,
    storage,
    system,
    trash,
    wizard,
)  # fmt: skip
from services import container
from services.access import security
from services.jobs.launcher import Launcher
from services.machine.report import RECENT

NOUNS = (
    home, help, wizard, probe, runs, metrics, methods, datasets, dataset_jobs, rewards, configs, models, openai_api,
    exports, evaluations, deliveries, system, storage, trash, auth, openapi, errors,
)  # fmt: skip
COMMANDS = (train, export, reproduce, rebuild)


def create_app(settings: Settings | None = None, *, launcher: Launcher | None = None) -> Flask:
    """Create the application with its services. Jobs are followed once its watcher is started.

    Args:
        settings: Defaults to the environment and ``.env``.
        launcher: Where workers run; by default on this machine.
    """
    if settings is None:
        return _for_commands(launcher)
    app = Flask(__name__)
    app.extensions["tunesmith"] = container.build(settings, launcher)
    kept = security.load_secrets(settings)
    app.secret_key = kept.session_key
    gate = security.Gate(settings, kept)
    app.extensions["tunesmith_new_token"] = kept.new_token
    _guard.install(app, gate, port=settings.port, max_upload=int(settings.max_upload_gb * 1024**3))
    _transfer.install(app)
    for module in (*NOUNS, *COMMANDS):
        app.register_blueprint(module.bp)
    _attach_sockets(app)
    return app


def _for_commands(launcher: Launcher | None) -> Flask:
    """The application for ``flask --app flask_app …``, with errors as one line."""
    try:
        return create_app(settings_from_env(), launcher=launcher)
    except TunesmithError as error:
        raise click.ClickException(error.message) from None
    except Exception as error:
        if not (words := disk_words(error)):
            raise
        raise click.ClickException(words) from None


def _attach_sockets(app: Flask) -> None:
    from websockets.hub import make_hub

    make_hub(app)
    app.wsgi_app = _guard.Doorman(app, app.wsgi_app)  # type: ignore[method-assign,assignment]


def settings_from_env() -> Settings:
    """Read ``.env`` next to this file, then the environment, which overrides it.

    Raises:
        InvalidInput: A setting is not valid; the message has its name.
    """
    from dotenv import load_dotenv

    load_dotenv(PROJECT / ".env")
    try:
        settings = Settings.from_env()
        if settings.log_level.upper() not in logging.getLevelNamesMapping():
            raise ValueError(f"LOG_LEVEL is {settings.log_level!r}, but must be DEBUG, INFO, WARNING or ERROR")
    except ValueError as error:
        raise InvalidInput(f"A setting is not valid: {error}. Check .env and the environment variables.") from None
    return settings


def main() -> int:
    """Serve until Ctrl+C."""
    from commands.serve import serve

    try:
        settings = settings_from_env()
        settings.home.make()
        logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger().addHandler(RECENT)
        return serve(settings, create_app)
    except TunesmithError as error:
        print(error.message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
