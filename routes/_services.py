"""How a handler reaches the services."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from flask import current_app

from services.container import Services

_View = TypeVar("_View", bound=Callable[..., object])


def services() -> Services:
    return cast("Services", current_app.extensions["tunesmith"])


def accepts_uploads(view: _View) -> _View:
    """Mark a handler that takes files up to MAX_UPLOAD_GB; all others take small requests only."""
    view.accepts_uploads = True  # type: ignore[attr-defined]
    return view
