"""Shared by all commands: exclusive use of the home folder, and cleanup of the services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from core.errors import TunesmithError
from services.current import services
from services.jobs.lock import HomeInUse, HomeLock


@contextmanager
def home() -> Iterator[HomeLock]:
    """Yield the home folder's lock, not yet taken. On exit, release it and close the services.

    Errors of this application are printed as one line.
    """
    lock = HomeLock(services().settings.home)
    try:
        yield lock
    except TunesmithError as error:
        raise click.ClickException(error.message) from None
    finally:
        services().close()
        lock.release()


def server_or_watch(lock: HomeLock) -> str | None:
    """Take the lock and start the watcher, or find the server that holds it.

    Returns:
        The server's address, or None if this process now holds the home folder.

    Raises:
        HomeInUse: Another process that is not a server holds it.
    """
    try:
        lock.take(None)
    except HomeInUse as busy:
        if busy.url is None:
            raise
        return busy.url
    services().folders.check()
    services().watcher.start()
    return None
