"""API for training methods, for clients that build configurations."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from core.methods import DEFAULT, METHODS
from routes._api import describes

bp = Blueprint("methods", __name__)


@bp.get("/api/methods")
@describes(answer={"methods": list, "default": str})
def api_methods() -> Response:
    """List the training methods with their requirements, effective settings and metrics."""
    return jsonify({"methods": [one.json() for one in METHODS], "default": DEFAULT})
