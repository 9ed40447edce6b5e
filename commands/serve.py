"""The server process: one home folder, one address, until Ctrl+C. See docs/decisions/0001-server.md."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from flask import Flask
from werkzeug.serving import BaseWSGIServer

from commands.connections import Server
from core.disk import disk_words
from core.errors import TunesmithError, Unavailable
from core.settings import Settings
from services.container import Services
from services.jobs.lock import HomeLock
from services.jobs.rebuild import rebuild

log = logging.getLogger(__name__)


def serve(settings: Settings, create_app: Callable[[Settings], Flask]) -> int:
    """Serve until Ctrl+C or SIGTERM. Running jobs continue without the server.

    Raises:
        HomeInUse: Another server holds the home folder.
        Unavailable: The address cannot be used, or the disk is full, read-only or failing.
    """
    try:
        return _serve(settings, create_app)
    except TunesmithError:
        raise
    except Exception as error:
        if not (message := disk_words(error)):
            raise
        raise Unavailable(message) from None


def _serve(settings: Settings, create_app: Callable[[Settings], Flask]) -> int:
    lock = HomeLock(settings.home)
    try:
        lock.take(url_of(settings))
        with listening(settings) as listener:
            settings = replace(settings, port=listener.getsockname()[1])
            lock.take(url_of(settings))
            app = create_app(settings)
            services: Services = app.extensions["tunesmith"]
            signal.signal(signal.SIGTERM, _end)
            logging.getLogger("werkzeug").setLevel(logging.WARNING)
            server = Server(settings.host, settings.port, app, fd=listener.fileno())
            _run(app, services, server, settings)
    finally:
        lock.release()
    return 0


def _run(app: Flask, services: Services, server: BaseWSGIServer, settings: Settings) -> None:
    services.folders.held()  # Finish or undo an interrupted move before anything is read.
    if services.database.empty():
        rebuild(settings.home, services.database)
    services.trash.start()
    services.watcher.start()
    services.speed_test.start()
    say_address(settings, app.extensions["tunesmith_new_token"])
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        running = services.database.active_count()
        services.close()
        print("Stopped." + (" The running job continues; start Tunesmith again to follow it." if running else ""))


def listening(settings: Settings) -> socket.socket:
    """Create the listening socket.

    Raises:
        Unavailable: The port is in use or not allowed, or this machine does not have the address.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=128)
    except OSError as error:
        raise Unavailable(_why_not(settings, error)) from None


def _why_not(settings: Settings, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {settings.port} is already in use, so the server was not started. "
            f"Stop the other program, or choose another port: PORT={settings.port + 1} python flask_app.py"
        )
    if error.errno == errno.EACCES:
        return f"This user may not use port {settings.port}. Choose one above 1023: PORT=5000 python flask_app.py"
    return (
        f"The address {settings.host}:{settings.port} cannot be used: {error.strerror or error}. Check HOST and PORT."
    )


def url_of(settings: Settings) -> str:
    """Return the server's URL for a browser on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 (read, not bound)
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{settings.port}"


def say_address(settings: Settings, new_token: str | None) -> None:
    """Print the address, and the access token if it was just generated."""
    print(f"Tunesmith is at {url_of(settings)}", flush=True)
    if new_token:
        print(f"Access token (shown only once, so save it): {new_token}", flush=True)
    elif not settings.loopback:
        print("Log in with the access token that was printed on the first start, or set TUNESMITH_TOKEN.", flush=True)


def _end(_signal: int, _frame: object) -> NoReturn:
    sys.exit(0)
