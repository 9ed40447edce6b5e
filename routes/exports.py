"""Exports: make, look at, download, cancel, delete."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, send_file
from pydantic import Field

from routes._api import Body, describes, read_body, read_query
from routes._services import services

bp = Blueprint("exports", __name__)


class CreateBody(Body):
    session_id: str
    format: str = Field(description="adapter, merged or gguf.")
    quantization: str | None = Field(None, description="For gguf: f16, q8_0, q5_k_m or q4_k_m.")


class LogsQuery(Body):
    tail: int = Field(200, ge=1, le=10_000, description="Lines from the end.")


@bp.post("/api/exports/create")
@describes(body=CreateBody, answer={"export_id": str, "status": str}, status=202)
def create() -> tuple[Response, int]:
    """Put an export into the queue."""
    body = read_body(CreateBody)
    view = services().exports.create(body.session_id, body.format, body.quantization)
    return jsonify({"export_id": view.export_id, "status": view.status}), 202


@bp.get("/api/exports/list")
@describes(answer={"exports": list})
def listing() -> Response:
    """Every export, newest first."""
    return jsonify({"exports": [view.json() for view in services().exports.list()]})


@bp.get("/api/exports/<export_id>")
@describes(answer=dict)
def export(export_id: str) -> Response:
    """One export with its files and the commands to use them."""
    return jsonify(services().exports.get(export_id).json())


@bp.get("/api/exports/<export_id>/download/<file>")
@describes(content="application/octet-stream")
def download(export_id: str, file: str) -> Any:
    """One finished file; a broken download goes on where it stopped (Range)."""
    return send_file(services().exports.path(export_id, file), as_attachment=True, conditional=True, max_age=0)


@bp.get("/api/exports/<export_id>/logs")
@describes(query=LogsQuery, content="text/plain")
def logs(export_id: str) -> Response:
    """The last lines of what the export printed."""
    return Response(services().exports.log(export_id, read_query(LogsQuery).tail), mimetype="text/plain")


@bp.post("/api/exports/<export_id>/cancel")
@describes(answer={"export_id": str, "status": str}, status=202)
def cancel(export_id: str) -> tuple[Response, int]:
    """Stop making an export; nothing half made is left."""
    view = services().exports.cancel(export_id)
    return jsonify({"export_id": view.export_id, "status": view.status}), 202


@bp.delete("/api/exports/<export_id>")
@describes(status=204)
def delete(export_id: str) -> tuple[str, int]:
    """Delete an export with its files."""
    services().exports.delete(export_id)
    return "", 204
