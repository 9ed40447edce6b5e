"""``flask --app flask_app rebuild``: rebuild the catalog from the run directories."""

from __future__ import annotations

import click
from flask import Blueprint

from commands._home import home
from services.current import services
from services.jobs.rebuild import rebuild as rebuild_database

bp = Blueprint("rebuild", __name__, cli_group=None)


@bp.cli.command("rebuild")
def rebuild() -> None:
    """Rebuild the catalog of all jobs from the folders outputs/ and exports/."""
    with home() as lock:
        lock.take(None)
        services().folders.check()
        found = rebuild_database(services().settings.home, services().database)
        click.echo(f"{found} {'job' if found == 1 else 'jobs'} found on disk and added to the catalog.")
