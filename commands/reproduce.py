"""The command that runs a training again: ``flask --app flask_app reproduce bundle.zip``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from flask import Blueprint

from commands.reproduction import reproduce as rerun
from core.errors import TunesmithError
from routes._services import services
from services.lock import HomeLock

bp = Blueprint("reproduce", __name__, cli_group=None)


@bp.cli.command("reproduce")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--base", default="", help="Where the base model lies here, if under another name than there.")
@click.option("--only-check", is_flag=True, help="Say what differs here and start nothing.")
def reproduce(file: Path, base: str, *, only_check: bool) -> None:
    """Run the training of the reproduction bundle FILE again and compare its rewards.

    The exit code is 0 where every step earned the same, and 4 where it ended otherwise.
    """
    try:
        lock = HomeLock(services().settings.home)
        lock.take(None)
        services().watcher.start()
        live = sys.stdout.isatty()
        sys.exit(rerun(services(), file, click.echo, live=live, base=base, only_check=only_check))
    except TunesmithError as error:
        raise click.ClickException(error.message) from None
    finally:
        services().close()
