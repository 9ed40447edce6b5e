"""The machine's state, and the health check."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

bp = Blueprint("system", __name__)


@bp.get("/healthz")
def healthz() -> Response:
    """Whether the server answers; says nothing about the machine."""
    return jsonify({"status": "ok"})
