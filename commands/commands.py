"""Commands: ``flask --app flask_app train configs/x.json`` and ``flask --app flask_app rebuild``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from flask import Blueprint

from commands.follow_export import Export, ExportHere, ExportThere, follow_export
from commands.follow_run import Here, There, follow, say_readiness
from core.errors import InvalidInput, TunesmithError
from routes._services import services
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
    lock = HomeLock(services().settings.home)
    try:
        config = read_config(file)
        try:
            lock.take(None)
            services().watcher.start()
            run: Here | There = Here(services(), confirmed=confirm_reward)
        except HomeInUse as busy:
            if busy.url is None:
                raise
            run = There(busy.url, services().settings.token, confirmed=confirm_reward)
        say_readiness(run.readiness(config), click.echo)
        sys.exit(follow(run, config, click.echo, live=sys.stdout.isatty()))
    except TunesmithError as error:
        raise click.ClickException(error.message) from None
    finally:
        services().close()
        lock.release()


@bp.cli.command("merge")
@click.argument("adapter", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("base", default="")
@click.option(
    "--as", "form", type=click.Choice(["merged", "gguf", "adapter_gguf"]), default="merged", show_default=True
)
@click.option("-q", "--quantization", multiple=True, help="For gguf; more than once for several files from one merge.")
def merge(adapter: Path, base: str, form: str, quantization: tuple[str, ...]) -> None:
    """Merge the adapter folder ADAPTER with its model BASE, checked against both together.

    The adapter need not have been trained here. BASE is a folder or a model of the Hub; without it the one
    that the adapter's own file names is taken. Ctrl+C cancels; nothing half made is kept.
    """
    asked = {"adapter": str(adapter.resolve()), "base": base, "format": form, "quantizations": list(quantization)}
    _follow_export(lambda export: export.start(asked))


@bp.cli.command("verify")
@click.argument("export_id")
def verify(export_id: str) -> None:
    """Compare the export EXPORT_ID with its trained model again, where llama.cpp had crashed.

    Nothing is made anew. Ctrl+C cancels; the files are kept.
    """
    _follow_export(lambda export: export.verify(export_id))


def _follow_export(begin: Callable[[Export], str]) -> None:
    """Begin an export here, or in the server that has the home folder, and follow it to its end."""
    lock = HomeLock(services().settings.home)
    try:
        try:
            lock.take(None)
            services().watcher.start()
            export: Export = ExportHere(services())
        except HomeInUse as busy:
            if busy.url is None:
                raise
            export = ExportThere(busy.url, services().settings.token)
        sys.exit(follow_export(export, begin(export), str(services().settings.home.exports), click.echo))
    except TunesmithError as error:
        raise click.ClickException(error.message) from None
    finally:
        services().close()
        lock.release()


@bp.cli.command("rebuild")
def rebuild() -> None:
    """Make the catalogue again from the directories in outputs/ and exports/."""
    lock = HomeLock(services().settings.home)
    try:
        lock.take(None)
        found = rebuild_catalogue(services().settings.home, services().catalogue)
    except TunesmithError as error:
        raise click.ClickException(error.message) from None
    finally:
        lock.release()
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
