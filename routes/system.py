"""The machine's state, and the health check."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from pages.settings import settings_page
from routes._api import describes
from routes._pages import page
from services.current import services

bp = Blueprint("system", __name__)


@bp.get("/healthz")
@describes(answer={"status": str})
def healthz() -> Response:
    """Whether the server answers; says nothing about the machine."""
    return jsonify({"status": "ok"})


@bp.get("/api/system/status")
@describes(answer=dict)
def status() -> Response:
    """Device, CPU, memory, GPU, disk, versions, active jobs."""
    return jsonify(services().system.status())


@bp.get("/settings")
def settings() -> str:
    """The machine, where data lies, and versions."""
    return page("system/settings.html", settings_page(services()))
