"""``flask --app flask_app reproduce bundle.zip``: a training run again from its bundle, and the two compared."""

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
"""Exit code where the run completed and its rewards are not the bundle's."""
Say = Callable[..., None]


@bp.cli.command("reproduce")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--base", default="", help="Where the base model lies here, if under another name than there.")
@click.option("--only-check", is_flag=True, help="Say what differs here and start nothing.")
def reproduce(file: Path, base: str, *, only_check: bool) -> None:
    """Run the training of the reproduction bundle FILE again and compare its rewards.

    The exit code is 0 where every step earned the same, and 4 where it ended otherwise.
    """
    with home() as lock:
        lock.take(None)
        services().watcher.start()
        live = sys.stdout.isatty()
        sys.exit(rerun(services(), file, click.echo, live=live, base=base, only_check=only_check))


class _FromBundle(Here):
    """The bundle's run in this process: its rows, and the reward as it was, confirmed by the bundle itself."""

    def __init__(self, services: Services, rows: Path | None) -> None:
        super().__init__(services, confirmed=True)
        self._rows = rows
        self.session_id = ""

    def start(self, config: dict[str, Any]) -> str:
        self.session_id = self._runs.start(config, rows=self._rows).session_id
        return self.session_id


def rerun(services: Services, file: Path, say: Say, *, live: bool, base: str = "", only_check: bool = False) -> int:
    """Check a bundle, run it, compare.

    Args:
        services: Of this installation, with its watcher started.
        file: The bundle.
        say: Prints; takes ``nl=False``.
        live: Whether the output is a terminal.
        base: Where the base model lies here, if under another name than there.
        only_check: Say what differs and start nothing.

    Returns:
        Exit code: 0 where the same came out (or nothing was run), 4 where it completed otherwise, else as
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
        given = dump(bundle.config)  # Defaults have changed since: what was meant then counts.
    if base:
        given = {**given, "model": {**given["model"], "name": base}}
    return given


def _tell_differences(services: Services, bundle: Bundle, given: dict[str, Any], say: Say) -> None:
    about = bundle.about
    say(f"{about['name']}: every file has its hash.")
    if bundle.rows and rows_sha256(bundle.rows) != about["dataset"]["sha256"]:
        raise InvalidInput("The rows in the bundle are not those that its hash of the data names. It was changed.")
    found = differences(bundle, parse(given), services.settings.home, services.system.device())
    if not found:
        say("Base model, rewards, versions and hardware are the same here.")
    for one in found:
        say(f"  {'Differs' if one.decisive else 'Differs, without much effect'}: {one}")
    if bundle.rows is None:
        say("  The rows are read from their source again.")


def _tell_outcome(bundle: Bundle, session: JobDir, say: Say) -> int:
    info = read_json(session.prepared / "info.json") or {}
    if info.get("sha256") != bundle.about["dataset"]["sha256"]:
        say("The rows were not the same as then: the source has changed.")
    found = compare(bundle.rewards(), training_rewards(session.metrics))
    say(found.words())
    return 0 if found.equal else DIFFERS
