"""The services of the current application."""

from __future__ import annotations

from typing import cast

from flask import current_app

from services.container import Services


def services() -> Services:
    """Those of the Flask application whose context this is: of a request, a socket's event or a command."""
    return cast("Services", current_app.extensions["tunesmith"])
