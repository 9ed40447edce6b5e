"""Commands: ``flask --app flask_app train configs/x.json`` and ``flask --app flask_app rebuild``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from flask import Blueprint

from core.errors import InvalidInput, TunesmithError
from routes._services import services
from services.follow_run import Here, Run, There, follow
from services.lock import HomeInUse, HomeLock
from services.rebuild import rebuild as rebuild_catalogue

bp = Blueprint("commands", __name__, cli_group=None)


@bp.cli.command("train")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--confirm-reward", is_flag=True, help="Start although the reward can be fooled, or could not be tried.")
def train(file: Path, *, confirm_reward: bool) -> None:
    """Train with the configuration in FILE, without the browser.

    The session appears in the browser too. Ctrl+C stops with a checkpoint; twice, at once. A reward that can
    be fooled is refused unless it is confirmed.
    """
    try:
        config = read_config(file)
        lock = HomeLock(services().settings.home)
        try:
            lock.take(None)
            services().watcher.start()
            run: Run = Here(services(), confirmed=confirm_reward)
        except HomeInUse as busy:
            if busy.url is None:
                raise
            run = There(busy.url, services().settings.token, confirmed=confirm_reward)
        sys.exit(follow(run, config, click.echo, live=sys.stdout.isatty()))
    except TunesmithError as error:
        raise click.ClickException(error.message) from None
    finally:
        services().close()


@bp.cli.command("rebuild")
def rebuild() -> None:
    """Make the catalogue again from the directories in outputs/ and exports/."""
    try:
        lock = HomeLock(services().settings.home)
        lock.take(None)
        found = rebuild_catalogue(services().settings.home, services().catalogue)
        lock.release()
    except TunesmithError as error:
        raise click.ClickException(error.message) from None
    click.echo(f"{found} {'job' if found == 1 else 'jobs'} found on disk and added to the catalogue.")


def read_config(file: Path) -> dict[str, Any]:
    """A configuration file as JSON.

    Raises:
        InvalidInput: It is not JSON; the line is named.
    """
    try:
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{file} is not valid JSON: line {error.lineno}, {error.msg}.") from None
    return data
