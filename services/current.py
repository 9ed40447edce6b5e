"""The services of the current application."""

from __future__ import annotations

from typing import cast

from flask import current_app

from services.container import Services


def services() -> Services:
    """The services of the Flask application in the current context: a request, socket event or command."""
    return cast("Services", current_app.extensions["tunesmith"])
