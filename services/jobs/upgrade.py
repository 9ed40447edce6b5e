"""Upgrades a database of an older version in place."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, inspect, text

from core.job import life_of
from core.process import Identity
from services.jobs.launcher import LOCAL, handle_of

ADDED = {
    "pid_boot": "VARCHAR NOT NULL DEFAULT ''",
    "phase": "VARCHAR NOT NULL DEFAULT ''",
    "launcher": f"VARCHAR NOT NULL DEFAULT '{LOCAL}'",
    "worker": "TEXT NOT NULL DEFAULT ''",
}
"""Columns missing in the first version of the jobs table."""


def upgrade(engine: Engine) -> None:
    """Add what is missing and convert older values. Nothing is lost, and it is idempotent.

    Values are converted on every start, not only when columns are added: an older version may have used the same home
    in between.
    """
    known = {column["name"] for column in inspect(engine).get_columns("jobs")}
    with engine.begin() as connection:
        for name, kind in ADDED.items():
            if name not in known:
                connection.execute(text(f"ALTER TABLE jobs ADD COLUMN {name} {kind}"))
        _handles(connection)
        _phases(connection)


def _handles(connection: Connection) -> None:
    """Workers were identified by process id, start time and boot."""
    rows = connection.execute(text("SELECT id, pid, pid_started, pid_boot FROM jobs WHERE pid != 0")).all()
    for job_id, *process in rows:
        connection.execute(
            text("UPDATE jobs SET worker = :worker, pid = 0 WHERE id = :id"),
            {"worker": handle_of(Identity(*process)), "id": job_id},
        )


def _phases(connection: Connection) -> None:
    """State and phase were one value."""
    for word in ("warming_up", "training", "evaluating"):
        state, phase = life_of(word)
        connection.execute(
            text("UPDATE jobs SET state = :state, phase = :phase WHERE state = :word"),
            {"state": state, "phase": phase, "word": word},
        )
