"""``flask --app flask_app merge`` and ``verify``: follow an export in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import click
from flask import Blueprint

from commands._home import home, server_or_watch
from commands.train import EVERY, There, interrupts
from core.errors import Conflict
from core.job import ENDED, JobState
from services.container import Services
from services.current import services

bp = Blueprint("export", __name__, cli_group=None)


@bp.cli.command("merge")
@click.argument("adapter", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("base", default="")
@click.option(
    "--as", "form", type=click.Choice(["merged", "gguf", "adapter_gguf"]), default="merged", show_default=True
)
@click.option("-q", "--quantization", multiple=True, help="For gguf. Repeat it to create several files from one merge.")
def merge(adapter: Path, base: str, form: str, quantization: tuple[str, ...]) -> None:
    """Merge the adapter in folder ADAPTER with its base model BASE, and verify the result.

    The adapter does not have to come from Tunesmith. BASE is a folder or a Hugging Face model; the default is the
    base model named in the adapter's configuration. Press Ctrl+C to cancel; incomplete files are deleted.
    """
    asked = {"adapter": str(adapter.resolve()), "base": base, "format": form, "quantizations": list(quantization)}
    _follow_export(lambda export: export.start(asked))


@bp.cli.command("verify")
@click.argument("export_id")
def verify(export_id: str) -> None:
    """Verify the export EXPORT_ID again, if llama.cpp crashed the first time.

    Compares its files with the trained model without changing them. Press Ctrl+C to cancel.
    """
    _follow_export(lambda export: export.verify(export_id))


def _follow_export(begin: Callable[[Export], str]) -> None:
    """Start an export in this process, or in the server that holds the home folder, and follow it to its end."""
    with home() as lock:
        url = server_or_watch(lock)
        export: Export = ExportThere(url, services().settings.token) if url else ExportHere(services())
        sys.exit(follow_export(export, begin(export), str(services().settings.home.exports), click.echo))


class Export(Protocol):
    """The operations needed to follow an export, in this process or through a server."""

    def start(self, asked: dict[str, Any]) -> str: ...

    def verify(self, export_id: str) -> str: ...

    def look(self, export_id: str) -> dict[str, Any]: ...

    def cancel(self, export_id: str) -> None: ...


class ExportHere:
    """Exports in this process, which runs the watcher itself."""

    def __init__(self, services: Services) -> None:
        self._exports = services.exports

    def start(self, asked: dict[str, Any]) -> str:
        return self._exports.create(**asked).export_id

    def verify(self, export_id: str) -> str:
        return self._exports.verify(export_id).export_id

    def look(self, export_id: str) -> dict[str, Any]:
        return self._exports.get(export_id).line()

    def cancel(self, export_id: str) -> None:
        self._exports.cancel(export_id)


class ExportThere(There):
    """Submits the export to a server that already holds the home folder."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url, token, confirmed=False)

    def start(self, asked: dict[str, Any]) -> str:
        return str(self._call("POST", "/api/exports/create", asked)["export_id"])

    def verify(self, export_id: str) -> str:
        return str(self._call("POST", f"/api/exports/{export_id}/verify")["export_id"])

    def look(self, export_id: str) -> dict[str, Any]:
        return self._call("GET", f"/api/exports/{export_id}")

    def cancel(self, export_id: str) -> None:
        self._call("POST", f"/api/exports/{export_id}/cancel")


def follow_export(export: Export, export_id: str, folder: str, say: Callable[[str], None]) -> int:
    """Follow an export to its end. Ctrl+C cancels it.

    Args:
        export: This process, or a server.
        export_id: The export.
        folder: Location of the exports, for the last line.
        say: Prints a line.

    Returns:
        Exit code: 0 for completed, 3 for canceled, 1 otherwise.
    """
    say(f"Export {export_id}")
    shown = ""
    heard = 0
    with interrupts() as pressed:
        while True:
            view = export.look(export_id)
            line = f"stage {view['step']} of {view['max_steps']}: {view['message']}" if view["max_steps"] else ""
            if line != shown:
                say(line)
                shown = line
            if view["status"] in ENDED:
                break
            time.sleep(EVERY)
            if len(pressed) > heard:
                heard = len(pressed)
                say("Canceling. Incomplete files are removed.")
                _cancel(export, export_id)
    close(view, f"{folder}/{export_id}/files", say)
    return {JobState.COMPLETED: 0, JobState.STOPPED: 3}.get(JobState(view["status"]), 1)


def _cancel(export: Export, export_id: str) -> None:
    try:
        export.cancel(export_id)
    except Conflict:
        return


def close(view: dict[str, Any], folder: str, say: Callable[[str], None]) -> None:
    """Print the verification results, the files and their location."""
    for report in view["fidelity"]:
        say(f"  {report['subject']}: {report['verdict'].replace('_', ' ')}. {report['reason']}")
    for note in view["notes"]:
        say(f"  Note: {note}")
    if view["error"]:
        say(f"  {view['error']}")
    for file in view["files"]:
        say(f"  {file['name']}  {file['size']:,} bytes  sha256 {file['sha256']}")
    if view["unverified"]:
        say(f"  Not verified on this machine. Check again: flask --app flask_app verify {view['export_id']}")
    if view["files"]:
        say(f"Finished: {folder}")
    elif view["status"] == JobState.STOPPED:
        say("Canceled. No files were kept.")
