"""What every command needs: the services of this installation, and its home folder held by one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from core.errors import TunesmithError
from services.current import services
from services.jobs.lock import HomeInUse, HomeLock


@contextmanager
def home() -> Iterator[HomeLock]:
    """The home folder's lock, not taken yet; whatever ends the command, it is released and the services end.

    An error is one line in the terminal.
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
    """Take the home folder and start the watcher, or find the server that has it.

    Returns:
        The server's address, or None where this process holds the home folder now.

    Raises:
        HomeInUse: Another process has it and serves nothing.
    """
    try:
        lock.take(None)
    except HomeInUse as busy:
        if busy.url is None:
            raise
        return busy.url
    services().watcher.start()
    return None
