"""The training methods, for programs that make configurations."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from core.methods import DEFAULT, METHODS
from routes._api import describes

bp = Blueprint("methods", __name__)


@bp.get("/api/methods")
@describes(answer={"methods": list, "default": str})
def api_methods() -> Response:
    """Every training method with what it needs, which settings have an effect with it, and what it reports."""
    return jsonify({"methods": [one.json() for one in METHODS], "default": DEFAULT})
