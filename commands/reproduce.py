"""``flask --app flask_app reproduce bundle.zip``: repeat a run from its bundle, and compare the rewards."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from flask import Blueprint

from commands._home import home
from commands.train import Here, follow
from core.config import dump, parse
from core.errors import InvalidInput
from core.job_dir import JobDir, read_json
from core.reproduce import training_rewards
from core.rerun import Bundle, compare, differences, read_bundle, rows_sha256
from services.container import Services
from services.current import services

bp = Blueprint("reproduce", __name__, cli_group=None)

DIFFERS = 4
"""Exit code if the run completed, but its rewards differ from the bundle's."""
Say = Callable[..., None]


@bp.cli.command("reproduce")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--base", default="", help="Base model on this machine, if its name or path is different.")
@click.option("--only-check", is_flag=True, help="Show the differences on this machine, without training.")
def reproduce(file: Path, base: str, *, only_check: bool) -> None:
    """Repeat the run in the reproduction bundle FILE, and compare the rewards step by step.

    The exit code is 0 if all rewards are equal, and 4 if the run completed with different rewards.
    """
    with home() as lock:
        lock.take(None)
        services().folders.check()
        services().watcher.start()
        live = sys.stdout.isatty()
        sys.exit(rerun(services(), file, click.echo, live=live, base=base, only_check=only_check))


class _FromBundle(Here):
    """Runs the bundle in this process with the bundle's rows. The reward needs no confirmation."""

    def __init__(self, services: Services, rows: Path | None) -> None:
        super().__init__(services, confirmed=True)
        self._rows = rows
        self.session_id = ""

    def start(self, config: dict[str, Any]) -> str:
        self.session_id = self._runs.start(config, rows=self._rows).session_id
        return self.session_id


def rerun(services: Services, file: Path, say: Say, *, live: bool, base: str = "", only_check: bool = False) -> int:
    """Check a bundle, run it, and compare the rewards.

    Args:
        services: This installation's services, with the watcher started.
        file: The bundle.
        say: Prints; takes ``nl=False``.
        live: Whether the output is a terminal.
        base: The base model on this machine, if its name or path is different.
        only_check: Show the differences, without training.

    Returns:
        Exit code: 0 if the rewards are equal (or nothing was run), 4 if they differ, else as
        :func:`commands.train.follow`.

    Raises:
        InvalidInput: The bundle is damaged.
    """
    with tempfile.TemporaryDirectory(dir=services.settings.home.cache) as folder:
        bundle = read_bundle(file, Path(folder))
        given = _config(bundle, base)
        _tell_differences(services, bundle, given, say)
        if only_check:
            return 0
        run = _FromBundle(services, bundle.rows)
        code = follow(run, given, say, live=live)
        if code:
            return code
        return _tell_outcome(bundle, JobDir.open(services.settings.home.outputs, run.session_id), say)


def _config(bundle: Bundle, base: str) -> dict[str, Any]:
    given = bundle.given
    if parse(given) != bundle.config:
        given = dump(bundle.config)  # Defaults have changed since then, so use the run's own values.
    if base:
        given = {**given, "model": {**given["model"], "name": base}}
    return given


def _tell_differences(services: Services, bundle: Bundle, given: dict[str, Any], say: Say) -> None:
    about = bundle.about
    say(f"{about['name']}: all file hashes match.")
    if bundle.rows and rows_sha256(bundle.rows) != about["dataset"]["sha256"]:
        raise InvalidInput(
            "The rows in the bundle do not match its hash of the data, so the bundle was changed. Get a new copy."
        )
    found = differences(bundle, parse(given), services.settings.home, services.system.device())
    if not found:
        say("Base model, rewards, versions and hardware match.")
    for one in found:
        say(f"  {'Differs' if one.decisive else 'Differs, with little effect'}: {one}")
    if bundle.rows is None:
        say("  The rows are read again from their source.")


def _tell_outcome(bundle: Bundle, session: JobDir, say: Say) -> int:
    info = read_json(session.prepared / "info.json") or {}
    if info.get("sha256") != bundle.about["dataset"]["sha256"]:
        say("The rows differ from the original run: their source has changed.")
    found = compare(bundle.rewards(), training_rewards(session.metrics))
    say(found.words())
    return 0 if found.equal else DIFFERS
