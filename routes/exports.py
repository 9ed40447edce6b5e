"""Exports: create, show, download, cancel, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request, send_file
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from core.errors import InvalidInput, NotFound, TunesmithError
from core.export import ExportFormat, Quantization
from pages.exports.index import exports_page, split_choice
from pages.exports.show import export_page
from routes._api import Body, describes, read_body, read_query
from routes._pages import back, page, say, say_deleted, to
from services.current import services
from services.exports.exports import ExportView
from services.forms.fields import whole_number

bp = Blueprint("exports", __name__)


class CreateBody(Body):
    """An export of a run, or of an adapter folder."""

    session_id: str = ""
    format: str = Field(description=f"One of {', '.join(ExportFormat)}.")
    quantization: str | None = Field(None, description=f"For gguf: one of {', '.join(Quantization)}.")
    quantizations: list[str] = Field([], description="For gguf: several files from one merge.")
    importance_matrix: bool = Field(False, description="Quantize with an importance matrix from the run's prompts.")
    checkpoint: int | None = Field(None, description="Step of the checkpoint to export. Default: the last one.")
    adapter: str = Field("", description="An adapter folder on this machine, instead of session_id.")
    base: str = Field("", description="Its base model. Default: the one named in its adapter_config.json.")


class LogsQuery(Body):
    """How much of the log to return."""

    tail: int = Field(200, ge=1, le=10_000, description="Number of lines from the end.")


@bp.post("/api/exports/create")
@describes(body=CreateBody, answer={"export_id": str, "status": str}, status=202)
def create() -> tuple[Response, int]:
    """Start an export by adding it to the queue. 409 if the run is in progress or has nothing to export."""
    body = read_body(CreateBody)
    view = services().exports.create(**body.model_dump())
    return jsonify({"export_id": view.export_id, "status": view.job.status}), 202


@bp.get("/api/exports/list")
@describes(answer={"exports": list})
def listing() -> Response:
    """List all exports, newest first."""
    return jsonify({"exports": [view.line() for view in services().exports.list()]})


@bp.get("/api/exports/<export_id>")
@describes(answer=dict)
def export(export_id: str) -> Response:
    """Return an export with its files and the commands to use them."""
    return jsonify(services().exports.get(export_id).json())


@bp.get("/api/exports/<export_id>/download/<file>")
@describes(content="application/octet-stream")
def download(export_id: str, file: str) -> Any:
    """Download a file of a finished export. Supports Range, to resume an interrupted download."""
    return send_file(services().exports.path(export_id, file), as_attachment=True, conditional=True, max_age=0)


@bp.get("/api/exports/<export_id>/bundle")
@describes(content="application/zip")
def bundle(export_id: str) -> Response:
    """Download all files of a finished export as one uncompressed ZIP archive."""
    name, pieces = services().exports.bundle(export_id)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(pieces, mimetype="application/zip", headers=headers)


@bp.get("/api/exports/<export_id>/logs")
@describes(query=LogsQuery, content="text/plain")
def logs(export_id: str) -> Response:
    """Return the last lines of an export's log."""
    return Response(services().exports.log(export_id, read_query(LogsQuery).tail), mimetype="text/plain")


@bp.post("/api/exports/<export_id>/cancel")
@describes(answer={"export_id": str, "status": str}, status=202)
def cancel(export_id: str) -> tuple[Response, int]:
    """Cancel an export and delete its incomplete files. 409 if it has already ended."""
    view = services().exports.cancel(export_id)
    return jsonify({"export_id": view.export_id, "status": view.job.status}), 202


@bp.post("/api/exports/<export_id>/verify")
@describes(answer={"export_id": str, "status": str}, status=202)
def verify(export_id: str) -> tuple[Response, int]:
    """Verify an export's unverified files again, without recreating them. 409 if there are none."""
    view = services().exports.verify(export_id)
    return jsonify({"export_id": view.export_id, "status": view.job.status}), 202


@bp.delete("/api/exports/<export_id>")
@describes(status=204)
def delete(export_id: str) -> tuple[str, int]:
    """Move an export to the trash. 409 while it is in progress, being sent, or needed by an unfinished job."""
    services().exports.delete(export_id)
    return "", 204


# --- pages ---


@bp.get("/exports")
def index() -> str:
    """List all exports, with the form for a new one."""
    return page("exports/index.html", exports_page(services(), request.args.get("session_id", "")))


@bp.get("/exports/<export_id>")
def show(export_id: str) -> str:
    """Show an export: its progress, then its files and how to use them."""
    return page("exports/show.html", export_page(services(), export_id))


@bp.post("/exports")
def make() -> AnyResponse:
    """Start the export that the form describes."""
    try:
        view = services().exports.create(**_asked(request.form))
    except TunesmithError as error:
        say(f"The export was not started. {error.message}", "problem")
        return back("/exports")
    return to("exports.show", export_id=view.export_id)


def _asked(form: Any) -> dict[str, Any]:
    kind, quantization = split_choice(form.get("choice", ""))
    given = form.get("checkpoint", "").strip()
    step = whole_number(given)
    if given and step is None:
        raise InvalidInput("Enter a checkpoint as its step, a whole number.", field="checkpoint")
    return {
        "session_id": form.get("session_id", ""),
        "format": kind,
        "quantization": quantization,
        "quantizations": form.getlist("quantization"),
        "importance_matrix": "importance_matrix" in form,
        "checkpoint": step,
        "adapter": form.get("adapter", ""),
        "base": form.get("base", ""),
    }


@bp.post("/exports/<export_id>/<action>")
def act(export_id: str, action: str) -> AnyResponse:
    """Cancel, delete, restart or verify an export."""
    exports = services().exports
    acts: dict[str, Callable[[str], ExportView | None]] = {
        "cancel": exports.cancel, "delete": _delete, "again": exports.again, "verify": exports.verify,
    }  # fmt: skip
    if action not in acts:
        raise NotFound("There is no such action on an export.")
    try:
        view = acts[action](export_id)
    except TunesmithError as error:
        say(error.message, "problem")
        return to("exports.show", export_id=export_id)
    return to("exports.show", export_id=view.export_id) if view else to("exports.index")


def _delete(export_id: str) -> None:
    say_deleted("Export deleted.", services().exports.delete(export_id))
